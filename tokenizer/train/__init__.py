"""Drawing the training text and training the vocabulary, by recipe."""
