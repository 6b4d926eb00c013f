"""Text to token ids and back: a SentencePiece vocabulary trained on the corpus, lossless for any Unicode text.

__main__.py    the stage: train, export, measure
symbols.py     the pieces that every vocabulary has, and their ids
settings.py    the [tokenizer] table
analyzer.py    where words begin
model_file.py  a SentencePiece model file: reading and replacing its pieces
boundaries.py  how tokens align with words, in numbers
train/         documents -> sample of sentences -> tokenizer.model, by recipe
fast/          compiled encoder of batches, with SentencePiece's ids
encode.py      Tokenizer: encode, offsets, decode; what every later stage uses
chat.py        a conversation -> ids; the chat template
export.py      the folder that transformers' AutoTokenizer loads, with equal ids
report/        `make tokenizer-report`: comparison with other tokenizers

Other stages import `tokenizer.encode` and `tokenizer.chat`, which load sentencepiece and nothing heavier.
"""
