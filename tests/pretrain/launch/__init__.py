"""Tests of pretrain.launch."""
