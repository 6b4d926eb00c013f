"""Clean, judge and deduplicate the sources of a run into Parquet.

Steps: plan shards → read, extract, judge → cut boilerplate → remove copies (URL, text, near) → write → account for every
document → seal → report.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from corpus import account
from corpus.base import Base, open_base, together
from corpus.decontaminate import Benchmarks
from corpus.readers import input_digest, licences_of_source, needs_fetch, plan_shards
from corpus.rules import load_preset
from corpus.settings import CorpusSettings
from pipeline import cli
from pipeline.artifact import Artifact, Manifest, begin, open_sealed
from pipeline.files import write_text
from pipeline.progress import say
from pipeline.shards import map_shards

RECIPE = 2
S = TypeVar("S")
NAME = "コーパス"


def main(argv: Sequence[str] | None = None) -> None:
    """Make the corpus artifact of one run."""
    arguments = cli.parser("corpus", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("corpus", CorpusSettings)
    names = tuple(source.name for source in settings.sources)
    if arguments.dry_run:
        say(f"{NAME}: {len(names)}個の出典 ({', '.join(names)}) を読み、選別と重複除去をして {run.root('corpus')} に書きます")
        return
    fetched = open_sealed(run.root("fetch")) if needs_fetch(settings.sources) else None
    memory = run.root("corpus").parent / "inputs.json"
    inputs = {"fetch": fetched.digest} if fetched else {}
    inputs |= {source.name: input_digest(source, memory=memory) for source in settings.sources if not source.fetched}
    for source in settings.sources:
        preset = load_preset(source.preset or settings.preset, settings.rules)
        inputs[f"preset {preset.name}"] = preset.digest
    base = open_base(run, settings)
    inputs |= base.inputs if base else {}
    if settings.decontaminate.files:
        inputs["benchmarks"] = Benchmarks.load(settings.decontaminate).digest
    with begin(run, "corpus", settings, inputs, recipe=RECIPE) as artifact:
        if not cli.said_sealed(artifact, NAME):
            make(artifact, settings, fetched, base)


def make(artifact: Artifact, settings: CorpusSettings, fetched: Manifest | None, base: Base | None) -> None:
    """All steps, each resumed where an earlier process stopped."""
    from corpus.boilerplate import remove_boilerplate
    from corpus.dedup import remove_copies
    from corpus.grow_join import WithBase
    from corpus.judge import JudgeTask, judge_shard
    from corpus.scratch import Judged
    from corpus.write import WriteTask, write_shard

    names = tuple(source.name for source in settings.sources)
    shards = [shard for source in settings.sources for shard in plan_shards(source, fetched.data if fetched else None)]
    shards = base.name_shards(shards) if base else shards
    judged = Judged(artifact.work / "judged", tuple(sorted(shard.name for shard in shards)))
    presets = {source.name: load_preset(source.preset or settings.preset, settings.rules) for source in settings.sources}
    judge = {shard.name: JudgeTask(shard, presets[shard.source.name], settings.dedup, judged.root) for shard in shards}
    read = _step(judge_shard, judge, artifact, names, step="judge", label="抽出と選別")
    account.check_failures(read, settings.max_failed_share)
    account.check_kept(read, "passed")

    judged = remove_boilerplate(artifact, judged, settings.boilerplate, settings.dedup)
    held, held_accounts = base.bring(artifact) if base else (None, {})
    grown = WithBase(judged, held) if held else None
    copies = remove_copies(artifact, judged, sum(counts["passed"] for counts in read.values()), settings.dedup, grown)
    write = {
        name: WriteTask(judged, index, judge[name].preset, settings, artifact.work, artifact.data, grown)
        for index, name in enumerate(judged.names)
    }
    new = _step(write_shard, write, artifact, names, step="write", label="書き出し")
    came, kept = together(held_accounts, read), together(held_accounts, new)
    account.check_identity(kept, {name: counts["in"] for name, counts in came.items()}, artifact.data)
    _finish(artifact, settings, fetched, base, {"sources": kept, "copies": copies})


def _finish(
    artifact: Artifact, settings: CorpusSettings, fetched: Manifest | None, base: Base | None, stats: dict[str, Any]
) -> None:
    """What stands beside the shards, the account for the person at the terminal, the seal, the report."""
    from corpus.report import write_report

    if settings.decontaminate.files:
        account.write_benchmark_items(artifact.data, Benchmarks.load(settings.decontaminate))
    licences = (fetched.body["licences"] if fetched else []) + [licences_of_source(source) for source in settings.sources]
    licences += [row for row in base.manifest.body["licences"] if row not in licences] if base else []
    write_text(artifact.data / "NOTICE", account.notice(licences, fetched.data if fetched else None))
    say(account.table(stats["sources"]))
    manifest = artifact.seal(stats, licences=licences)
    report = write_report(artifact.root)
    say(f"{NAME}: {artifact.root} に書きました ({manifest.digest[7:15]})。報告は {report} です")


def _step(
    task: Callable[[S], Mapping[str, Any]],
    shards: Mapping[str, S],
    artifact: Artifact,
    names: tuple[str, ...],
    *,
    step: str,
    label: str,
) -> dict[str, dict[str, Any]]:
    """Run a step; its times go to events.jsonl, its counts by source to the caller."""
    done = map_shards(task, shards, artifact, step=step, label=label)
    account.note_timing(artifact.events, step, done)
    return account.by_source(done, names)


if __name__ == "__main__":
    cli.stage_main(main)
