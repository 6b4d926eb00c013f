"""What the report shows, added up over the decisions of a run a bounded piece at a time."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from corpus.drop_reasons import STAGES
from corpus.report.benchmarks import BenchmarkRow, read_benchmarks
from corpus.report.charts import edges, on_axis
from corpus.storage.decisions import DecisionFile, Decisions, RuleRow, values

if TYPE_CHECKING:
    import pyarrow as pa

# Hosts counted at once: 100 bytes each; beyond it the rarest half is forgotten, and how much that can hide is kept.
_HOSTS = 1_000_000
# Survivors counted at once for the sizes of clusters; beyond it every second is left out, by its own digits.
_SURVIVORS = 4_000_000
# A rule whose values go beyond this is a count, not a share, and has a logarithmic axis.
_SHARE = 2.0
# Characters of a document: ten million is the longest that a picture of lengths tells apart.
LENGTHS = np.linspace(0.0, 7.0, 71)
SIMILARITIES = np.linspace(0.0, 1.0, 51)


@dataclass
class RuleValues:
    """One rule of one preset: its values and what it does."""

    preset: str
    rule: RuleRow
    low: float
    high: float
    edges: np.ndarray
    log: bool
    counts: np.ndarray
    judged: int = 0
    fails: int = 0  # whatever other rules say
    first: int = 0  # dropped by it: it is the first that fails
    sole: int = 0  # it alone fails


@dataclass
class HostCounts:
    """Kept and dropped documents by host, the frequent ones exactly; `hidden`: what a host not shown may have at most."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    hidden: int = 0

    def add(self, host: str, kept: int, dropped: int) -> None:
        """Count documents of a host."""
        have = self.counts.setdefault(host, [0, 0])
        have[0] += kept
        have[1] += dropped
        if len(self.counts) > _HOSTS:
            ranked = sorted(self.counts.items(), key=lambda item: (-sum(item[1]), item[0]))
            self.hidden += sum(ranked[_HOSTS // 2][1])
            self.counts = dict(ranked[: _HOSTS // 2])

    def top(self, count: int) -> list[tuple[str, int, int]]:
        """Hosts with the most documents: name, kept, dropped."""
        ranked = sorted(self.counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        return [(host, kept, dropped) for host, (kept, dropped) in ranked[:count]]


@dataclass
class ReportData:
    """Everything but the speed."""

    fates: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)  # source -> (stage, rule) -> documents
    sizes: dict[str, Counter[str]] = field(default_factory=dict)  # source -> stage -> characters
    kept: dict[str, list[int]] = field(default_factory=dict)  # source -> [documents, characters]
    rules: dict[tuple[str, str], RuleValues] = field(default_factory=dict)
    hosts: HostCounts = field(default_factory=HostCounts)
    charsets: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)  # what pages that the gate turned away said of themselves
    lengths_kept: np.ndarray = field(default_factory=lambda: np.zeros(len(LENGTHS) - 1, np.int64))
    lengths_dropped: np.ndarray = field(default_factory=lambda: np.zeros(len(LENGTHS) - 1, np.int64))
    masked_documents: int = 0
    masked_items: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # of copies
    cluster_sizes: Counter[int] = field(default_factory=Counter)
    sampled: int = 1  # cluster sizes are those of one kept representative in so many
    similarities: np.ndarray = field(default_factory=lambda: np.zeros(len(SIMILARITIES) - 1, np.int64))
    benchmarks: list[BenchmarkRow] = field(default_factory=list)

    @property
    def stages(self) -> list[str]:
        """Stages that dropped something or are in any rule, in the order in which documents pass them."""
        seen = {stage for fates in self.fates.values() for stage, _ in fates} | {r.rule.stage for r in self.rules.values()}
        seen |= {"read"}
        seen.discard("")
        return [*(stage for stage in STAGES if stage in seen), *sorted(seen - STAGES.keys())]


def collect(decisions: Decisions) -> ReportData:
    """Read decisions/, clusters/ and what benchmarks were held once."""
    data = ReportData()
    for file in decisions.files:
        _prepare(data, file)
    for file in decisions.files:
        names = [rule.name for rule in file.rules]
        columns = ("source", "host", "stage", "rule", "detail", "verdict", "charset", "flags", "masked", "characters", *names)
        for _, _, table in file.chunks(columns):
            _add(data, file, table)
    for table in decisions.clusters():
        data.kinds.update(table["kind"].to_pylist())
        near = table["similarity"].to_numpy()
        data.similarities += np.histogram(near[~np.isnan(near)], SIMILARITIES)[0]
    data.cluster_sizes, data.sampled = cluster_sizes(decisions)
    data.benchmarks = read_benchmarks(decisions.manifest.data)
    return data


def cluster_sizes(decisions: Decisions, limit: int = _SURVIVORS) -> tuple[Counter[int], int]:
    """How many clusters have how many documents, kept ones included; and the sampling: one cluster in how many was counted."""
    counts: Counter[str] = Counter()
    every = 1
    for table in decisions.clusters(("survivor",)):
        for survivor in table["survivor"].to_pylist():
            if int(survivor[:8], 16) % every == 0:
                counts[survivor] += 1
        while len(counts) > limit:
            every *= 2
            counts = Counter({name: count for name, count in counts.items() if int(name[:8], 16) % every == 0})
    return Counter(count + 1 for count in counts.values()), every


def _prepare(data: ReportData, file: DecisionFile) -> None:
    """Widen the range of every rule of a file by the statistics of its Parquet columns; lay the bins once ranges stand."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file.path) as parquet:
        meta = parquet.metadata
        index = {meta.schema.column(i).name: i for i in range(len(meta.schema))}
        for rule in file.rules:
            low, high = np.inf, -np.inf
            for group in range(meta.num_row_groups):
                stats = meta.row_group(group).column(index[rule.name]).statistics
                if stats is not None and stats.has_min_max:
                    low, high = min(low, float(stats.min)), max(high, float(stats.max))
            if high < low:  # no document was judged
                low, high = 0.0, 1.0
            key = (file.preset, rule.name)
            have = data.rules.get(key)
            if have:
                low, high = min(low, have.low), max(high, have.high)
            log = high > _SHARE
            laid = edges(low, high, rule.threshold, log=log, upper=rule.bound == "most")
            data.rules[key] = RuleValues(
                preset=file.preset, rule=rule, low=low, high=high, edges=laid, log=log, counts=np.zeros(len(laid) - 1, np.int64)
            )


def _add(data: ReportData, file: DecisionFile, table: "pa.Table") -> None:
    _add_fates(data, file, table)
    _add_rules(data, file, table)
    for into, column in ((data.charsets, "charset"), (data.flags, "flags")):
        if column in table.column_names:
            for row in table.group_by(column).aggregate([(column, "count")]).to_pylist():
                for name in (row[column] or "").split(","):
                    if name:
                        into[name] += row[f"{column}_count"]
    if "masked" in table.column_names:
        masked = table["masked"].fill_null(0).to_numpy()
        data.masked_documents += int((masked > 0).sum())
        data.masked_items += int(masked.sum())
    characters = table["characters"].fill_null(0).to_numpy()
    kept = np.array([verdict == "kept" for verdict in table["verdict"].to_pylist()], bool)
    counted = on_axis(np.minimum(characters, 10.0 ** LENGTHS[-1]), log=True)
    data.lengths_kept += np.histogram(counted[kept], LENGTHS)[0]
    data.lengths_dropped += np.histogram(counted[~kept & (characters > 0)], LENGTHS)[0]


def _add_fates(data: ReportData, file: DecisionFile, table: "pa.Table") -> None:
    keys = [name for name in ("source", "stage", "rule", "verdict") if name in table.column_names]
    grouped = table.group_by(keys).aggregate([("characters", "sum"), ([], "count_all")])
    for row in grouped.to_pylist():
        source, stage = row["source"] or file.source, row["stage"] or ""
        characters, count = row["characters_sum"] or 0, row["count_all"]
        data.fates.setdefault(source, Counter())
        data.sizes.setdefault(source, Counter())
        have = data.kept.setdefault(source, [0, 0])
        if row["verdict"] == "kept":
            have[0] += count
            have[1] += characters
        else:
            data.fates[source][stage, row["rule"] or ""] += count
            data.sizes[source][stage] += characters
    if "host" in table.column_names:
        hosts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row in table.group_by(["host", "verdict"]).aggregate([([], "count_all")]).to_pylist():
            if row["host"]:
                hosts[row["host"]][row["verdict"] != "kept"] += row["count_all"]
        for host in sorted(hosts):
            data.hosts.add(host, *hosts[host])
    if "detail" in table.column_names:
        import pyarrow.compute as pc

        gated = table.filter(pc.call_function("equal", [table["rule"], "foreign_page"]))
        for row in gated.group_by("detail").aggregate([([], "count_all")]).to_pylist():
            data.foreign[row["detail"] or "?"] += row["count_all"]


def _add_rules(data: ReportData, file: DecisionFile, table: "pa.Table") -> None:
    numbers_NR = values(table, [rule.name for rule in file.rules])
    if not numbers_NR.size:
        return
    fails_NR = np.stack([rule.fails(numbers_NR[:, i]) for i, rule in enumerate(file.rules)], axis=1)
    sole = fails_NR.sum(axis=1) == 1
    firsts = np.bincount(fails_NR.argmax(axis=1)[fails_NR.any(axis=1)], minlength=len(file.rules))
    for index, rule in enumerate(file.rules):
        have = data.rules[file.preset, rule.name]
        column = numbers_NR[:, index]
        column = column[~np.isnan(column)]
        have.judged += len(column)
        have.counts += np.histogram(np.clip(on_axis(column, log=have.log), have.edges[0], have.edges[-1]), have.edges)[0]
        have.fails += int(fails_NR[:, index].sum())
        have.sole += int((fails_NR[:, index] & sole).sum())
        have.first += int(firsts[index])
