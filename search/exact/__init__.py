"""Every occurrence of a string: suffix arrays over the documents' bytes."""
