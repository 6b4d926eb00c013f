"""Megatron weights ↔ Hugging Face models."""
