"""Where and when training read a text: occurrences joined with the reading order."""
