"""Text that several stages treat alike: the fold of equal texts, n-grams, benchmark files, terminal output."""
