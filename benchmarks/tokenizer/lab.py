"""`make tokenizer-lab DATA=…`: every recipe trained on the same text, measured on text that none of them has seen; one table.

Columns: characters a token on held-out works of Aozora Bunko, JSQuAD paragraphs, an English handbook and Python files; the
share of tokens that straddle a word boundary, F1 of token against word starts, and how consistently words are cut, all on
JSQuAD and straddling on Aozora too. Models are kept below `--out` by what they were made from, so that a lab that was
interrupted goes on. Exits with an error where the default recipe does not keep what docs/tokenizer.md says of it.
"""

import argparse
import dataclasses
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.tokenizer.texts import Texts, load
from pipeline.errors import ConfigError
from pipeline.files import atomic_file, digest_json, write_text
from tokenizer.analyzer import Analyzer, load_analyzer
from tokenizer.boundaries import BoundaryFigures, measure_boundaries
from tokenizer.encode import Tokenizer
from tokenizer.settings import TokenizerSettings
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import Sample, sentences

SIZES = (16_000, 32_000)
# Characters of training text by source: about half Japanese literature, a fifth code; the handbook has no more.
BUDGET = {"aozora": 5_000_000, "wikipedia": 3_000_000, "python": 2_500_000, "handbook": 300_000}
GROUPS = {"aozora": "ja", "wikipedia": "ja", "python": "code", "handbook": "en"}
DEFAULT, LLMJP, RAW = "words", "merged", "unigram"
# What is trained: a name and the settings that differ from the defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "words, fewer in words": {"word_share": 0.5},
    "words, limit of .2": {"straddle_limit": 0.2},
    "words, straddlers kept": {"straddle_rounds": 0},
    "words, runs of Japanese": {"runs": "ja"},
    "words, no runs": {"runs": "none"},
    "bpe": {"recipe": "bpe"},
    "bpe-delimited": {"recipe": "bpe-delimited"},
    RAW: {"recipe": "unigram"},
    "unigram-delimited": {"recipe": "unigram-delimited"},
    "unigram-filtered": {"recipe": "unigram-filtered"},
    LLMJP: {"recipe": "merged", "groups": GROUPS},
}
HELD_OUT = ("aozora", "jsquad", "handbook", "python")
# How much better than LLM-jp's recipe the default is in characters a token, and its straddling against raw unigram's.
MIN_GAIN, MAX_STRADDLING = {"jsquad": 1.15, "aozora": 1.25}, 0.5
# Characters of a held-out source on which boundaries are compared; the analyzer is the slow part.
_COMPARED = 300_000
_MAX_BYTES = re.compile(r"set it to (\d+) or less")


@dataclass(frozen=True)
class Row:
    """Figures of one model."""

    name: str
    pieces: int
    seconds: float | None  # None: the model was there
    density: dict[str, float]  # characters a token, by held-out source
    boundaries: dict[str, BoundaryFigures]


def sample(texts: Texts) -> Sample:
    """The training text: documents spread over each source, up to its budget."""
    made = Sample({source: [] for source in sorted(BUDGET)})
    for source, budget in BUDGET.items():
        documents = sorted(texts.train[source], key=lambda text: hashlib.sha256(text.encode()).digest())
        for text in documents:
            for line in text.split("\n"):
                if line and made.characters[source] + len(line) <= budget:
                    made.sentences[source] += sentences(line)
                    made.characters[source] += len(line)
    return made


def trained(made: Sample, digest: str, settings: TokenizerSettings, folder: Path) -> tuple[bytes, float | None]:
    """A model, from the folder where it is there; how long training took."""
    key = digest_json([digest, dataclasses.asdict(settings)]).rpartition(":")[2]
    path = folder / f"{settings.recipe}-{settings.vocab_size}-{key[:12]}.model"
    if path.exists():
        return path.read_bytes(), None
    begin = time.perf_counter()
    model = train_recipe(made, settings)
    seconds = time.perf_counter() - begin
    with atomic_file(path) as file:
        file.write(model)
    return model, seconds


def fitted(made: Sample, digest: str, settings: TokenizerSettings, folder: Path) -> tuple[bytes, float | None]:
    """`trained`, with as many pieces as the recipe finds in the text where it finds fewer than it is asked for."""
    while True:
        try:
            return trained(made, digest, settings, folder)
        except ConfigError as error:
            if not (found := _MAX_BYTES.search(str(error))):
                raise
            settings = dataclasses.replace(settings, vocab_size=int(found[1]))


