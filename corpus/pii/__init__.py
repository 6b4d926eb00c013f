"""Personal data: found as spans, then masked."""
