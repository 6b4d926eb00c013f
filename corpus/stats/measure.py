"""What is countable about a document, over its UTF-8 bytes; the rules read nothing else.

One pass over the bytes counts characters, lines and sentences; each further group of columns takes a pass of its own, and
only where a rule reads it. Shapes: D documents, S statistics.
"""

import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from corpus.stats import repetition, text, word_list_hits
from corpus.stats import words as kernels_tokens
from corpus.stats.repetition import REPETITION
from corpus.stats.text import TEXT
from corpus.stats.word_lists import ENGLISH, LISTS, NO_WORDS, WordLists, tried
from corpus.stats.words import TOKENS
from pipeline.text.characters import buffer_of, class_table, trait_table

# What each column counts is beside its name in the module of its kernel.
STATISTICS = (
    *TEXT,
    *REPETITION,
    *TOKENS,
    "footer_lines",  # of the last FOOTER_LINES lines, those that consist of words of the list "footer" to a good part
    *(f"words_{name}" for name in LISTS),  # hits of a list as `corpus.stats.word_lists` finds them
)
COLUMN = {name: index for index, name in enumerate(STATISTICS)}
# Columns that are computed only where their group is asked for; the others always are.
GROUPS: dict[str, tuple[str, ...]] = {
    "paragraphs": TEXT[TEXT.index("paragraphs") :],  # and sentences
    "ngrams": REPETITION,
    "wordgrams": TOKENS,
    "words": ("footer_lines", *(f"words_{name}" for name in LISTS)),
}
ALL = frozenset(GROUPS)
# Swallow (arXiv:2404.17733 §3) looks for footers in the last 10 lines; more than 3 tenths of a line are words of its list.
FOOTER_LINES, FOOTER_TENTHS = 10, 3


def groups_of(columns: Iterable[str]) -> frozenset[str]:
    """The groups that have to be asked for so that these columns are computed."""
    wanted = set(columns)
    return frozenset(group for group, names in GROUPS.items() if wanted.intersection(names))


def lists_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The word lists that have to be loaded so that these columns are computed."""
    wanted = set(columns)
    return tuple(name for name in LISTS if f"words_{name}" in wanted or (name == "footer" and "footer_lines" in wanted))


def measure(texts: Sequence[str], words: WordLists = NO_WORDS, groups: frozenset[str] = ALL) -> np.ndarray:
    """Statistics of every text: (D, S) int64, columns named by STATISTICS.

    Args:
        words: lists whose hits are counted; the columns of the others are 0.
        groups: of GROUPS; a column of a group that is not asked for is 0.

    Raises: ValueError on a group that is none of GROUPS.
    """
    if unknown := groups.difference(GROUPS):
        raise ValueError(f"groups {', '.join(sorted(unknown))}: expected {', '.join(GROUPS)}")
    table_DS = np.zeros((len(texts), len(STATISTICS)), np.int64)
    data, bounds = buffer_of(texts)
    text.count_texts(data, bounds, trait_table(), "paragraphs" in groups, table_DS[:, : len(TEXT)])
    if "ngrams" in groups:
        repetition.count_repetition(data, bounds, class_table(), _part(table_DS, REPETITION))
    if "wordgrams" in groups:
        kernels_tokens.count_tokens(data, bounds, class_table(), kernels_tokens.stop_marks(), _part(table_DS, TOKENS))
    if "words" in groups and words.lists:
        _count_words(data, bounds, words, table_DS)
    return table_DS


def _part(table_DS: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The columns of some names that stand together."""
    return table_DS[:, COLUMN[names[0]] : COLUMN[names[0]] + len(names)]


def _count_words(data: np.ndarray, bounds: np.ndarray, words: WordLists, table_DS: np.ndarray) -> None:
    anywhere, english, footer = _tries(words)
    for names, trie, count in (
        ([name for name in words.names if name not in ENGLISH], anywhere, word_list_hits.count_hits),
        ([name for name in words.names if name in ENGLISH], english, word_list_hits.count_english),
    ):
        if names:
            hits_DL = np.zeros((len(table_DS), len(names)), np.int64)
            count(data, bounds, trie, hits_DL)
            table_DS[:, [COLUMN[f"words_{name}"] for name in names]] = hits_DL
    if "footer" in words.names:
        column_D = table_DS[:, COLUMN["footer_lines"]]
        word_list_hits.count_footers(data, bounds, footer, FOOTER_LINES, FOOTER_TENTHS, class_table(), column_D)


@functools.lru_cache(maxsize=8)  # presets of one process
def _tries(words: WordLists) -> tuple[word_list_hits.Trie, word_list_hits.Trie, word_list_hits.Trie]:
    """Of the lists whose words are found anywhere, of the English ones, and of "footer" alone."""
    return _trie(words, lambda name: name not in ENGLISH), _trie(words, ENGLISH.__contains__), _trie(words, "footer".__eq__)


def _trie(words: WordLists, belongs: Callable[[str], bool]) -> word_list_hits.Trie:
    names = [name for name in words.names if belongs(name)]
    lists = [tried(name, entries) for name, entries in words.lists if belongs(name)]
    return word_list_hits.build([entries for entries, _ in lists], [alone for _, alone in lists], ENGLISH.issuperset(names))
