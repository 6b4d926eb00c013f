"""The compiled encoder: the same ids as SentencePiece, faster."""
