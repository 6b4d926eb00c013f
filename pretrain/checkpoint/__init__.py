"""Checkpoints: written whole or not at all, loaded on any layout.

state.py     what megatron needs to name the parts of a model and its optimizer
save.py      Saver: every rank forks a process that writes its part while training continues
files.py     the folders: which checkpoint is complete, which is the newest; loads no torch
metadata.py  what torch pickles beside the tensors, read without running code
load.py      check the files and restore the weights and the optimizer
"""
