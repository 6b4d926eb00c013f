"""Instruction tuning of the exported model: all weights (`python -m finetune`) or a LoRA adapter (`python -m finetune.lora`).

settings.py   `[finetune]` and `[lora]` of a run file; what both share stands in `Tuning`
sources.py    instruction files, dialogues, Tatoeba pairs -> chats, every bad line named
data.py       chats -> token ids and labels (loss on answers only, verified), held-out split
tune.py       the one training loop both share: TRL's SFTTrainer, offline, deterministic
export.py     the model folder that later stages load: weights, tokenizer files, generation settings
stage.py      what both recipes read and report

Only tune.py and export.py load torch, transformers, trl and peft.
"""
