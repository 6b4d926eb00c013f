"""The rules a document must pass: presets from `corpus/presets/*.toml` over one table of counts; pure, every value is kept.

Shapes: D documents, C columns (statistics of the text, then features), R rules of the preset.
"""

import dataclasses
import functools
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from corpus.extract.language_gate import MIN_KANA
from corpus.filters.cleaners import CLEANERS
from corpus.filters.features import FEATURES, measure_features
from corpus.filters.hosts import NO_HOSTS, HostLists
from corpus.stats import measure
from corpus.stats.word_lists import WordLists
from pipeline.errors import ConfigError
from pipeline.runfile import build_settings, suggest_key

PRESETS = Path(__file__).with_name("presets")
# What `table` returns: the statistics of the text, then the features.
COLUMNS = (*measure.STATISTICS, *FEATURES)
COLUMN = {name: index for index, name in enumerate(COLUMNS)}
# Part of a preset's digest: raised when a column comes to count something else under its old name.
TABLE_VERSION = 1
_KANA_COLUMNS = {"hiragana", "katakana"}
_NO_CHANGES: Mapping[str, float | bool] = MappingProxyType({})


@dataclass(frozen=True)
class Rule:
    """value = sum(above) / sum(below), which `threshold` bounds from below ("least") or above ("most")."""

    name: str
    stage: Literal["host", "language", "quality", "words"]
    above: tuple[str, ...]  # columns
    below: tuple[str, ...]  # (): the value is the plain sum
    bound: Literal["least", "most"]
    threshold: float  # itself still passes
    source: str = ""  # where the threshold comes from
    empty: float | None = None  # the value of something over nothing; None: nothing counts as 1. Nothing over nothing is 0
    label: str = ""  # what a drop is called to people, in Japanese


@dataclass(frozen=True)
class Preset:
    """Rules in the order in which the first failure is the verdict, and what they need."""

    name: str
    description: str
    language: Literal["ja", "any"]  # "ja": pages in other languages may be dropped before they are parsed
    rules: tuple[Rule, ...]
    cleaners: tuple[str, ...]  # of `corpus.filters.cleaners`, carried out on what passed
    groups: frozenset[str]  # of `corpus.stats.measure`, that the rules read
    word_lists: tuple[str, ...]  # of `corpus.stats.word_lists`, that the rules read
    hosts: HostLists = NO_HOSTS

    @functools.cached_property
    def least_kana(self) -> int:
        """Kana that every text has which passes: what the gate may drop a page for, unparsed."""
        return _least_kana(self.rules)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of all that decides a verdict: rules, order, thresholds, cleaners, hosts, the words of the lists."""
        body = {
            "version": TABLE_VERSION,
            "language": self.language,
            "rules": [{**dataclasses.asdict(rule), "source": "", "label": ""} for rule in self.rules],
            "cleaners": self.cleaners,
            "hosts": dataclasses.asdict(self.hosts),
            "words": WordLists.load(self.word_lists).digest if self.word_lists else "",
        }
        return "sha256:" + hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _RuleEntry:
    """One [[rules]] of a preset file."""

    name: str
    label: str
    stage: Literal["host", "language", "quality", "words"]
    above: tuple[str, ...]
    source: str
    below: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    empty: float | None = None


@dataclass(frozen=True)
class _PresetFile:
    description: str
    language: Literal["ja", "any"]
    rules: tuple[_RuleEntry, ...]
    cleaners: tuple[str, ...] = ()
    hosts: HostLists = NO_HOSTS


def _least_kana(rules: Sequence[Rule]) -> int:
    """Kana that every text has which passes `rules`, up to MIN_KANA; 0 where they ask for none.

    Not more than MIN_KANA: a page that a stricter threshold drops is judged, so that `make retune` can tell from the table.

    A rule on a number of kana gives that number. A rule on a share of kana gives that share of the smallest denominator
    that another rule allows, and at least one.
    """
    asked = [rule for rule in rules if rule.bound == "least" and rule.threshold > 0]
    counts = [(set(rule.above), rule.threshold) for rule in asked if not rule.below]
    least = 0.0
    for rule in asked:
        if not rule.below and (set(rule.above) <= _KANA_COLUMNS or rule.above == ("first_kana",)):
            least = max(least, rule.threshold)
        elif rule.below and set(rule.above) <= _KANA_COLUMNS:
            below = [count for columns, count in counts if columns <= set(rule.below)]
            least = max(least, 1.0, rule.threshold * max(below, default=0.0))
    return min(math.ceil(least - 1e-9), MIN_KANA)  # .07 * 100 is a little more than 7


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


def load_preset(name: str, changes: Mapping[str, float | bool] = _NO_CHANGES) -> Preset:
    """A preset with the changes of a run file's [corpus.rules]: a number is a rule's threshold, false takes the rule out.

    Raises: ConfigError on an unknown preset or rule, or on a threshold no value can have.
    """
    preset = _read(name)
    by_name = {rule.name: rule for rule in preset.rules}
    for rule_name, change in changes.items():
        if rule_name not in by_name:
            raise ConfigError(f"[corpus.rules]: preset {name!r} has no rule {rule_name!r}{suggest_key(rule_name, by_name)}")
        rule = by_name[rule_name]
        if change is False:
            del by_name[rule_name]
        elif change is not True:
            by_name[rule_name] = dataclasses.replace(rule, threshold=_checked(rule, float(change)))
    return _with_needs(dataclasses.replace(preset, rules=tuple(by_name.values())))


def table(texts: Sequence[str], urls: Sequence[str], preset: Preset, linked: Sequence[int] | None = None) -> np.ndarray:
    """What the rules of `preset` read of each document: (D, C) int64, columns named by COLUMNS; others may be 0.

    Args:
        urls: one for each text, for the host rules.
        linked: for each text its characters that was in links; None: unknown, counted as 0.
    """
    counts_DS = measure.measure(texts, WordLists.load(preset.word_lists), preset.groups)
    features_DF = measure_features(texts, urls, preset.hosts, _columns(preset.rules), linked)
    return np.concatenate([counts_DS, features_DF], axis=1)


def values(table_DC: np.ndarray, preset: Preset) -> np.ndarray:
    """Value of every rule for every document: (D, R) float64.

    Args:
        table_DC: `table` of the documents.
    """
    values_DR = np.empty((len(table_DC), len(preset.rules)))
    for index, rule in enumerate(preset.rules):
        above = _sum(table_DC, rule.above)
        if not rule.below:
            values_DR[:, index] = above
            continue
        below = _sum(table_DC, rule.below)
        values_DR[:, index] = above / np.maximum(below, 1)
        if rule.empty is not None:
            values_DR[(below == 0) & (above != 0), index] = rule.empty
    return values_DR


def verdicts(values_DR: np.ndarray, preset: Preset) -> np.ndarray:
    """Index of the first rule of the preset that each document fails, -1 where it passes all: (D,) int64."""
    failed_DR = failures(values_DR, preset)
    if not preset.rules:
        return np.full(len(values_DR), -1, np.int64)
    return np.where(failed_DR.any(axis=1), failed_DR.argmax(axis=1), -1)


def failures(values_DR: np.ndarray, preset: Preset) -> np.ndarray:
    """Which document fails which rule: (D, R) bool."""
    failed_DR = np.empty(values_DR.shape, bool)
    for index, rule in enumerate(preset.rules):
        column = values_DR[:, index]
        failed_DR[:, index] = column < rule.threshold if rule.bound == "least" else column > rule.threshold
    return failed_DR


def by_name(row: np.ndarray, preset: Preset) -> dict[str, float]:
    """One document's values under the names of their rules."""
    return {rule.name: float(value) for rule, value in zip(preset.rules, row, strict=True)}


