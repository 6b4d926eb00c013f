"""Every document accounted for: in = kept + dropped by reason, for each source, before the artifact is sealed."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.artifact import Artifact
from pipeline.documents import source_of_shard
from pipeline.errors import BadInput
from pipeline.files import write_text
from pipeline.shards import map_shards
from pipeline.text.terminal import display_width

if TYPE_CHECKING:
    from corpus.decontaminate import DecontaminateSettings

S = TypeVar("S")
# A row for every benchmark text.
ITEMS = "contamination.jsonl"


def counted(
    task: Callable[[S], Mapping[str, Any]],
    shards: Mapping[str, S],
    artifact: Artifact,
    sources: tuple[str, ...],
    *,
    step: str,
    label: str,
) -> dict[str, dict[str, Any]]:
    """Run a step as `map_shards` does; its times go to events.jsonl, its counts by source to the caller."""
    done = map_shards(task, shards, artifact, step=step, label=label)
    note_timing(artifact.events, step, done)
    return by_source(done, sources)


def by_source(shards: Mapping[str, Mapping[str, Any]], sources: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Add up the shards of each source but for their seconds; shards are named <source>-<number>."""
    total: dict[str, dict[str, Any]] = {name: {"dropped": Counter()} for name in sources}
    for name, counts in shards.items():
        account = total[source_of_shard(name)]
        for key, value in counts.items():
            if key == "seconds":  # differ from run to run; `note_timing` keeps them
                continue
            if isinstance(value, Mapping):
                account.setdefault(key, Counter()).update(value)
            else:
                account[key] = account.get(key, 0) + value
    return {
        name: {key: dict(sorted(value.items())) if isinstance(value, Counter) else value for key, value in account.items()}
        for name, account in total.items()
    }


def note_timing(events: Path, step: str, shards: Mapping[str, Mapping[str, Any]]) -> None:
    """Append one row to events.jsonl: seconds of each phase over all shards of a step, and the bytes they went through."""
    timing = Counter[str]()
    for counts in shards.values():
        timing.update(counts.get("seconds", {}))
    row = {
        "time": round(time.time(), 3),
        "step": step,
        "timing": {name: round(seconds, 3) for name, seconds in timing.items()},
        "bytes": sum(counts.get("bytes", 0) for counts in shards.values()),
    }
    with events.open("a", encoding="utf-8") as file:
        print(json.dumps(row, ensure_ascii=False), file=file)


def check_failures(accounts: Mapping[str, Mapping[str, Any]], max_share: float) -> None:
    """Raise BadInput where too many records of a source were damaged or undecodable."""
    for name, account in accounts.items():
        came, failed = account.get("in", 0), account.get("failed", 0)
        if failed > max_share * came:
            raise BadInput(
                f"source {name}: {failed} of {came} records are damaged or undecodable ({failed / came:.1%}), "
                f"more than max_failed_share = {max_share:.1%}; mend the input, or raise [corpus] max_failed_share"
            )


def check_kept(accounts: Mapping[str, Mapping[str, Any]], kept: str) -> None:
    """Raise BadInput where no document of any source is left; `kept` is the key that counts them."""
    if any(account.get(kept, 0) for account in accounts.values()):
        return
    reasons = Counter[str]()
    for account in accounts.values():
        reasons.update(account["dropped"])
    came = sum(account.get("in", 0) for account in accounts.values())
    most = reasons.most_common(1)
    why = f"most by {most[0][0]!r} ({most[0][1]})" if most else "the sources hold no records"
    raise BadInput(
        f"[corpus] {', '.join(accounts)}: none of {came} documents is left, {why}; check its sources, rules and base"
    )


def check_identity(accounts: Mapping[str, Mapping[str, Any]], came: Mapping[str, int], data: Path) -> None:
    """in = kept + dropped for every source, as read, as judged, and as the files on disk say; else our own bug."""
    import pyarrow.parquet as pq

    for name, account in accounts.items():
        dropped = sum(account["dropped"].values())
        assert account["in"] == account["kept"] + dropped, (
            f"{name}: {account['in']} in, {account['kept']} kept, {dropped} dropped"
        )
        assert account["in"] == came[name], f"{name}: {came[name]} read, {account['in']} decided"
        for folder, expected in (("decisions", account["in"]), ("documents", account["kept"])):
            files = (data / folder).glob(f"{name}-*.parquet")
            result = sum(pq.read_metadata(file).num_rows for file in files)
            assert result == expected, f"{name}: {result} rows in {folder}/, {expected} counted"


def write_benchmark_items(data: Path, settings: "DecontaminateSettings", base: Path | None) -> None:
    """Write contamination.jsonl: for every benchmark text, how many documents of all shards held it (and were dropped).

    Without benchmarks of its own a corpus holds what its base, a data folder, came with.
    """
    from corpus.decontaminate import item_table, load_benchmarks
    from corpus.increment.removals import link

    if not settings.files:
        if base and (base / ITEMS).exists():
            link(base / ITEMS, data / ITEMS)
        return

    def rows() -> Iterator[dict[str, Any]]:
        for path in sorted((data / "contamination").glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    table = item_table(load_benchmarks(settings).texts, rows())
    write_text(data / ITEMS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table))


def table(accounts: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """The account as people read it: a column a source, a row a reason.

    Args:
        labels: what a reason is called, in the order in which reasons apply (`Decisions.labels`).
    """
    seen = {reason for account in accounts.values() for reason in account["dropped"]}
    reasons = [reason for reason in labels if reason in seen] + sorted(seen - labels.keys())
    rows = [("", list(accounts)), ("入力", [f"{account['in']:,}" for account in accounts.values()])]
    for reason in reasons:
        counts = [f"{account['dropped'].get(reason, 0):,}" for account in accounts.values()]
        rows.append((f"  除外 {labels.get(reason, reason)} ({reason})", counts))
    rows.append(("採用", [f"{account['kept']:,}" for account in accounts.values()]))
    rows.append(("採用した文字数", [f"{account['characters']:,}" for account in accounts.values()]))
    head = max(display_width(label) for label, _ in rows)
    columns = [max(display_width(cells[i]) for _, cells in rows) for i in range(len(accounts))]
    return "\n".join(
        label
        + " " * (head - display_width(label))
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, columns, strict=True))
        for label, cells in rows
    )
