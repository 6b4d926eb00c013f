"""Index the training data: suffix arrays, passages and vectors of every document that pretraining has read."""

from collections import Counter
from collections.abc import Sequence

from pipeline import cli
from pipeline.artifact import begin, open_sealed
from pipeline.documents import document_files
from pipeline.errors import BadInput
from pipeline.progress import say
from pipeline.shards import map_shards
from search.settings import IndexSettings

RECIPE = 2  # bump when a change of this package changes the bytes of an index
INPUTS = ("corpus", "tokenizer", "pack", "pretrain")


def main(argv: Sequence[str] | None = None) -> None:
    """Make or resume the index of one run."""
    arguments = cli.parser("search.index", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("index", IndexSettings)
    if arguments.dry_run:
        kinds = f"n-gram と {settings.dimensions} 次元のベクトル"
        say(f"索引: 学習が読んだ文書を {settings.shard_bytes:,} バイトごとに分け、{kinds}で引けるようにします")
        return
    found = {stage: open_sealed(run.root(stage)) for stage in INPUTS}
    inputs = {stage: manifest.digest for stage, manifest in found.items()}
    with begin(run, "index", settings, inputs, recipe=RECIPE) as artifact:
        if cli.said_sealed(artifact, "索引"):
            return
        from pretrain.order import Order
        from search.build import FitTask, TextShard, VectorShard, fit_embedding, index_text, index_vectors, plan

        order, pack, tokenizer = found["pretrain"].data / "order", found["pack"].data, found["tokenizer"].data
        iterations = Order.open(order, pack).total
        rows = {f"{n:05}": part for n, part in enumerate(plan(document_files(found["corpus"]), settings.shard_bytes))}
        texts = {name: TextShard(name, part, artifact.data, order, pack, tokenizer, settings) for name, part in rows.items()}
        made = map_shards(index_text, texts, artifact, step="text", label="索引 (n-gram)")
        kept = {name: stats for name, stats in made.items() if stats["passages"]}
        if not kept:
            raise BadInput(
                f"{found['pretrain'].root}: training read none of {found['corpus'].root}'s documents; nothing to index"
            )
        counts = tuple((name, stats["passages"]) for name, stats in kept.items())
        fit = {"model": FitTask(counts, artifact.data, settings)}
        model = map_shards(fit_embedding, fit, artifact, step="fit", label="索引 (埋め込みの学習)")["model"]
        vectors = {name: VectorShard(name, artifact.data, settings.neighbours) for name in kept}
        map_shards(index_vectors, vectors, artifact, step="vectors", label="索引 (ベクトル)")
        sources: Counter[str] = Counter()
        for stats in kept.values():
            sources.update(stats["sources"])
        totals = {
            key: sum(stats[key] for stats in made.values())
            for key in ("documents", "unread", "passages", "bytes", "characters")
        }
        sealed = artifact.seal(
            {**totals, "iterations": iterations, "sources": dict(sorted(sources.items())), "model": model, "shards": kept},
            licences=found["corpus"].body["licences"],
        )
        say(
            f"索引: {totals['documents']:,} 文書 {totals['passages']:,} 節 {totals['bytes']:,} バイト "
            f"(学習がまだ読んでいない、または検証用の {totals['unread']:,} 文書を除く) ({sealed.digest[7:15]}、{artifact.root})"
        )


if __name__ == "__main__":
    cli.stage_main(main)
