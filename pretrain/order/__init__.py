"""Which training iteration read which document: `python -m pretrain.order`, and `Order` for other stages; loads no torch.

save.py      write the order beside the model: Megatron's index arrays, and their inverse, from documents back to iterations
lookup.py    Order: the documents of an iteration, the iterations of a document
__main__.py  the command: both questions answered at the terminal
"""

from pretrain.order.lookup import Order, TokenSpan

__all__ = ["Order", "TokenSpan"]
