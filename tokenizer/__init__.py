"""Text to token ids and back: a SentencePiece vocabulary trained on the corpus, lossless for any Unicode text.

symbols.py   the pieces that every vocabulary has, and their ids
settings.py  the [tokenizer] table
sample.py    training text: lines of the corpus, drawn per source
train.py     text -> tokenizer.model
encode.py    Tokenizer: encode, offsets, decode; what every later stage uses
chat.py      a conversation -> ids; the chat template
export.py    the folder that transformers' AutoTokenizer loads, with equal ids

Other stages import `tokenizer.encode` and `tokenizer.chat`, which load sentencepiece and nothing heavier.
"""
