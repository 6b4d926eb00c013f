"""Lists of words that hojichar ships, and where a text holds them, as hojichar's own regular expressions find them.

Source: hojichar 0.18.1, `filters/document_filters.py` (NgWordsFilterJa, NgWordsFilterEn, DiscardAds): one alternation of the
escaped words in the order of the file, found from left to right without overlaps; empty lines are left out, words stripped.
"""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Name of a list -> its file in hojichar's wheel.
_FILES = {
    "ads": "advertisement_keywords_ja.txt",
    "adult": "adult_keywords_ja.txt",
    "discrimination": "discrimination_keywords_ja.txt",
    "violence": "violence_keywords_ja.txt",
    "adult_en": "adult_keywords_en.txt",
    "footer": "header_footer_keywords_ja.txt",
}
LISTS = tuple(_FILES)
# Found as whole English words in any case (NgWordsFilterEn).
ENGLISH = frozenset({"adult_en"})
# Words all of katakana are found only where no katakana is beside them: アス is not in アスパラガス (NgWordsFilterJa with
# `ignore_confused`, as LLM-jp runs it). They are tried after the others.
UNCONFUSED = frozenset({"adult", "discrimination", "violence"})
KATAKANA = "[ァ-ヴー]"


@dataclass(frozen=True)
class WordLists:
    """Lists of words under their names, each in the order in which its alternatives are tried."""

    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @staticmethod
    def load(names: tuple[str, ...] = LISTS) -> "WordLists":
        """Lists by their names, read once a process.

        Raises: ValueError on a name that is none of LISTS.
        """
        return _load(names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the lists."""
        return tuple(name for name, _ in self.lists)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of names, words, their order and how they are found."""
        body = [(name, name in ENGLISH, name in UNCONFUSED, words) for name, words in self.lists]
        return "sha256:" + hashlib.sha256(json.dumps(body, ensure_ascii=False).encode()).hexdigest()

    def spans(self, text: str, name: str) -> list[tuple[int, int]]:
        """Begin and end, in characters, of every hit of a list in a text; as many as its column `words_<name>` counts.

        Raises: ValueError on a list that was not loaded.
        """
        if name not in self.names:
            raise ValueError(f"word list {name!r}: expected one of {', '.join(self.names) or 'none, as none is loaded'}")
        words, group = dict(self.lists)[name], 1 if name in ENGLISH else 0
        return [matches.span(group) for matches in _pattern(name, words).finditer(text)] if words else []


NO_WORDS = WordLists()


def words_of(text: str) -> tuple[str, ...]:
    """Words of a list's file, as hojichar reads it: a line each, stripped, empty lines left out."""
    return tuple(line.strip() for line in text.split("\n") if line)


def tried(name: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Words of a list in the order in which they are tried, and which of them must not be beside katakana."""
    if name not in UNCONFUSED:
        return words, (False,) * len(words)
    katakana = [re.fullmatch(f"{KATAKANA}+", word) is not None for word in words]
    order = sorted(range(len(words)), key=lambda place: katakana[place])
    return tuple(words[place] for place in order), tuple(katakana[place] for place in order)


@functools.cache
def _pattern(name: str, words: tuple[str, ...]) -> re.Pattern[str]:
    """hojichar's regular expression for a list; of an English one group 1 is the word."""
    if name in ENGLISH:
        alternation = "|".join(re.escape(word) for word in words)
        return re.compile(rf"(?:^| )({alternation})(?:(?: |,|\.)|$)", re.IGNORECASE)
    beside = f"(?<!{KATAKANA}){{}}(?!{KATAKANA})"
    alternatives = [(re.escape(word), alone) for word, alone in zip(*tried(name, words), strict=True)]
    return re.compile("|".join(beside.format(word) if alone else word for word, alone in alternatives))


@functools.cache
def _load(names: tuple[str, ...]) -> WordLists:
    if unknown := [name for name in names if name not in _FILES]:
        raise ValueError(f"word lists {', '.join(unknown)}: expected {', '.join(LISTS)}")
    wheel = metadata.distribution("hojichar")  # by its files: importing it costs half a second
    files = {name: wheel.locate_file(f"hojichar/dict/{_FILES[name]}") for name in names}
    return WordLists(tuple((name, words_of(Path(str(file)).read_text("utf-8"))) for name, file in files.items()))
