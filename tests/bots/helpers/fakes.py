"""A search that finds twelve documents for everything, and a core around it."""

from dataclasses import replace
from typing import Any, cast

from bots.core import Core
from bots.settings import BotsSettings
from search.hits import Hit, Mode, Page

TOTAL = 12


def hit(rank: int, mode: Mode = "vector") -> Hit:
    """The hit of that rank: the second read twice, the third never, the others once."""
    iterations = {2: (3, 590), 3: ()}.get(rank, (400 + rank,))
    text = f"第{rank}章 国境の長い<b>トンネル</b>を*抜ける*と雪国であった。"
    begin = text.index("国境")
    return Hit(
        rank=rank,
        mode=mode,
        source="ja_web",
        url=f"https://example.org/{rank}.html",
        title=f"雪国 {rank}",
        date="",
        doc_id=f"{rank:032x}",
        text=text,
        spans=((begin, begin + 5),),
        score=1 / rank,
        iterations=iterations,
        total_iterations=600,
    )


class FakeSearcher:
    """Answers like search.query.Searcher, from twelve documents; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mode, int]] = []
        self.total = TOTAL
        self.broken = False

    def search(self, query: str, mode: Mode, *, offset: int = 0, limit: int = 5) -> Page:
        if self.broken:
            raise RuntimeError("index on fire")
        self.asked.append((query, mode, offset))
        ranks = range(offset + 1, min(offset + limit, self.total) + 1)
        return Page(tuple(hit(rank, mode) for rank in ranks), self.total)


def fake_core(base_url: str, searcher: FakeSearcher | None = None, **settings: Any) -> Core:
    """A core that speaks to a named server and searches twelve documents."""
    made = replace(BotsSettings(base_url=base_url, deadline_seconds=20.0), **settings)
    return Core(made, cast(Any, searcher or FakeSearcher()), None)
