"""Lines that a host repeats on its pages (menus, notices, addresses) are cut, whole and never out of a sentence.

Steps over `corpus.storage.judged`, each a task that holds one range of keys or one batch of documents: count the distinct lines
of every document, join the counts by ranges of line keys, cut what is frequent and sign the texts anew. Documents of which
nothing is left are dropped with stage and rule "boilerplate". Documents without a host have none to share lines with.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from corpus.dedup.settings import BoilerplateSettings, DedupSettings
from corpus.dedup.signatures import compute_keys
from corpus.storage.arrays import save_array
from corpus.storage.judged import FIRST_BAND, ROW_GROUP, Judged, Kept, KeptWriter
from pipeline.artifact import Artifact
from pipeline.files import atomic_path
from pipeline.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa

STAGE = RULE = "boilerplate"
# Lines a task holds: (key of the line, key of the host, pages), 24 bytes each and three times that while sorting, 0.3 GB.
LINES_IN_MEMORY = 4_000_000
# What ends a line that ends a sentence, a title, an item or a cell; such a line never runs on in the next one.
_TERMINAL = "。．.！!？?」』）)】〕］]〉》:：;；…|｜"
# A line of a hard-wrapped sentence is as long as the text is wide; titles and labels are mostly shorter. Characters.
WRAPPED = 20
# 。 in the lines that go, from which a page may be one of many copies rather than menu and notice: those are for dedup.
COPIED_SENTENCES = 5
# Lines of program text and markup recur on every page that shows some, and are no boilerplate.
_JAPANESE, _CODE = re.compile("[\u3041-\u30fc\u4e00-\u9fff]"), re.compile(r"[{}<>\\;=$#()\[\]]|^\W*$")
_ITEM = ("•", "・", "- ", "* ", "|", "［", "[", "※")


@dataclass(frozen=True)
class CountTask:
    """The lines of one shard."""

    judged: Judged
    shard: int
    settings: BoilerplateSettings
    out: Path


@dataclass(frozen=True)
class JoinLinesTask:
    """One range of line keys."""

    folders: tuple[Path, ...]  # of CountTask
    part: int
    parts: int
    settings: BoilerplateSettings
    out: Path


@dataclass(frozen=True)
class CutTask:
    """One shard to cut."""

    judged: Judged
    shard: int
    frequent: Path
    settings: BoilerplateSettings
    dedup: DedupSettings
    out: Path


def remove_boilerplate(artifact: Artifact, judged: Judged, settings: BoilerplateSettings, dedup: DedupSettings) -> Judged:
    """Cut the frequent lines of every host.

    Returns: the same shards under work/cut/, with fewer documents where texts became empty and with keys of the new texts;
        `judged` itself where boilerplate is not to be removed.
    """
    if not settings.enabled:
        return judged
    work = artifact.work / STAGE
    count = {name: CountTask(judged, shard, settings, work / "lines" / name) for shard, name in enumerate(judged.names)}
    lines = sum(
        row["lines"] for row in map_shards(count_lines, count, artifact, step="lines", label="定型文（行の集計）").values()
    )
    parts = max(-(-lines // LINES_IN_MEMORY), 1)
    folders = tuple(task.out for task in count.values())
    join = {
        f"{part:05}": JoinLinesTask(folders, part, parts, settings, work / "frequent" / f"{part:05}.npy")
        for part in range(parts)
    }
    map_shards(join_lines, join, artifact, step="frequent", label="定型文（頻出行）")
    frequent = work / "frequent.npy"
    save_array(frequent, np.concatenate([np.load(task.out) for task in join.values()]))  # ranges follow one another
    cut_judged = Judged(artifact.work / "cut", judged.names)
    cuts = {
        name: CutTask(judged=judged, shard=shard, frequent=frequent, settings=settings, dedup=dedup, out=cut_judged.root / name)
        for shard, name in enumerate(judged.names)
    }
    map_shards(cut_shard, cuts, artifact, step="cut", label="定型文（除去）")
    return cut_judged


def line_keys(text: str, host: str, settings: BoilerplateSettings) -> list[int]:
    """A key for every line of a text, spaces aside, that differs from host to host; 0 for lines that are never cut."""
    head, keys = host + "\0", []
    for line in text.split("\n"):
        bare = "".join(line.split())
        can_go = len(bare) >= settings.min_characters and (_JAPANESE.search(bare) or not _CODE.search(bare))
        keys.append(xxhash.xxh3_64_intdigest((head + bare).encode()) or 1 if can_go else 0)
    return keys


def cut(text: str, frequent: Sequence[bool]) -> tuple[str, int]:
    """Take whole lines out of a text.

    Lines in which one sentence may run on go together or stay together, and where a cut brings such lines side by side a
    blank line parts them. A text that would lose most of its sentences is a page that was copied, and stays whole.

    Args:
        frequent: for every line whether it is boilerplate.
    Returns: the text, "" where nothing visible is left, and how many characters went, line ends aside.
    """
    lines = text.split("\n")
    goes, begin = [False] * len(lines), 0
    for index in range(1, len(lines) + 1):
        if index == len(lines) or not _runs_on(lines[index - 1], lines[index]):
            goes[begin:index] = [all(frequent[begin:index])] * (index - begin)
            begin = index
    gone = "".join(line for line, is_gone in zip(lines, goes, strict=True) if is_gone)
    if not gone or (gone.count("。") >= COPIED_SENTENCES and 2 * gone.count("。") > text.count("。")):
        return text, 0
    kept: list[str] = []
    apart = False
    for line, is_gone in zip(lines, goes, strict=True):
        if not is_gone:
            if apart and kept and _runs_on(kept[-1], line):
                kept.append("")
            if line or (kept and kept[-1]):
                kept.append(line)
        apart = is_gone
    return "\n".join(kept).strip("\n"), len(gone)


def _runs_on(line: str, following: str) -> bool:
    """Whether a sentence may begin in `line` and go on in the next one."""
    end, begin = line.rstrip(), following.strip()
    if not end or not begin or end[-1] in _TERMINAL or begin.startswith(_ITEM):
        return False
    return len(end.strip()) >= WRAPPED or end[-1] in "、，," or "。" in end or "、" in end


def count_lines(task: CountTask) -> dict[str, Any]:
    """How many documents of a shard hold each line; leaves sorted runs and the pages of each host."""
    pages, waiting, buffered, runs, lines = dict[int, int](), list[np.ndarray](), 0, 0, 0
    with atomic_path(task.out) as folder:
        folder.mkdir(parents=True)

        def write() -> None:
            nonlocal waiting, buffered, runs, lines
            rows = _added_up(np.concatenate([np.empty((0, 3), np.uint64), *waiting]))
            np.save(folder / f"lines-{runs:05}.npy", rows)
            waiting, buffered, runs, lines = [], 0, runs + 1, lines + len(rows)

        for host, text in _documents(task.judged, task.shard):
            keys = np.unique(np.array(line_keys(text, host, task.settings), np.uint64))
            keys = keys[keys > 0]
            of_host = xxhash.xxh3_64_intdigest(host.encode())
            pages[of_host] = pages.get(of_host, 0) + 1
            rows = np.empty((len(keys), 3), np.uint64)
            rows[:, 0], rows[:, 1], rows[:, 2] = keys, of_host, 1
            waiting.append(rows)
            buffered += len(rows)
            if buffered > LINES_IN_MEMORY:
                write()
        write()
        np.save(folder / "hosts.npy", np.array(sorted(pages.items()), np.uint64).reshape(-1, 2))
    return {"lines": lines}


def _documents(judged: Judged, shard: int) -> Iterator[tuple[str, str]]:
    """Host and text of every document that has a host."""
    kept = judged.shard(shard)
    ordinal = 0
    for batch, indices in _batches(judged, shard, ["host"]):
        hosts = batch.column("host").take(indices).to_pylist()
        for host in hosts:
            if host:
                yield host, kept.text(ordinal)
            ordinal += 1


def _batches(judged: Judged, shard: int, columns: list[str] | None = None) -> Iterator[tuple["pa.RecordBatch", "pa.Array"]]:
    """Rows of a shard's rows.parquet, and which of them are the documents that were kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = judged.root / judged.names[shard]
    rows, first = np.load(folder / "kept.npy", mmap_mode="r"), 0
    with pq.ParquetFile(folder / "rows.parquet") as file:
        for batch in file.iter_batches(1024, columns=columns):
            begin, end = np.searchsorted(rows, [first, first + batch.num_rows])
            yield batch, pa.array(rows[begin:end].astype(np.int64) - first)
            first += batch.num_rows


