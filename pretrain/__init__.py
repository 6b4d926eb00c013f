"""From the corpus to a pretrained model, and which iteration read which document.

__main__.py the stage: start the ranks, export, seal
pack/       the corpus as token ids in Megatron's indexed datasets, with documents held out for validation
settings.py the tables of a run file; batches.py: samples of each iteration
launch/     start one process for each rank: torchrun, Slurm, and a check of the machine before that
train/      the training: data, loop, validation, guard, metrics
model/      the model on megatron-core: layers, loss, learning rate
checkpoint/ checkpoints: written in the background, loaded on any layout
order/      which iteration read which document, from numpy arrays alone
hf/         weights in the formats of Hugging Face, both directions
export.py   a checkpoint as a Hugging Face model, checked against Megatron's logits

Shared: runtime.py (device, ranks), process.py (signals), position.py (how far a run has come), megatron_patches.py.
Before and after: cost.py estimates FLOPs, memory and days; curve.py draws loss and speed.

Importing this package loads none of torch, megatron and ray; `order` never does.
"""
