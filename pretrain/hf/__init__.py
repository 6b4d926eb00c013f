"""Weights and configs in the formats of Hugging Face, both directions.

format.py   the types of the conversion tables, and the fused query-key-value rows that both architectures share
llama.py    LlamaForCausalLM
gpt2.py     GPT2LMHeadModel
weights.py  megatron's tensors → transformers' state_dict
load.py     start a training from a folder of Hugging Face
"""
