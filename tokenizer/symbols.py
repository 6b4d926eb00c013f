"""Pieces that every vocabulary has, at fixed ids, and the names that the rest of the code uses for them."""

UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"
UNK_ID, BOS_ID, EOS_ID, PAD_ID = 0, 1, 2, 3

ROLES = ("system", "user", "assistant")
# The nine slots fill the sixteen first ids: a later tuning stage can name a control token without resizing the model.
RESERVED_SLOTS = 9
CONTROL_SYMBOLS = (*(f"<|{role}|>" for role in ROLES), *(f"<|reserved_{slot}|>" for slot in range(RESERVED_SLOTS)))
SPECIALS = (UNK, BOS, EOS, PAD, *CONTROL_SYMBOLS)  # by id
ROLE_IDS = {role: PAD_ID + 1 + place for place, role in enumerate(ROLES)}

# SentencePiece writes a space as U+2581, in pieces and in nothing else; a U+2581 of the text itself becomes three bytes.
SPACE_MARK = "\u2581"
# Indentation of code and manual pages; 16 as in Gemma's and LLM-jp's order of magnitude (31 and 24): deeper runs are rare.
MAX_SPACE_RUN = 16
USER_SYMBOLS = ("\n", "\t", *(SPACE_MARK * count for count in range(MAX_SPACE_RUN, 1, -1)))

# Always pieces of their own, whatever the corpus holds: a space that is no piece would decode as U+2581.
REQUIRED_CHARACTERS = SPACE_MARK + "".join(map(chr, range(0x21, 0x7F)))
BYTE_PIECES = 256


def required_pieces() -> int:
    """How many pieces are in every vocabulary before one is learned from text."""
    return len(SPECIALS) + len(USER_SYMBOLS) + BYTE_PIECES + len(REQUIRED_CHARACTERS)
