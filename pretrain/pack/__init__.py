"""`python -m pretrain.pack`: the corpus as token ids in Megatron's indexed datasets."""
