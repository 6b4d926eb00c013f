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

# One of each in every run: what the requirement names, whatever hypothesis happens to draw.
KINDS = {
    "control": st.characters(max_codepoint=0x9F, include_characters="\u2028\u2029\ufeff", categories=("Cc",)),
    "combining": st.characters(categories=("Mn", "Mc", "Me")),  # alone, for nothing comes before it
    "half-width kana": st.characters(min_codepoint=0xFF61, max_codepoint=0xFF9F),
    "emoji": st.lists(st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF), min_size=1, max_size=4).map("\u200d".join),
    "space mark": st.sampled_from([SPACE_MARK, f" {SPACE_MARK}", f"{SPACE_MARK} ", SPACE_MARK * 3]),
    "unassigned": st.characters(categories=("Cn", "Co")),
    "kanji": st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)
    | st.characters(min_codepoint=0x20000, max_codepoint=0x323AF),
    "ascii": st.text(st.characters(max_codepoint=0x7F), max_size=8),
}
kinds = st.lists(st.one_of(*KINDS.values()), max_size=8).map("".join)

anything = st.text(max_size=60)
nasty = st.lists(st.sampled_from(NASTY) | st.characters(exclude_categories=("Cs",)), max_size=20).map("".join)
# Few letters make ties between merges likely.
repetitive = st.text(alphabet="いすまでのファイル学習 a0", max_size=40)
texts = st.one_of(anything, nasty, repetitive, kinds)
# Hypothesis costs about a millisecond an example: strings in lists, every one of them checked, make thousands affordable.
STRINGS = 32
batches = st.lists(texts, min_size=STRINGS, max_size=STRINGS)
