"""The model: its layers, its loss, its learning-rate schedule."""