def _added_up(rows: np.ndarray) -> np.ndarray:
    """(N, 3) rows sorted by line, those of one line as one with the sum of their pages."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if not len(rows):
        return rows
    starts = np.flatnonzero(np.r_[True, rows[1:, 0] != rows[:-1, 0]])
    added = rows[starts]
    added[:, 2] = np.add.reduceat(rows[:, 2], starts)
    return added


def join_lines(task: JoinLinesTask) -> dict[str, Any]:
    """Which lines of a range are on enough pages of their host; leaves their keys, sorted."""
    low = np.uint64((task.part << 64) // task.parts)
    high = np.uint64(((task.part + 1) << 64) // task.parts - 1)
    matches = [np.empty((0, 3), np.uint64)]
    for path in (path for folder in task.folders for path in sorted(folder.glob("lines-*.npy"))):
        rows = np.load(path, mmap_mode="r")
        keys = rows[:, 0]
        matches.append(rows[np.searchsorted(keys, low, "left") : np.searchsorted(keys, high, "right")])
    rows = _added_up(np.concatenate(matches))
    rows = rows[rows[:, 2] >= task.settings.min_pages]
    pages = np.zeros(len(rows), np.uint64)
    for folder in task.folders:
        hosts = np.load(folder / "hosts.npy", mmap_mode="r")
        if len(hosts):
            indices = np.minimum(np.searchsorted(hosts[:, 0], rows[:, 1]), len(hosts) - 1)
            pages += np.where(hosts[indices, 0] == rows[:, 1], hosts[indices, 1], np.uint64(0))
    frequent = rows[rows[:, 2] >= task.settings.min_share * pages, 0]
    save_array(task.out, frequent)
    return {"frequent": len(frequent)}


def cut_shard(task: CutTask) -> dict[str, Any]:
    """Cut one shard's documents; leaves a folder as `corpus.judge` does."""
    import pyarrow.parquet as pq

    from corpus.storage.tables import TableWriter

    source = task.judged.root / task.judged.names[task.shard]
    frequent = np.load(task.frequent, mmap_mode="r")
    counts = {"cut": 0, "emptied": 0, "removed_characters": 0}
    with atomic_path(task.out) as folder:
        folder.mkdir()
        writer = KeptWriter(folder, FIRST_BAND + task.dedup.bands)
        schema, ordinal = pq.read_schema(source / "rows.parquet"), 0
        with TableWriter(folder / "rows.parquet", schema, ROW_GROUP) as rows:
            for batch, indices in _batches(task.judged, task.shard):
                fate = _cut_batch(task, batch, indices.to_pylist(), ordinal, (rows.count, writer, frequent, counts))
                rows.add({name: batch.column(name) for name in schema.names} | fate)
                ordinal += len(indices)
        writer.close()
    return counts


