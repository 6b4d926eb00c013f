"""Stages at which a document may fall, and why, in the order in which documents pass them; what people read for each.

Reasons of the stages "host", "language", "quality" and "words" are the rules of the presets, which have labels of their own.
"""

from collections.abc import Iterable

STAGES = {
    "read": "読み取り・抽出",
    "host": "ホスト",
    "language": "言語",
    "quality": "品質",
    "words": "禁止語・広告",
    "clean": "整形",
    "boilerplate": "定型文の除去",
    "dedup": "重複除去",
    "decontaminate": "評価データの除去",
    "remove": "指定による削除",
}
# Stage -> reason as it is in the decision rows -> what it is called.
REASONS = {
    "read": {
        "http_status": "HTTP応答が200以外",
        "content_type": "HTML以外の応答",
        "other_namespace": "記事以外のページ",
        "other_language": "対象外の言語の記録",
        "redirect_page": "別ページへの転送のみ",
        "damaged_record": "壊れた記録",
        "truncated_record": "途中で切れた記録",
        "too_large": "大きすぎる記録",
        "undecodable": "文字コードを判定できない",
        "foreign_page": "日本語でないページ",
        "unparsable": "解析できない",
        "no_text": "本文なし",
    },
    "clean": {"empty": "整形後に本文なし"},
    "boilerplate": {"boilerplate": "定型文のほかに本文なし"},
    "dedup": {"url": "同じURLの重複", "exact": "同じ本文の重複", "near": "近い本文の重複"},
    "decontaminate": {"benchmark": "評価データを含む"},
    "remove": {"removed": "取り除いた文書"},
}


def labels(rules: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """What people read for every reason of a run, in the order in which reasons apply.

    Args:
        rules: stage, name and label of the rules that judge it, in the order of judging.
    """
    matches: dict[str, str] = {}
    of_rules = list(dict.fromkeys(rules))
    for stage in STAGES:
        named = [(name, label) for offset, name, label in of_rules if offset == stage]
        for name, label in (*named, *REASONS.get(stage, {}).items()):
            matches.setdefault(name, label or name)
    return matches
