"""From the corpus to a pretrained model, and who was read when.

`pack` turns documents into Megatron's indexed datasets, `data` blends them into the fixed order of one run,
`model`, `train` and `checkpoint` train on megatron-core, `export` writes Hugging Face files, and `order` tells from
numpy arrays alone which documents an iteration read and in which iterations a document was read.

Importing this package loads none of torch, megatron and ray; `order` never does.
"""
