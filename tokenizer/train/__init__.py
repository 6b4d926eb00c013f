"""From documents to tokenizer.model.

sample.py       draws sentences of the corpus per source
trainer.py      SentencePiece's trainer, with our options and its errors in one line
superwords.py   pieces of several whole words (a second BPE over words)
straddle.py     removes pieces that often cross word boundaries
llmjp_merge.py  LLM-jp's recipe: one vocabulary merged from several, scored by expectation-maximization
recipes.py      a sample -> the bytes of tokenizer.model, by the recipe in the settings
"""