def _cut_batch(
    task: CutTask,
    batch: "pa.RecordBatch",
    places: list[int],
    ordinal: int,
    state: tuple[int, KeptWriter, np.ndarray, dict[str, int]],
) -> dict[str, list[Any]]:
    """Cut the documents of a batch and give them to the writer. Returns: the columns of the batch that changed."""
    first, writer, frequent, counts = state
    columns = {name: batch.column(name).to_pylist() for name in ("doc_id", "source", "url", "host", "stage", "rule", "detail")}
    kept: Kept = task.judged.shard(task.shard)
    rows, texts = list[int](), list[str]()
    for number, index in enumerate(places):
        text, host = kept.text(ordinal + number), columns["host"][index]
        removed = 0
        if host:
            keys = np.array(line_keys(text, host, task.settings), np.uint64)
            text, removed = cut(text, _among(keys, frequent).tolist())
        if removed:
            counts["cut"] += 1
            counts["removed_characters"] += removed
            columns["detail"][index] = f"{removed} characters of lines that {host} repeats were cut"
        if text:
            rows.append(index)
            texts.append(text)
        else:
            counts["emptied"] += 1
            columns["stage"][index], columns["rule"][index] = STAGE, RULE
    pages = [(columns["source"][row], columns["url"][row]) for row in rows]
    doc_ids = [columns["doc_id"][row] for row in rows]
    writer.add([first + row for row in rows], texts, doc_ids, compute_keys(pages, texts, task.dedup))
    return {name: columns[name] for name in ("stage", "rule", "detail")}


def _among(keys: np.ndarray, sorted_keys: np.ndarray) -> np.ndarray:
    """Which of `keys` are among the sorted ones, (N,) bool."""
    if not len(sorted_keys):
        return np.zeros(len(keys), bool)
    indices = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[indices] == keys
