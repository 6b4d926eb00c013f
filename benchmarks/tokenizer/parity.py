"""Ids of the exported folder in transformers against SentencePiece's, line by line on real text."""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MIN_LINES = 20_000
SHOWN = 10


def main() -> None:
    from benchmarks.tokenizer.model import model_of, parser
    from benchmarks.tokenizer.texts import load
    from tokenizer.encode import Tokenizer
    from tokenizer.export import export

    arguments = parser(__doc__).parse_args()
    texts = load(arguments.data)
    with TemporaryDirectory() as name:
        from transformers import AutoTokenizer

        export(model_of(arguments), Path(name))
        ours, fast = Tokenizer.load(Path(name)), AutoTokenizer.from_pretrained(name)
    total = unequal = 0
    for source in sorted(texts.train):
        lines = [*some_lines(texts.train[source]), *some_lines(texts.held_out.get(source, ()))]
        expected, found = ours.encode_batch(lines), fast(lines)["input_ids"]
        compiled = [array.tolist() for array in ours.encode_arrays(lines)]
        odd = [place for place, ids in enumerate(expected) if not ids == found[place] == compiled[place]]
        for place in odd[:SHOWN]:
            print(f"  {source}: {reason(ours, lines[place], expected[place], found[place])}")
        lost = sum(ours.decode(ids) != line for line, ids in zip(lines, expected, strict=True))
        print(f"{source}: {len(lines):,} lines, {len(odd):,} with other ids, {lost:,} not decoded to themselves")
        total, unequal = total + len(lines), unequal + len(odd) + lost
    print(f"{total:,} lines, {unequal:,} differ")
    if unequal or total < MIN_LINES:
        sys.exit(f"demanded: equal ids on at least {MIN_LINES:,} lines")


def some_lines(texts: Any) -> Iterator[str]:
    """The first lines of each document, until there are enough of them."""
    enough = MIN_LINES // 2
    for text in texts:
        for line in text.split("\n")[:100]:
            if line:
                yield line
                enough -= 1
        if enough <= 0:
            return


def reason(tokenizer: Any, line: str, ours: list[int], fast: list[int]) -> str:
    """Where two lists of ids part, with the pieces and scores there."""
    pairs = enumerate(zip(ours, fast, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(ours), len(fast)))
    shown = [[(tokenizer.piece(token), tokenizer.score(token)) for token in ids[place : place + 3]] for ids in (ours, fast)]
    return f"token {place} of {line[:40]!r}: ours {shown[0]}, transformers {shown[1]}"


if __name__ == "__main__":
    main()
