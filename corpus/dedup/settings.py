"""`[corpus.dedup]` and `[corpus.boilerplate]` of a run file: similarity thresholds, and which lines are boilerplate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DedupSettings:
    """MinHash near-duplicates (Broder 1997) with LSH bands: a pair of similarity J meets with 1 - (1 - J^rows)^bands."""

    shingle: int = 5  # characters; Japanese has no spaces to cut words at; Swallow's width
    # benchmarks/corpus/recall.py on 4,000 documents: recall .982 at J >= .7, .9997 at J >= .8, where datatrove's 14 × 8 has
    # .932 and .990 and LLM-jp's 20 × 10 .924 and .988; the price is six more keys a document, of 8 bytes.
    bands: int = 20
    rows: int = 7
    min_similarity: float = 0.8  # exact Jaccard of the shingle sets, checked for every pair that met; LLM-jp v4, FineWeb
    window: int = 64  # in a crowded bucket a document meets this many neighbours, so work stays linear in its size

    def __post_init__(self) -> None:
        if min(self.shingle, self.bands, self.rows, self.window) < 1 or not 0 < self.min_similarity <= 1:
            raise ValueError("shingle, bands, rows and window must be 1 or more, min_similarity above 0 and at most 1")


@dataclass(frozen=True)
class BoilerplateSettings:
    """`[corpus.boilerplate]`: a line is boilerplate that is on so many of a host's pages."""

    enabled: bool = False  # it changes texts, so who wants it says so
    min_pages: int = 10  # below, a line may be a title that a few pages share, or near-duplicates that dedup is to find
    min_share: float = 0.3  # of the host's pages; templates of a section of a site reach less than of the whole
    min_characters: int = 8  # visible: shorter ones are headings that pages of a kind share (附則, 参照, 施行期日)

    def __post_init__(self) -> None:
        if self.min_pages < 2 or self.min_characters < 1 or not 0 < self.min_share <= 1:
            raise ValueError("min_pages must be 2 or more, min_characters 1 or more, min_share above 0 and at most 1")