def measure(name: str, model: bytes, seconds: float | None, texts: Texts, analyzer: Analyzer) -> Row:
    """Figures of a model on the held-out texts."""
    tokenizer = Tokenizer(model)
    density = {}
    for source in HELD_OUT:
        documents = texts.held_out[source]
        density[source] = sum(map(len, documents)) / sum(map(len, tokenizer.encode_batch(documents)))
    boundaries = {
        source: measure_boundaries(
            _lines(texts.held_out[source]), lambda line: tokenizer.encode_with_offsets(line)[1], analyzer
        )
        for source in ("aozora", "jsquad")
    }
    return Row(name, tokenizer.vocab_size, seconds, density, boundaries)


def _lines(documents: Sequence[str]) -> Iterator[str]:
    left = _COMPARED
    for text in documents:
        for line in text.split("\n"):
            if left <= 0:
                return
            left -= len(line)
            yield line


def table(rows: Sequence[Row]) -> str:
    """The table, in Markdown."""
    head = (
        "recipe",
        "pieces",
        "train s",
        *(f"{source} c/t" for source in HELD_OUT),
        "straddle % aozora",
        "jsquad",
        "F1",
        "consistent %",
    )
    lines = [head, ("---",) * len(head)]
    for row in rows:
        aozora, jsquad = row.boundaries["aozora"], row.boundaries["jsquad"]
        lines.append(
            (
                row.name,
                f"{row.pieces:,}",
                "–" if row.seconds is None else f"{row.seconds:.0f}",
                *(f"{row.density[source]:.3f}" for source in HELD_OUT),
                f"{aozora.straddle_share:.2%}".rstrip("%"),
                f"{jsquad.straddle_share:.2%}".rstrip("%"),
                f"{jsquad.f1:.1%}".rstrip("%"),
                f"{jsquad.consistency:.1%}".rstrip("%"),
            )
        )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def failures(rows: Sequence[Row]) -> list[str]:
    """What the default recipe does not keep at one size."""
    named = {row.name: row for row in rows}
    found = []
    if not {DEFAULT, LLMJP, RAW} <= set(named):
        return []
    ours, theirs, raw = named[DEFAULT], named[LLMJP], named[RAW]
    for source, least in MIN_GAIN.items():
        gain = ours.density[source] / theirs.density[source]
        if gain < least:
            found.append(f"{source}: {gain:.3f} × {LLMJP}'s characters a token, expected {least}")
    for source, figures in ours.boundaries.items():
        limit = MAX_STRADDLING * raw.boundaries[source].straddle_share
        if figures.straddle_share > limit:
            found.append(f"{source}: {figures.straddle_share:.2%} of the tokens straddle, expected at most {limit:.2%}")
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--out", type=Path, default=Path("artifacts/tokenizer-lab"))
    arguments.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    arguments.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="RECIPE")
    chosen = arguments.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    head = describe("sentencepiece", "fugashi", "unidic-lite")
    print(head, flush=True)
    texts, analyzer = load(chosen.data), load_analyzer("mecab")
    made = sample(texts)
    digest = hashlib.sha256("\n".join(made).encode("utf-8", "surrogatepass")).hexdigest()
    counts = ", ".join(f"{source} {count:,}" for source, count in sorted(made.characters.items()))
    print(f"trained on characters: {counts}", flush=True)
    parts, wrong = [f"{head}\n\nTrained on characters: {counts}\n"], []
    for size in chosen.sizes:
        rows = []
        for name in chosen.only:
            settings = TokenizerSettings(vocab_size=size, max_characters=sum(BUDGET.values()), **VARIANTS[name])
            model, seconds = fitted(made, digest, settings, chosen.out)
            rows.append(measure(name, model, seconds, texts, analyzer))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
        parts.append(f"## {size:,} pieces\n\n{table(rows)}")
        wrong += [f"{size:,}: {line}" for line in failures(rows)]
    write_text(chosen.out / "table.md", "\n".join(parts))
    print(f"\n{chosen.out / 'table.md'}")
    if wrong:
        raise SystemExit("the default recipe falls short: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
