"""Unicode text that tokenizers get wrong."""

from hypothesis import strategies as st

from tokenizer.symbols import CONTROL_SYMBOLS, EOS, PAD, SPACE_MARK, UNK

# What SentencePiece or its converters treat specially, or what Unicode makes hard.
NASTY = (
    SPACE_MARK, SPACE_MARK * 2, " ", "  ", " " * 17, "\u3000", "\u00a0", "\n", "\r\n", "\r", "\t", "\t\t", "\0", "\x7f", "\x85",
    "\u2028", "\u2047", "\u2585", "\ufffd", "\ufeff", "\u200b", "\u200d", "\u0301", "\u3099", "か\u3099", "が", "ｶﾞ", "\ufe0f",
    "🙂", "👨‍👩‍👧", "🇯🇵", "𠮷", "葛\U000e0100", "<0x0A>", "<0xE2>", "<s>", EOS, UNK, PAD, *CONTROL_SYMBOLS[:4],
    "▅", "2024", "１２", "ﷺ", "日本語", "です。", "ください", "a", "aa", "ab", "ba", "The ", "\U0010ffff",
)  # fmt: skip

anything = st.text(max_size=60)
nasty = st.lists(st.sampled_from(NASTY) | st.characters(exclude_categories=("Cs",)), max_size=20).map("".join)
# Few letters make ties between merges likely.
repetitive = st.text(alphabet="いすまでのファイル学習 a0", max_size=40)
texts = st.one_of(anything, nasty, repetitive)
