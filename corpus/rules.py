"""The rules a document must pass, as a table over `corpus.statistics`: pure, and every value is kept beside the verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from corpus.settings import RuleSettings
from corpus.statistics import COLUMN

JAPANESE = ("hiragana", "katakana", "kanji")
LETTERS = (*JAPANESE, "latin", "other")
MARKS = ("digit", "punctuation", "symbol")


@dataclass(frozen=True)
class Rule:
    """value = sum(above) / max(sum(below), 1), which `setting` bounds from below ("least") or above ("most")."""

    name: str
    stage: Literal["language", "quality"]
    above: tuple[str, ...]
    below: tuple[str, ...]  # (): the value is the plain sum
    bound: Literal["least", "most"]
    setting: str  # the field of RuleSettings with the threshold


# In this order: the verdict names the first that fails.
RULES = (
    Rule("japanese", "language", JAPANESE, LETTERS, "least", "min_japanese_share"),
    Rule("kana", "language", ("hiragana", "katakana"), JAPANESE, "least", "min_kana_share"),
    Rule("replacement", "quality", ("replacement",), ("characters",), "most", "max_replacement_share"),
    Rule("foreign", "quality", ("latin", "other"), LETTERS, "most", "max_foreign_share"),
    Rule("length", "quality", JAPANESE, (), "least", "min_japanese_characters"),
    Rule("katakana", "quality", ("katakana",), JAPANESE, "most", "max_katakana_share"),
    Rule("kuten", "quality", ("visible",), ("kuten",), "most", "max_characters_per_kuten"),
    Rule("sentence", "quality", ("long_sentence_characters",), ("visible",), "most", "max_long_sentence_share"),
    Rule("ellipsis", "quality", ("ellipsis_lines",), ("lines",), "most", "max_ellipsis_share"),
    Rule("repeated", "quality", ("repeated_characters",), ("visible",), "most", "max_repeated_share"),
    Rule("marks", "quality", MARKS, ("visible",), "most", "max_mark_share"),
)


def thresholds(settings: RuleSettings) -> dict[str, list[str | float]]:
    """Rule name -> ["least" or "most", threshold]; what decisions files carry."""
    return {rule.name: [rule.bound, getattr(settings, rule.setting)] for rule in RULES}


def values(table_DS: np.ndarray) -> np.ndarray:
    """Value of every rule for every document: (documents, len(RULES)) float64.

    Args:
        table_DS: `corpus.statistics.measure` of the documents.
    """
    columns = []
    for rule in RULES:
        above = _sum(table_DS, rule.above)
        columns.append(above / np.maximum(_sum(table_DS, rule.below), 1) if rule.below else above.astype(np.float64))
    return np.stack(columns, axis=1)


def verdicts(values_DR: np.ndarray, settings: RuleSettings) -> np.ndarray:
    """Index into RULES of the first rule each document fails, -1 where it passes all: (documents,) int64."""
    failed = np.empty(values_DR.shape, bool)
    for index, rule in enumerate(RULES):
        threshold = getattr(settings, rule.setting)
        failed[:, index] = values_DR[:, index] < threshold if rule.bound == "least" else values_DR[:, index] > threshold
    return np.where(failed.any(axis=1), failed.argmax(axis=1), -1)


def by_name(row: np.ndarray) -> dict[str, float]:
    """One document's values under the names of their rules."""
    return {rule.name: float(value) for rule, value in zip(RULES, row, strict=True)}


def _sum(table_DS: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return table_DS[:, [COLUMN[name] for name in names]].sum(axis=1)
