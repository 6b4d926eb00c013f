"""Tests of pretrain.train."""
