"""`python -m tokenizer.report`: how the tokenizer cuts text, beside others."""
