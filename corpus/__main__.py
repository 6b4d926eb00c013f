"""Clean, judge and deduplicate the sources of a run into Parquet.

Steps: plan shards → read, extract, judge → cut boilerplate → remove copies (URL, text, near) → write → account for every
document → seal → report.
"""

from collections.abc import Sequence
from typing import Any

from corpus.increment.base import merge_accounts
from corpus.inputs import Inputs, open_inputs
from corpus.output import account
from corpus.settings import CorpusSettings
from pipeline import cli
from pipeline.artifact import Artifact, begin_artifact
from pipeline.files import write_text
from pipeline.progress import echo

RECIPE = 4
NAME = "コーパス"


def main(argv: Sequence[str] | None = None) -> None:
    """Make the corpus artifact of one run."""
    arguments = cli.stage_parser("corpus", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("corpus", CorpusSettings)
    if arguments.dry_run:
        names = [source.name for source in settings.sources]
        base = f"コーパス {settings.base.run} を引き継ぎ、" if settings.base.run else ""
        work = f"{len(names)}個の出典 ({', '.join(names)}) を読み、選別と重複除去をして " if names else ""
        echo(f"{NAME}: {base}{work}{run.root('corpus')} に書きます")
        return
    inputs = open_inputs(run, settings)
    with begin_artifact(run, "corpus", settings, inputs.digests, recipe=RECIPE) as artifact:
        if not cli.skip_if_sealed(artifact, NAME):
            make(artifact, settings, inputs)


def make(artifact: Artifact, settings: CorpusSettings, inputs: Inputs) -> None:
    """All steps, each resumed where an earlier process stopped."""
    from corpus.dedup.base_join import WithBase
    from corpus.dedup.boilerplate import remove_boilerplate
    from corpus.dedup.passes import remove_copies
    from corpus.judge import JudgeTask, judge_shard
    from corpus.output.write import WriteTask, write_shard
    from corpus.storage.judged import Judged

    names = tuple(source.name for source in settings.sources)
    shards = inputs.shards()
    judged = Judged(artifact.work / "judged", tuple(sorted(shard.name for shard in shards)))
    presets = {shard.name: inputs.presets[shard.source.name] for shard in shards}
    judge = {shard.name: JudgeTask(shard, presets[shard.name], settings.dedup, judged.root) for shard in shards}
    read = account.counted(judge_shard, judge, artifact, names, step="judge", label="抽出と選別")
    account.check_failures(read, settings.max_failed_share)
    if names:
        account.check_kept(read, "passed")

    judged = remove_boilerplate(artifact, judged, settings.boilerplate, settings.dedup)
    existing, held_accounts = inputs.base.import_base(artifact) if inputs.base else (None, {})
    with_base = WithBase(judged, existing) if existing else None
    copies = remove_copies(artifact, judged, sum(counts["passed"] for counts in read.values()), settings.dedup, with_base)
    write = {
        name: WriteTask(
            judged=judged,
            shard=index,
            preset=presets[name],
            settings=settings,
            work=artifact.work,
            data=artifact.data,
            with_base=with_base,
        )
        for index, name in enumerate(judged.names)
    }
    new = account.counted(write_shard, write, artifact, names, step="write", label="書き出し")
    came, kept = merge_accounts(held_accounts, read), merge_accounts(held_accounts, new)
    account.check_identity(kept, {name: counts["in"] for name, counts in came.items()}, artifact.data)
    account.check_kept(kept, "kept")
    _finish(artifact, settings, inputs, {"sources": kept, "copies": copies})


def _finish(artifact: Artifact, settings: CorpusSettings, inputs: Inputs, stats: dict[str, Any]) -> None:
    """What is beside the shards, the seal, the account for the person at the terminal, the report."""
    from corpus.output.notice import notice
    from corpus.report.page import write_report
    from corpus.storage.decisions import open_decisions

    fetched, base = (of.data if of else None for of in (inputs.fetched, inputs.base and inputs.base.manifest))
    account.write_benchmark_items(artifact.data, settings.decontaminate, base)
    write_text(artifact.data / "NOTICE", notice(inputs.licences, fetched, base))
    manifest = artifact.seal(stats, licences=inputs.licences)
    echo(account.table(stats["sources"], open_decisions(artifact.root, check=False).labels))
    report = write_report(artifact.root)
    echo(f"{NAME}: {artifact.root} に書きました ({manifest.short})。報告は {report} です")


if __name__ == "__main__":
    cli.stage_main(main)
