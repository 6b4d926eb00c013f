"""Duplicates of held-out documents by width of n-gram: how many a corpus has, and what a changed copy keeps.

`python -m benchmarks.pretrain.copies [--run demo]` after `make corpus`. The widths in `pretrain.pack.copies` come from here.
"""

import argparse
import random
from collections import defaultdict

import numpy as np

from benchmarks.machine import describe
from pipeline.artifact import open_sealed
from pipeline.documents import document_files, read_documents, source_of_shard
from pipeline.runfile import load_run
from pretrain.pack.__main__ import PackSettings
from pretrain.pack.copies import NGRAM_CHARS, HeldOutTexts, hash_ngrams, sample_hashes
from pretrain.pack.splits import Splits

WIDTHS = (12, NGRAM_CHARS, 32)
EVERY = 40  # characters, of which one is replaced


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="demo")
    run = load_run(parser.parse_args().run)
    settings = run.settings("pack", PackSettings)
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for path in document_files(open_sealed(run.root("corpus"))):
        texts[source_of_shard(path.stem)].update(
            (row["doc_id"], row["text"]) for row in read_documents(path, ("doc_id", "text"))
        )
    held_out: dict[str, str] = {}
    training: dict[str, str] = {}
    for documents in texts.values():
        splits = Splits.from_doc_ids(documents, settings.valid_share, settings.train_share)
        for doc_id, text in documents.items():
            (held_out if splits.split_of(doc_id) == "valid" else training)[doc_id] = text
    print(describe("numpy"))
    print(f"{len(held_out):,} held-out documents, {len(training):,} others, share {settings.copy_share}")
    for width in WIDTHS:
        hashes = [sample_hashes(hash_ngrams(text, width)) for text in held_out.values()]
        index = HeldOutTexts(list(held_out), np.concatenate(hashes), np.array([len(part) for part in hashes]))
        copies = sum(find(index, text, width, settings.copy_share) for text in training.values())
        print(f"  n-grams of {width:2}: {copies} duplicates; {kept(list(held_out.values()), width):.0%} kept by a changed copy")


def find(index: HeldOutTexts, text: str, width: int, share: float) -> bool:
    return index.find_copied(text, share, width) is not None


def kept(texts: list[str], width: int) -> float:
    """Median share of a text's n-grams that a copy keeps in which every 40th character is another."""
    rng, shares = random.Random(7), []
    for text in texts:
        changed = list(text)
        for offset in range(rng.randrange(EVERY), len(text), EVERY):
            changed[offset] = "鱻"
        own = np.unique(hash_ngrams(text, width))
        shares.append(np.isin(own, hash_ngrams("".join(changed), width)).mean() if len(own) else 0.0)
    return float(np.median(shares))


if __name__ == "__main__":
    main()
