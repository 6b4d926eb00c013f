"""Rules that judge a document, presets of them, and cleaners that edit what passed."""
