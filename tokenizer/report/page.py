"""The page of the tokenizer report: tables with bars, and texts cut by every tokenizer, side by side."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizer.analyzer import Analyzer
from tokenizer.report.others import Cut, ReportTokenizer
from tokenizer.report.scripts import LENGTHS, PIECES, SCRIPTS
from tokenizer.report.texts import RULES

TEMPLATE = Path(__file__).parent / "page.html.jinja"
# Neighbouring tokens differ in colour; as many as the style sheet names.
COLOURS = 6


def shown(source: str, text: str, subjects: Sequence[ReportTokenizer], analyzer: Analyzer) -> dict[str, Any]:
    """One text for the page: its source, the text, and what each tokenizer makes of it."""
    words, place = set[int](), 0
    for line in text.split("\n"):
        words.update(place + start for start in (analyzer.starts(line) if line else ()))
        place += len(line) + 1
        words.add(place - 1)
    cuts = []
    for subject in subjects:
        cut = subject.cut(text)
        cuts.append({"name": subject.name, "tokens": len(cut.ids), "parts": parts(text, cut, words)})
    return {"source": source, "text": text, "cuts": cuts}


def parts(text: str, cut: Cut, words: set[int]) -> list[dict[str, Any]]:
    """A text as runs of characters that the same tokens cover; put together they are the text.

    Returns: each run as colour (of the first token that covers it; -1: none), begun (a token begins there), shared (how
        many tokens cover it), ids, newline (it holds one), and pieces: (text, whether a word begins there).
    """
    edges = sorted({0, len(text), *cut.begins.tolist(), *cut.ends.tolist()})
    covering: list[list[int]] = [[] for _ in edges]
    place = {edge: at for at, edge in enumerate(edges)}
    for token, (begin, end) in enumerate(zip(cut.begins.tolist(), cut.ends.tolist(), strict=True)):
        for at in range(place[begin], place[end]):
            covering[at].append(token)
    made = []
    for at, (begin, end) in enumerate(itertools.pairwise(edges)):
        inside = [begin, *(word for word in range(begin + 1, end) if word in words), end]
        made.append(
            {
                "colour": covering[at][0] % COLOURS if covering[at] else -1,
                "shared": len(covering[at]),
                "ids": [int(cut.ids[token]) for token in covering[at]],
                "newline": "\n" in text[begin:end],
                "pieces": [(text[a:b], a in words) for a, b in itertools.pairwise(inside)],
            }
        )
    return made


def render(found: dict[str, Any], texts: Sequence[dict[str, Any]]) -> str:
    """The page; the template escapes everything.

    Args:
        found: what `--json` prints.
        texts: as `shown` makes them.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        found=found,
        names=[row["name"] for row in found["tokenizers"]],
        measured=[{"name": name, "rule": RULES[row["rule"]], **_plain(row)} for name, row in found["measured"].items()],
        tables=[_overall(found), _by_source(found), _by_script(found), _edges(found)],
        losses=[row for row in found["tokenizers"] if row["all"]["round_trip"]["lost"]],
        vocabularies=[_vocabulary(row) for row in found["tokenizers"]],
        lengths=_length_names(),
        dead=[{"name": PIECES[name], **row} for name, row in found["dead"]["classes"].items()],
        texts=texts,
    )


def printable(text: str) -> str:
    """Without the characters that HTML forbids or a browser hides: control characters become their pictures (U+2400 on)."""
    made = []
    for character in text:
        code = ord(character)
        if code < 0x20 and character not in "\t\n":
            made.append(chr(0x2400 + code))
        elif code == 0x7F:
            made.append("\u2421")
        else:
            made.append("\ufffd" if 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE else character)
    return "".join(made)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "rule"}


def _table(title: str, note: str, rows: Sequence[tuple[str, Sequence[float], str]]) -> dict[str, Any]:
    """Rows of (label, a value a tokenizer, format); a bar in each cell, in its row's scale."""
    made = []
    for label, values, form in rows:
        most = max(values, default=0.0) or 1.0
        made.append({"label": label, "cells": [(form.format(value), round(100 * value / most, 1)) for value in values]})
    return {"title": title, "note": note, "rows": made}


