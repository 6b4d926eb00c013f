"""Text to token ids and back: a SentencePiece vocabulary trained on the corpus, lossless for any Unicode text.

symbols.py   the pieces that every vocabulary has, and their ids
settings.py  the [tokenizer] table
sample.py    training text: lines of the corpus, drawn per source
analyzer.py  where words begin
recipes.py   sample -> tokenizer.model, by recipe; train.py is SentencePiece's trainer
runs.py      pieces of several whole words
straddle.py  pieces that reach over the edges of words
merge.py     LLM-jp's way: one vocabulary of several, scores by expectation-maximization
pieces.py    a model file as data
boundaries.py  how tokens lie on words, in figures
encode.py    Tokenizer: encode, offsets, decode; what every later stage uses
chat.py      a conversation -> ids; the chat template
export.py    the folder that transformers' AutoTokenizer loads, with equal ids
compare.py   any other tokenizer, from a file or a package (compare_packages.py)
report.py    make tokenizer-report: texts that training did not read (report_texts.py), figures (report_measure.py), the page

Other stages import `tokenizer.encode` and `tokenizer.chat`, which load sentencepiece and nothing heavier.
"""
