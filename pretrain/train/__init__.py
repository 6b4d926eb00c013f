"""The training, one rank of it: `python -m pretrain.train`, which torchrun starts.

__main__.py  join the other ranks, train, write the statistics
data.py      Megatron's shuffled blend for training, held-out documents for validation
loop.py      the training loop: step, validation, checkpoints
guard.py     skip iterations whose loss is not finite or leaps; rewind
evaluate.py  validation in bits per byte
metrics.py   events.jsonl, TensorBoard, Weights & Biases
"""
