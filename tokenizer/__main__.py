"""Train the tokenizer of a run on its corpus, and export it for transformers."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from pipeline import cli
from pipeline.artifact import begin, open_sealed
from pipeline.documents import document_files
from pipeline.progress import Progress, say
from tokenizer.encode import Tokenizer
from tokenizer.export import export
from tokenizer.sample import Sample, draw
from tokenizer.settings import TokenizerSettings
from tokenizer.train import train

RECIPE = 1  # bump by hand when code changes what bytes come out
# Sentences per source on which compression is measured: enough for three digits, a fraction of a second.
MEASURED_SENTENCES = 20_000


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    arguments = cli.parser("tokenizer", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("tokenizer", TokenizerSettings)
    if arguments.dry_run:
        say(
            f"トークナイザ: コーパスから最大 {settings.max_characters:,} 字を選び、"
            f"語彙 {settings.vocab_size:,} の SentencePiece BPE を学習します"
        )
        return
    corpus = open_sealed(run.root("corpus"))
    with begin(run, "tokenizer", settings, {"corpus": corpus.digest}, recipe=RECIPE) as artifact:
        if cli.said_sealed(artifact, "トークナイザ"):
            return
        with Progress("トークナイザ", 3, "段階", events=artifact.events) as progress:
            sample = draw(document_files(corpus), settings.weights, settings.max_characters, settings.seed)
            progress.update(characters=sample.characters.total())
            model = train(sample, settings)
            progress.update()
            export(model, artifact.data)
            stats = statistics(Tokenizer.load(artifact.data), sample)
            progress.update()
        artifact.seal(stats, licences=corpus.body["licences"])
    for source, row in stats["sources"].items():
        say(f"  {source}: {row['characters']:,} 字で学習、1 トークンあたり {row['characters_per_token']:.3f} 字")


def statistics(tokenizer: Tokenizer, sample: Sample) -> dict[str, Any]:
    """Sizes of the vocabulary and the sample, and compression on the first sentences drawn from each source."""
    sources = {}
    for source, sentences in sorted(sample.sentences.items()):
        measured = list(islice(sentences, MEASURED_SENTENCES))
        tokens = tokenizer.encode_batch(measured)
        count = sum(map(len, tokens))
        fallback = sum(tokenizer.is_byte(token) for ids in tokens for token in ids)
        sources[source] = {
            "characters": sample.characters[source],
            "sentences": len(sentences),
            "characters_per_token": round(sum(map(len, measured)) / count, 4) if count else 0.0,
            "byte_fallback_share": round(fallback / count, 5) if count else 0.0,
        }
    return {"vocab_size": tokenizer.vocab_size, "sources": sources}


if __name__ == "__main__":
    cli.stage_main(main)
