"""Captures of one page among the documents that share a URL.

A URL alone says little: sites move, scripts show different things under one address, and file names recur where a crawler
dropped the path (62 URLs of a labelled crawl name 176 pages of which all but a few have nothing in common). So a document
is dropped in favour of another of its URL only where its text is in the other's: a later, longer, or equal capture.
"""

import numpy as np

from corpus.storage.judged import Judged
from pipeline.text import minhash

# Characters of a shingle, as for near-duplicates.
SHINGLE = 5
# Share of the shorter text's shingles that the longer one holds. Different pages of one URL have .94 or less (two tool bars
# described in the same words), most below .1; what is missing beyond it is a date or a counter.
CONTAINED = 0.95
# Different pages of one URL that a document is compared with, the longest first.
MAX_PAGES = 16


def is_capture(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether of two sets of shingles, sorted, one is in the other."""
    shorter = min(len(one), len(other))
    if not shorter:
        return len(one) == len(other)
    return len(np.intersect1d(one, other, assume_unique=True)) >= CONTAINED * shorter


def same_pages(judged: Judged, groups_N: np.ndarray, references_N: np.ndarray) -> np.ndarray:
    """Divide documents that share a URL into pages: (N,) int64, equal for captures of one page.

    Args:
        groups_N: equal for documents of one URL. By rank, each joins the first page whose best capture it is one of.
    """
    order = judged.order(groups_N, references_N)
    pages = np.empty(len(order), np.int64)
    best: list[tuple[int, np.ndarray]] = []
    group = None
    for count, index in enumerate(order.tolist()):
        if groups_N[index] != group:
            group, best = groups_N[index], []
        result = np.unique(minhash.shingles(judged.text(int(references_N[index])), SHINGLE))
        pages[index] = next((page for page, shingles in best if is_capture(result, shingles)), count)
        if pages[index] == count and len(best) < MAX_PAGES:
            best.append((count, result))
    return pages
