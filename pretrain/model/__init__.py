"""The model on megatron-core.

build.py      from settings to the model, its optimizer and its schedule
attention.py  the layers: attention that stops at the ends of documents, norms
onednn.py     fp32 matrix products of a CPU by oneDNN
loss.py       cross entropy with z-loss, and the model that uses it
schedule.py   learning rate: warmup, then cosine or WSD
"""
