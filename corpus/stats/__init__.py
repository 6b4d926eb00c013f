"""A text -> counts, in compiled passes over its UTF-8 bytes.

measure.py         the table of all counts
text.py            classes of characters, lines, sentences, paragraphs
words.py           words between spaces
repetition.py      the most frequent and the repeated n-grams
word_lists.py      lists of words that hojichar ships
word_list_hits.py  hits of those lists
"""
