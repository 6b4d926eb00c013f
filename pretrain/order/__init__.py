"""Which iteration read which document: `python -m pretrain.order`."""
