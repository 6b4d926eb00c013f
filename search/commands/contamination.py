"""Contamination as people read it at the terminal: a table in Japanese, then the texts that were found."""

from pipeline.files import short_digest
from pipeline.text.terminal import display_width, strip_control_chars
from search.provenance.contamination import Checked, Contamination, Total

# Characters of a text that are listed.
_SHOWN = 40


def render(found: Contamination, *, limit: int) -> str:
    """The table, up to `limit` contaminated texts, exact ones first, and what was searched."""
    names = (*found.fields, None) if len(found.fields) > 1 else (None,)
    heads = ["項目", "文", "短い", "完全一致", "近似", *(f"{c:,} まで" for c in found.checkpoints)]
    rows = [heads, *([strip_control_chars(name) if name else "全体", *_numbers(found.total(name))] for name in names)]
    listed = [(verdict, one) for one in found.checked if (verdict := found.verdict(one))]
    listed.sort(key=lambda row: (row[0] != "exact", -row[1].share))
    lines = [f"評価データ {strip_control_chars(found.benchmark)} のうち学習データにある文".replace("  ", " "), *_table(rows)]
    lines += ["(「まで」の列は、その反復のチェックポイントが読んでいた 完全一致+近似)", ""]
    lines += [_line(found, one) for _, one in listed[:limit]]
    lines += [f"… ほか {len(listed) - limit:,} 文 (--limit で増やせます、--json は全部)"] if len(listed) > limit else []
    if any(one.bounded for one in found.checked):
        lines.append(
            f"{found.settings.looked:,} か所より多く現れる部分は最初の {found.settings.looked:,} か所だけを調べました: "
            "チェックポイントごとの数は下限です"
        )
    return "\n".join([*lines, *([""] if listed else []), _summary(found), ""])


def _numbers(total: Total) -> list[str]:
    numbers = [f"{number:,}" for number in (total.texts, total.short, total.exact, total.near)]
    return numbers + [f"{exact:,}+{near:,}" for exact, near in total.read]


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(_padded(cell, width, left=not n) for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _padded(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - display_width(text))
    return text + space if left else space + text


def _line(found: Contamination, one: Checked) -> str:
    text = strip_control_chars(one.text).replace("\n", "⏎").replace("\t", " ")
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    if found.verdict(one) == "exact":
        read = "未読" if one.first is None else f"最初は {one.first:,}/{found.total_iterations:,}"
        what = f"完全一致 {one.count:,} か所、{read}"
    else:
        read = next((c for c in found.checkpoints if found.verdict(one, c)), None)
        what = f"近似 {one.share:.0%}、最長 {one.longest:,} 文字、{'未読' if read is None else f'{read:,} までに既読'}"
    return f"{strip_control_chars(one.item)} {strip_control_chars(one.field)}: {what}  「{shown}」"


def _summary(found: Contamination) -> str:
    settings, total = found.settings, found.total()
    rule = f"{settings.shortest} 文字以上の文、{settings.least} 文字以上の一致が {settings.share:.0%} 以上で近似"
    hit = (
        f"{total.exact + total.near:,}/{total.texts - total.short:,} 文"
        if total.texts > total.short
        else "数える文はありません"
    )
    return f"汚染検査: {hit} ({rule}、{found.searched_bytes:,} バイトの学習データ、索引 {short_digest(found.index)})"
