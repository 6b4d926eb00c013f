"""Commands at the terminal over the traced index: trace, exposure, contamination."""
