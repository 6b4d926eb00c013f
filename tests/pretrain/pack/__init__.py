"""Tests of pretrain.pack."""
