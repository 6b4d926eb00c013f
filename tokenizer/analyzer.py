"""Where words begin in a line: Japanese by a morphological analyzer, everything else by a pattern.

A word of other text is an identifier or a word of letters, with the one space before it; a run of punctuation, likewise;
one digit; or a run of white space. So the pieces that SentencePiece writes as `▁of` and `▁=` are words.
"""

import importlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import BadInput, ConfigError, MissingInput

# Stands between words in text that is given to a trainer; U+001F separates units in ASCII and is in no text that people read.
DELIMITER = "\x1f"
# Unicode blocks: radicals, CJK punctuation but its space, kana, bopomofo to compatibility, ideographs of plane 0,
# compatibility ideographs, full- and half-width forms, planes 2 and 3, variation selectors of ideographs.
_JAPANESE = r"\u2e80-\u2fdf\u3001-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uffee\U00020000-\U0003fffd\U000e0100-\U000e01ef"
_STRETCH = re.compile(f"[{_JAPANESE}]+")
_OTHER = re.compile(
    r" {2,}"  # user-defined symbols of the vocabulary, see tokenizer.symbols
    r"| ?[^\W\d]+(?:['’](?:s|t|re|ve|m|ll|d)\b)?"  # contractions as in GPT-2's pattern
    r"|\d"
    r"| ?[^\w\s]+"
    r"|\s"
)


class Analyzer(Protocol):
    """Cuts a line into words."""

    @property
    def name(self) -> str:
        """By which `load_analyzer` finds it."""
        ...

    def starts(self, line: str) -> list[int]:
        """Characters of `line` at which words begin: ascending, the first is 0."""
        ...


@dataclass(frozen=True)
class WordAnalyzer:
    """Japanese stretches by `cut`, which gives the words of a stretch in order; the rest by pattern."""

    name: str
    cut: Callable[[str], list[str]]

    def starts(self, line: str) -> list[int]:
        """Characters of `line` at which words begin: ascending, the first is 0.

        Raises: BadInput if the words of the analyzer are not the text that it was given.
        """
        found: list[int] = []
        place = 0
        for stretch in _STRETCH.finditer(line):
            found += _other(line, place, stretch.start())
            place = stretch.start()
            for word in self.cut(stretch[0]):
                if not word or not line.startswith(word, place):
                    raise BadInput(
                        f"analyzer {self.name!r}: word {word!r} at character {place - stretch.start()} of {stretch[0]!r} is "
                        f"not what stands there; it must return the words of the text in order, and nothing else"
                    )
                found.append(place)
                place += len(word)
            if place != stretch.end():
                raise BadInput(f"analyzer {self.name!r}: words end before {stretch[0]!r} does; it must return all of the text")
        found += _other(line, place, len(line))
        return found or [0]


def load_analyzer(name: str) -> Analyzer:
    """An analyzer by name.

    Args:
        name: "mecab" (fugashi with unidic-lite); "none", which leaves stretches of Japanese whole; or
            "package.module:function", a function from a stretch of Japanese to the list of its words.
    Raises: ConfigError on another name; MissingInput if its package is not installed.
    """
    if name == "mecab":
        return WordAnalyzer(name, _mecab())
    if name == "none":
        return WordAnalyzer(name, lambda stretch: [stretch])
    module, colon, function = name.partition(":")
    if not (colon and module and function):
        raise ConfigError(f"[tokenizer] analyzer = {name!r}: expected 'mecab', 'none' or 'package.module:function'")
    try:
        cut = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        raise MissingInput(
            f"[tokenizer] analyzer = {name!r}: no module {error.name!r}; install it, or name another analyzer"
        ) from error
    if not callable(cut):
        raise ConfigError(f"[tokenizer] analyzer = {name!r}: {module} has no function {function!r}")
    return WordAnalyzer(name, cut)  # pyright: ignore[reportArgumentType] # what it returns is checked as it is used


def words(line: str, analyzer: Analyzer) -> Iterator[str]:
    """The words of a line; together they are the line."""
    places = [*analyzer.starts(line), len(line)]
    return (line[begin:end] for begin, end in itertools.pairwise(places) if begin < end)


def delimit(line: str, analyzer: Analyzer) -> str:
    """A line with DELIMITER between its words; one that it has itself is taken away."""
    return DELIMITER.join(words(line.replace(DELIMITER, ""), analyzer))


def is_japanese(word: str) -> bool:
    """Whether every character is in a stretch that goes to the analyzer."""
    return _STRETCH.fullmatch(word) is not None


def _other(line: str, begin: int, end: int) -> list[int]:
    return [match.start() for match in _OTHER.finditer(line, begin, end)]


def _mecab() -> Callable[[str], list[str]]:
    try:
        import fugashi
        import unidic_lite
    except ModuleNotFoundError as error:
        raise MissingInput(
            f"[tokenizer] analyzer = 'mecab': {error.name} is not installed; run `make setup`, or set analyzer = \"none\""
        ) from error
    # The dictionary is named: by itself fugashi would take the large `unidic` where someone has installed that.
    folder = unidic_lite.DICDIR
    tagger = fugashi.GenericTagger(  # pyright: ignore[reportAttributeAccessIssue] # compiled code without types
        f'-Owakati -d "{folder}" -r "{folder}/mecabrc"'
    )
    return lambda stretch: tagger.parse(stretch).split(" ")
