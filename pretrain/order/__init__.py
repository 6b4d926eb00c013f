"""Which training iteration read which document: `python -m pretrain.order`; loads no torch.

save.py      write the reading order beside the model: Megatron's index arrays, and their inverse, from documents to iterations
__main__.py  the command: the documents of an iteration, the iterations of a document (read by pipeline/reading_order.py)
"""
