"""Tests of pretrain.hf."""
