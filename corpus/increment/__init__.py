"""Building on a sealed corpus: its keys and signatures, and documents removed from it."""
