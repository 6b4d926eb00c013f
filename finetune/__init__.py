"""Instruction tuning of the exported model: all weights (`python -m finetune`) or a LoRA adapter (`python -m finetune.lora`).

__main__.py   the recipe of all weights
settings.py   the [finetune] and [lora] tables; `Tuning` has the keys of both
sources.py    instruction files, dialogues, Tatoeba pairs -> chats; every invalid line is named
examples.py   chats -> token ids and labels (loss on answers only, verified), held-out split
stage.py      what both recipes share before training: sources, examples, report
tune.py       the training loop of both: TRL's SFTTrainer, offline, deterministic
adapter.py    LoRA: the adapter's configuration, and the check that the merged model gives equal logits
export.py     the model folder that later stages load: weights, tokenizer files, generation settings
lora.py       the LoRA recipe (`python -m finetune.lora`)
data/         our own instruction examples in Japanese

Only tune.py, adapter.py and export.py load torch, transformers, trl and peft.
"""