def _overall(found: dict[str, Any]) -> dict[str, Any]:
    every = found["tokenizers"]
    whole = [row["all"] for row in every]
    rows: list[tuple[str, Sequence[float], str]] = [
        ("語彙", [row["vocab_size"] for row in every], "{:,}"),
        ("字/トークン", [row["characters_per_token"] for row in whole], "{:.3f}"),
        ("バイト/トークン", [row["bytes_per_token"] for row in whole], "{:.3f}"),
        ("トークン数", [row["tokens"] for row in whole], "{:,}"),
        ("測った文章で使われたピース", [row["used_pieces"] for row in every], "{:,}"),
        ("空白 + 和文のピース", [row["vocabulary"]["spaced_japanese"] for row in every], "{:,}"),
        ("元に戻らない文章", [row["round_trip"]["lost"] for row in whole], "{:,}"),
    ]
    return _table(
        "全体",
        "すべてのトークナイザで同じ文章を測っています。ほかのトークナイザがそれを学習に使ったかどうかは分かりません。",
        rows,
    )


def _by_source(found: dict[str, Any]) -> dict[str, Any]:
    rows: list[tuple[str, Sequence[float], str]] = []
    for source in found["measured"]:
        of = [row["sources"][source] for row in found["tokenizers"]]
        rows += [
            (f"{source}: 字/トークン", [row["characters_per_token"] for row in of], "{:.3f}"),
            (f"{source}: バイト/トークン", [row["bytes_per_token"] for row in of], "{:.3f}"),
            (f"{source}: トークン/文書", [row["tokens_per_document"] for row in of], "{:,.1f}"),
        ]
    note = "トークン/文書 は、出典の文書の平均文字数を 字/トークン で割ったものです。"
    return _table("出典ごと", note, rows)


def _by_script(found: dict[str, Any]) -> dict[str, Any]:
    rows: list[tuple[str, Sequence[float], str]] = []
    whole = [row["all"]["scripts"] for row in found["tokenizers"]]
    for name, label in SCRIPTS.items():
        of = [scripts.get(name, {"characters_per_token": 0.0}) for scripts in whole]
        if any(name in scripts for scripts in whole):
            rows.append((f"{label}: 字/トークン", [row["characters_per_token"] for row in of], "{:.3f}"))
    note = "トークンは、覆う文字に均等に割り当てます。文字種ごとのトークンを足すと全体のトークン数になります。"
    return _table("文字種ごと", note, rows)


def _edges(found: dict[str, Any]) -> dict[str, Any]:
    of = [row["all"]["boundaries"] for row in found["tokenizers"]]
    names = {
        "precision": "適合率 (トークンの始まりが単語の始まり)",
        "recall": "再現率 (単語の始まりがトークンの始まり)",
        "f1": "F1",
        "straddle_share": "またぎ (単語の一部を覆い、その端を越えるトークン)",
        "consistency": "一貫性 (最も多い切り方で切られた単語の割合)",
        "constancy": "不変 (いつも同じ切り方の単語の割合、異なり語で)",
    }
    rows = [(label, [row[name] for row in of], "{:.2%}") for name, label in names.items()]
    note = (
        f"単語は {found['analyzer']} によります。行頭は境界に数えません。一貫性と不変は、測った文章に "
        "2 回以上現れる 2 字以上の単語について、単語の内側の切れ目を比べます。"
    )
    return _table("単語の境界", note, rows)


def _vocabulary(row: dict[str, Any]) -> dict[str, Any]:
    classes = row["vocabulary"]["classes"]
    most = max((max(counts) for counts in classes.values()), default=1) or 1
    rows = [
        {"label": PIECES[name], "total": sum(counts), "cells": [(count, round(100 * count / most, 1)) for count in counts]}
        for name, counts in classes.items()
    ]
    return {"name": row["name"], "rows": rows}


def _length_names() -> list[str]:
    firsts = [1, *(length + 1 for length in LENGTHS[:-1])]
    spans = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(firsts, LENGTHS, strict=True)]
    return [*(f"{span} 字" for span in spans), f"{LENGTHS[-1] + 1} 字以上"]
