"""Tests of pretrain.order."""
