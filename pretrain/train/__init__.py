"""`python -m pretrain.train`: the training loop of one rank."""
