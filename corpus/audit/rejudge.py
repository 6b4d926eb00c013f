"""What other thresholds would decide, from the table of values alone: no text is read.

A document's verdict is the first rule that it fails. With other thresholds for a few rules, a document that another rule
dropped, or none, can only fall earlier, which the columns of the changed rules alone tell; only documents that a changed
rule dropped, and now lets pass, need the columns of the rules after it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from corpus.storage.decisions import CHUNK_ROWS, DecisionFile, codes, values

# Verdicts: place of a rule, or one of these. PASSED is set to the number of rules, after every rule.
UNJUDGED = -1


@dataclass(frozen=True)
class RejudgedRows:
    """Some row groups of one file, judged again."""

    file: DecisionFile
    begin: int  # the first row's place in the file
    groups: list[int]
    before: np.ndarray  # (N,) int64: place of the rule that dropped it, len(rules): none did, UNJUDGED: it had no text
    after: np.ndarray  # the same with the changed thresholds
    kept: np.ndarray  # (N,) bool: it is in the corpus now
    copy: np.ndarray  # (N,) bool: it is out as a copy of another document
    characters: np.ndarray  # (N,) int64, 0 where unknown
    changed_values: np.ndarray  # (N, changed rules) float64
    changed: list[int]  # places of the changed rules


def limits_of(file: DecisionFile, changes: Mapping[str, float | None]) -> np.ndarray:
    """Threshold of every rule of a file after the changes, (rules,) float64; None switches a rule off."""
    limits = [rule.threshold for rule in file.rules]
    for index, rule in enumerate(file.rules):
        if rule.name in changes:
            wanted = changes[rule.name]
            limits[index] = rule.off if wanted is None else wanted
    return np.array(limits, np.float64)


def rejudge(file: DecisionFile, changes: Mapping[str, float | None], size: int = CHUNK_ROWS) -> Iterator[RejudgedRows]:
    """Judge a file again, a piece at a time; verdicts are exactly those of a run with these thresholds.

    Args:
        changes: rule -> threshold, None: off; rules that the file does not have change nothing.
    """
    limits = limits_of(file, changes)
    changed = [index for index, rule in enumerate(file.rules) if limits[index] != rule.threshold]
    names = [rule.name for rule in file.rules]
    for begin, groups, table in file.chunks(("verdict", "stage", "rule", "characters", *(names[p] for p in changed)), size):
        stage = codes(table["stage"], ["read", "dedup", *{rule.stage: None for rule in file.rules}])
        before = np.where(stage > 1, codes(table["rule"], names), -1)  # a reason of another stage may be called like a rule
        before[(before < 0) & (stage != 0)] = len(names)
        tuned = values(table, [names[index] for index in changed])
        after = before.copy()
        for column, index in reversed(list(enumerate(changed))):
            fails = file.rules[index].fails(tuned[:, column], float(limits[index]))
            after = np.where(fails & (index <= after), index, after)
            freed = ~fails & (before == index) & (after == index)
            after[freed] = len(names)  # for now: the rules after it are asked below
        _ask_the_rest(file, limits, groups, before, after)
        characters = table["characters"].fill_null(0).to_numpy().astype(np.int64)
        kept = codes(table["verdict"], ["kept"]) == 0
        yield RejudgedRows(
            file=file,
            begin=begin,
            groups=groups,
            before=before,
            after=after,
            kept=kept,
            copy=stage == 1,
            characters=characters,
            changed_values=tuned,
            changed=changed,
        )


def _ask_the_rest(file: DecisionFile, limits: np.ndarray, groups: list[int], before: np.ndarray, after: np.ndarray) -> None:
    """Documents that the rule which dropped them now lets pass: the first of all rules that they fail, into `after`."""
    open_rows = (before < len(limits)) & (before >= 0) & (after > before)
    if not open_rows.any():
        return
    first = int(before[open_rows].min()) + 1
    behind = [index for index in range(first, len(limits)) if np.isfinite(limits[index])]
    names = [file.rules[index].name for index in behind]
    import pyarrow.parquet as pq

    with pq.ParquetFile(file.path) as parquet:
        sizes = [parquet.metadata.row_group(group).num_rows for group in groups]
        ends = np.cumsum(sizes)
        wanted = [i for i, (end, size) in enumerate(zip(ends, sizes, strict=True)) if open_rows[end - size : end].any()]
        if not wanted or not names:
            return
        table = parquet.read_row_groups([groups[i] for i in wanted], columns=names)
    rows = np.concatenate([np.arange(ends[i] - sizes[i], ends[i]) for i in wanted])
    mine = open_rows[rows]
    rows, rest = rows[mine], values(table, names)[mine]
    for column, index in reversed(list(enumerate(behind))):
        fails = file.rules[index].fails(rest[:, column], float(limits[index]))
        hit = rows[fails & (before[rows] < index)]
        after[hit] = np.minimum(after[hit], index)