@functools.cache
def _read(name: str) -> Preset:
    """The preset as its file says."""
    if name not in preset_names():
        raise ConfigError(f"[corpus]: no preset {name!r}{suggest_key(name, preset_names())}")
    where = f"corpus/presets/{name}.toml"
    file = build_settings(tomllib.loads((PRESETS / f"{name}.toml").read_text("utf-8")), _PresetFile, where)
    rules = tuple(_rule(entry, f"{where} rule {entry.name!r}") for entry in file.rules)
    if len({rule.name for rule in rules}) != len(rules):
        raise ConfigError(f"{where}: two rules have one name in {[rule.name for rule in rules]}")
    if unknown := [cleaner for cleaner in file.cleaners if cleaner not in CLEANERS]:
        raise ConfigError(f"{where}: unknown cleaner {unknown[0]!r}{suggest_key(unknown[0], CLEANERS)}")
    return Preset(
        name=name,
        description=file.description,
        language=file.language,
        rules=rules,
        cleaners=file.cleaners,
        groups=frozenset(),
        word_lists=(),
        hosts=file.hosts,
    )


def _rule(entry: _RuleEntry, where: str) -> Rule:
    if (entry.least is None) == (entry.most is None):
        raise ConfigError(f"{where}: expected exactly one of least and most, got least {entry.least}, most {entry.most}")
    for column in (*entry.above, *entry.below):
        if column not in COLUMN:
            raise ConfigError(f"{where}: unknown column {column!r}{suggest_key(column, COLUMN)}")
    least = entry.least is not None
    threshold = entry.least if entry.least is not None else entry.most
    assert threshold is not None
    rule = Rule(
        name=entry.name,
        stage=entry.stage,
        above=entry.above,
        below=entry.below,
        bound="least" if least else "most",
        threshold=threshold,
        source=entry.source,
        empty=entry.empty,
        label=entry.label,
    )
    _checked(rule, threshold)
    return rule


def _checked(rule: Rule, threshold: float) -> float:
    """The threshold, if a value could be on either side of it: a rule whose own threshold is a share keeps to shares."""
    share = bool(rule.below) and rule.threshold <= 1
    if not math.isfinite(threshold) or threshold < 0 or (share and threshold > 1):
        raise ConfigError(
            f"[corpus.rules] {rule.name} = {threshold}: expected {'a share from 0 to 1' if share else '0 or more'},"
            f" the preset has {rule.threshold}"
        )
    return threshold


def _with_needs(preset: Preset) -> Preset:
    """The preset with the groups and word lists that its rules read."""
    columns = _columns(preset.rules)
    groups, lists = measure.groups_of(columns), measure.lists_of(columns)
    return dataclasses.replace(preset, groups=groups, word_lists=lists)


def _columns(rules: tuple[Rule, ...]) -> frozenset[str]:
    return frozenset(name for rule in rules for name in (*rule.above, *rule.below))


def _sum(table_DC: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return table_DC[:, [COLUMN[name] for name in names]].sum(axis=1)
