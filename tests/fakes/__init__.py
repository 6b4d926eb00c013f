"""Stand-ins for services, on loopback."""
