"""Personal data: found as spans, then masked.

scan.py       where digits, @ and 〒 are: one compiled pass
numbers.py    telephone, My Number, card and account numbers
addresses.py  e-mail addresses, postal codes, addresses
mask.py       spans -> placeholders
"""
