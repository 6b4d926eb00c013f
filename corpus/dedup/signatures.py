"""The keys of documents: hashes of URL and text, and one hash for each MinHash band."""

from collections.abc import Sequence

import numpy as np
import xxhash

from corpus.dedup.settings import DedupSettings
from corpus.storage.judged import FIRST_BAND, TEXT_KEY, URL_KEY
from pipeline.text import minhash


def compute_keys(pages: Sequence[tuple[str, str]], texts: Sequence[str], settings: DedupSettings) -> np.ndarray:
    """Compute the hashes by which duplicates are found: (2 + bands, documents) uint64.

    The rows are those of keys.npy (`corpus.storage.judged`).

    Args:
        pages: source and url; a url that is only a file's path is a name inside its source.
    """
    keys_KN = np.empty((FIRST_BAND + settings.bands, len(texts)), np.uint64)
    for index, ((source, url), text) in enumerate(zip(pages, texts, strict=True)):
        keys_KN[URL_KEY, index] = xxhash.xxh3_64_intdigest((url if "://" in url else f"{source} {url}").encode())
        keys_KN[TEXT_KEY, index] = xxhash.xxh3_64_intdigest(text.encode())
    keys_KN[FIRST_BAND:] = minhash.keys(texts, settings.shingle, settings.bands, settings.rows)
    return keys_KN
