"""Add another run's corpus to an index: new shards beside the old ones, which stay as they are.

Documents that the index already has are left out. Of the others, hits in those that training has read name their iterations;
the rest is shown as unread. The addition is an artifact of its own, `index-added-<digest of the corpus>`; it is searched as
soon as the catalog names it.
"""

import dataclasses
from collections.abc import Sequence

from pipeline import cli
from pipeline.artifact import begin_artifact, open_sealed
from pipeline.errors import BadInput
from pipeline.files import short_digest
from pipeline.progress import echo
from pipeline.runfile import RunFile
from search.index import steps
from search.index.__main__ import INPUTS, RECIPE
from search.settings import IndexSettings
from search.shard.catalog import Catalog, add, open_catalog
from search.shard.store import MODEL, VECTOR


def main(argv: Sequence[str] | None = None) -> None:
    """Make or resume the addition, then name it in the catalog."""
    parser = cli.stage_parser("search.index.add", __doc__ or "")
    parser.add_argument("--from", dest="other", required=True, help="name of the run whose corpus is added")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    if arguments.dry_run:
        other = dataclasses.replace(run, name=arguments.other)
        echo(f"索引への追加: {other.root('corpus')} の文書を {run.root('index')} に加えます")
        return
    catalog = add_corpus(run, arguments.other)
    addition = catalog.added[-1]
    echo(
        f"索引への追加: {addition.stats['documents']:,} 文書 {addition.stats['bytes']:,} バイト "
        f"(索引にあった {addition.stats['known']:,} 文書を除く)。"
        f"索引は {short_digest(catalog.digest)} になりました ({addition.root})"
    )


def add_corpus(run: RunFile, other: str) -> Catalog:
    """Add the sealed corpus of the run named `other` to the index of `run`.

    Raises: MissingInput if either is not made; BadInput if the index has all of its documents already.
    """
    index, corpus = open_sealed(run.root("index")), open_sealed(dataclasses.replace(run, name=other).root("corpus"))
    manifests = {stage: open_sealed(run.root(stage)) for stage in INPUTS if stage != "corpus"}
    settings = run.settings("index", IndexSettings)
    inputs = {"index": index.digest, "corpus": corpus.digest}
    with begin_artifact(run, f"index-added-{corpus.short}", settings, inputs, recipe=RECIPE) as artifact:
        if artifact.sealed:
            return add(index, artifact.sealed)
        before = tuple((part.data, part.name) for part in open_catalog(index).parts())
        shards = steps.index_texts(artifact, corpus, steps.Trained.of(manifests), settings, unread=True, known=before)
        kept = {name: stats for name, stats in shards.items() if stats["passages"]}
        if not kept:
            raise BadInput(f"{corpus.root}: {index.root} has all of its documents already; nothing to add")
        steps.index_vectors(artifact, list(kept), index.data / VECTOR / MODEL, settings)
        return add(index, artifact.seal({**steps.sum_totals(shards), "shards": kept}, licences=corpus.body["licences"]))


if __name__ == "__main__":
    cli.stage_main(main)
