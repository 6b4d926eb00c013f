"""Train the tokenizer of a run on its corpus, and export it for transformers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.artifact import begin_artifact, open_sealed
from pipeline.documents import HELD_OUT_SHARE, document_files, read_documents
from pipeline.errors import ConfigError
from pipeline.progress import Progress, echo
from pipeline.runfile import RunFile
from tokenizer.analyzer import load_analyzer
from tokenizer.encode import Tokenizer
from tokenizer.export import export
from tokenizer.settings import EXPORTED_RECIPES, TokenizerSettings
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import Sample, draw_shards

RECIPE = 4  # bump by hand when code changes what bytes come out
# Text per source on which compression is measured: enough for three digits, a fraction of a second.
MEASURED_CHARACTERS = 1_000_000


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    arguments = cli.stage_parser("tokenizer", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("tokenizer", TokenizerSettings)
    _check(settings, run)
    if arguments.dry_run:
        echo(
            f"トークナイザ: コーパスから最大 {settings.max_characters:,} 字を選び、"
            f"語彙 {settings.vocab_size:,} を SentencePiece で学習します"
            f" (方式 {settings.recipe}、単語の境界 {settings.analyzer})"
        )
        return
    load_analyzer(settings.analyzer)  # one that is not there is better known now than after the text was drawn
    corpus = open_sealed(run.root("corpus"))
    with begin_artifact(run, "tokenizer", settings, {"corpus": corpus.digest}, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, "トークナイザ"):
            return
        with Progress("トークナイザ", 3, "段階", events=artifact.events) as progress:
            files = document_files(corpus)
            sample = draw_shards(files, settings, artifact)
            progress.update(characters=sample.characters.total())
            model = train_recipe(sample, settings)
            progress.update()
            export(model, artifact.data)
            stats = statistics(Tokenizer.load(artifact.data), files, sample)
            progress.update()
        artifact.seal(stats, licences=corpus.body["licences"])
    for source, row in stats["sources"].items():
        echo(f"  {source}: {row['sampled_characters']:,} 字で学習、1 トークンあたり {row['characters_per_token']:.3f} 字")


def _check(settings: TokenizerSettings, run: RunFile) -> None:
    if settings.recipe not in EXPORTED_RECIPES:
        raise ConfigError(
            f"[tokenizer] recipe = {settings.recipe!r}: a unigram, which transformers and llama.cpp would not read as "
            f"SentencePiece does; it is for `make tokenizer-lab`, choose one of {', '.join(EXPORTED_RECIPES)}"
        )
    share = run.tables.get("pack", {}).get("valid_share", HELD_OUT_SHARE) if settings.held_out_share else 0.0
    if isinstance(share, int | float) and share > settings.held_out_share:
        raise ConfigError(
            f"[tokenizer] held_out_share = {settings.held_out_share} is less than [pack] valid_share = {share}: the tokenizer "
            f"would read documents that pretraining holds out; set it to {share} or more, or to 0 to leave none out"
        )


def statistics(tokenizer: Tokenizer, files: Sequence[Path], sample: Sample) -> dict[str, Any]:
    """Sizes of the vocabulary and the sample; compression of whole documents, the first of each source."""
    characters: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    fallback: Counter[str] = Counter()
    for path in files:
        for row in read_documents(path, ("source", "text")):
            source = row["source"]
            if characters[source] < MEASURED_CHARACTERS:
                ids = tokenizer.encode(row["text"])
                characters[source] += len(row["text"])
                tokens[source] += len(ids)
                fallback[source] += sum(map(tokenizer.is_byte, ids))
    sources = {
        source: {
            "sampled_characters": sample.characters[source],
            "characters_per_token": round(count / tokens[source], 4),
            "byte_fallback_share": round(fallback[source] / tokens[source], 5),
        }
        for source, count in sorted(characters.items())
        if count
    }
    return {"vocab_size": tokenizer.vocab_size, "sources": sources}


if __name__ == "__main__":
    cli.stage_main(main)
