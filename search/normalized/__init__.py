"""A second view of the text in which spellings of the same word are equal."""
