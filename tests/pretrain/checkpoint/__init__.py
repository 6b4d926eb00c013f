"""Tests of pretrain.checkpoint."""
