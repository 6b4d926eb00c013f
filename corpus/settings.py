"""`[corpus]` of a run file: what goes in, what a document must be like to stay, how like is too like."""

from dataclasses import dataclass

from corpus.readers.records import SourceSettings
from pipeline.runfile import field


@dataclass(frozen=True)
class RuleSettings:
    """Thresholds of `corpus.rules`; shares lie between 0 and 1, a threshold itself still passes.

    Swallow is arXiv:2404.17733, uzushio and LLM-jp are arXiv:2407.03963 with their public code, FineWeb-2 is
    arXiv:2506.20920 with its configuration for jpn_Jpan. Where a threshold is looser than theirs, it is so because manual
    pages and documentation hold tables, options and code that a web crawl's prose does not.
    """

    min_japanese_share: float = 0.05  # of letters: below it a page is in another language and only names Japanese things
    min_kana_share: float = 0.05  # of Japanese characters; measured: Chinese 0, tables of Japanese statutes .12 and more
    max_replacement_share: float = 0.001  # of characters: one U+FFFD in a thousand is mojibake, not a stray symbol
    max_foreign_share: float = 0.70  # of letters; Swallow .50, but half of a manual page may be options and code
    min_japanese_characters: int = 100  # Swallow 400, uzushio 200 characters of prose; a help page's definition is shorter
    max_katakana_share: float = 0.60  # of Japanese characters; Swallow .50, but prose on computing reaches .56 (demo run)
    max_characters_per_kuten: float = 250.0  # LLM-jp v1 ja_cc: lists, tables and code without a single sentence
    max_long_sentence_share: float = 0.50  # of visible characters, in sentences over 200; Swallow drops at one such sentence
    max_ellipsis_share: float = 0.20  # of lines; Swallow .20: teasers that break off …
    max_repeated_share: float = 0.30  # of visible characters in lines said before; Swallow: paragraphs .30
    max_mark_share: float = 0.50  # digits, punctuation and symbols of visible characters: tables of numbers, line drawings

    def __post_init__(self) -> None:
        for name in vars(self):
            value = getattr(self, name)
            if value < 0 or (name.endswith("_share") and value > 1):
                raise ValueError(f"{name} = {value}: expected {'a share from 0 to 1' if 'share' in name else '0 or more'}")


@dataclass(frozen=True)
class DedupSettings:
    """MinHash near-duplicates (Broder 1997) with LSH bands: a pair of similarity J meets with 1 - (1 - J^rows)^bands."""

    shingle: int = 5  # characters; Japanese has no spaces to cut words at; Swallow's width
    bands: int = 14  # datatrove's 14 × 8: recall .92 at J = .8, .9996 at J = .9
    rows: int = 8
    min_similarity: float = 0.8  # exact Jaccard of the shingle sets, checked for every pair that met; LLM-jp v4, FineWeb
    window: int = 64  # in a crowded bucket a document meets this many neighbours, so work stays linear in its size

    def __post_init__(self) -> None:
        if min(self.shingle, self.bands, self.rows, self.window) < 1 or not 0 < self.min_similarity <= 1:
            raise ValueError("shingle, bands, rows and window must be 1 or more, min_similarity above 0 and at most 1")


@dataclass(frozen=True)
class CorpusSettings:
    """The whole table."""

    sources: tuple[SourceSettings, ...]
    rules: RuleSettings = RuleSettings()
    dedup: DedupSettings = DedupSettings()
    max_failed_share: float = field(0.05)  # damaged or undecodable records a source may have before the run stops

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"sources: expected one or more [[corpus.sources]] with different names, got {names}")
        if not 0 <= self.max_failed_share <= 1:
            raise ValueError(f"max_failed_share = {self.max_failed_share}: expected a share from 0 to 1")
