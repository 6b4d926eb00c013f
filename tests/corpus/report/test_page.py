"""The report: counts against plain Python over every row, pictures that are XML, nothing from the network, all escaped."""

import json
import random
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.report.__main__ import main
from corpus.report.benchmarks import read_benchmarks
from corpus.report.charts import Bar, Histogram, bars, edges, histogram, on_axis, shorten, width
from corpus.report.data import HostCounts, cluster_sizes, collect
from corpus.report.page import render, write_report
from corpus.report.speed import Speed, measure_speed, read_phases
from corpus.storage.decisions import open_decisions
from pipeline.errors import MissingInput
from tests.corpus.helpers.sealed import RULES, make_rows, make_sealed, seal

EVIL = '<script>alert("&\x1b")</script>'


class Page(HTMLParser):
    """Tags, and that every one is closed."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pictures(page: str) -> list[ET.Element]:
    return [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def texts(picture: ET.Element) -> list[str]:
    return [node.text or "" for node in picture.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    return make_sealed(tmp_path_factory.mktemp("reported"))


def test_counts_are_those_of_plain_python(made: tuple[Path, list[dict[str, Any]]]) -> None:
    root, rows = made
    data = collect(open_decisions(root))
    for source in ("ja_web", "ja_man"):
        mine = [row for row in rows if row["source"] == source]
        kept = [row for row in mine if row["verdict"] == "kept"]
        assert data.kept[source] == [len(kept), sum(row["characters"] for row in kept)]
        assert data.fates[source] == Counter((row["stage"], row["rule"]) for row in mine if row["verdict"] == "dropped")
    hosts = {host: (kept, dropped) for host, kept, dropped in data.hosts.top(100)}
    for host in {row["host"] for row in rows}:
        mine = [row["verdict"] for row in rows if row["host"] == host]
        assert hosts[host] == (mine.count("kept"), mine.count("dropped"))
    judged = [row for row in rows if row["stage"] != "read"]
    assert data.lengths_kept.sum() == sum(row["verdict"] == "kept" for row in rows)
    assert data.lengths_kept.sum() + data.lengths_dropped.sum() == len(judged)
    assert data.kinds == Counter(row["rule"] for row in rows if row["stage"] == "dedup")
    assert data.charsets == Counter({"utf-8": len(judged)})


def test_every_rule_counts_what_fails_first_alone_and_beyond_the_line(made: tuple[Path, list[dict[str, Any]]]) -> None:
    root, rows = made
    judged = [row for row in rows if row["stage"] != "read"]

    def failing(row: dict[str, Any]) -> list[str]:
        beyond = {"least": lambda v, t: v < t, "most": lambda v, t: v > t}
        return [rule["name"] for rule in RULES if beyond[rule["bound"]](row[rule["name"]], rule["threshold"])]

    for (_, name), found in collect(open_decisions(root)).rules.items():
        fails = [failing(row) for row in judged]
        assert found.judged == len(judged) == found.counts.sum()
        assert found.fails == sum(name in each for each in fails)
        assert found.first == sum(each[:1] == [name] for each in fails)
        assert found.sole == sum(each == [name] for each in fails)
        middles = (found.edges[:-1] + found.edges[1:]) / 2
        limit = on_axis(np.array([found.rule.threshold]), log=found.log)[0]
        beyond = middles < limit if found.rule.bound == "least" else middles > limit
        assert found.counts[beyond].sum() == found.fails  # the coloured bars hold exactly what falls


def test_the_page_is_whole_still_and_closed(made: tuple[Path, list[dict[str, Any]]]) -> None:
    root, rows = made
    path = write_report(root, check=True)
    assert path == root / "report.html" and open_decisions(root)  # the artifact is still what was sealed
    page = path.read_text("utf-8")
    parsed = Page(page)
    assert not parsed.open and parsed.tags["svg"] >= 10
    assert "script" not in parsed.tags and "img" not in parsed.tags and "link" not in parsed.tags
    assert not [value for name, value in parsed.attributes if name in ("src", "srcset") or name.startswith("on")]
    assert all(value and value.startswith("#") for name, value in parsed.attributes if name == "href")
    assert "url(" not in page and "@import" not in page and "prefers-color-scheme: dark" in page
    assert f"{len(rows):,}</b>" in page
    for picture in pictures(page):
        assert picture.get("role") == "img" and picture.get("aria-label")
        assert picture[0].tag.endswith("title") and picture[0].text == picture.get("aria-label")


def test_all_but_the_speed_is_the_same_every_time(made: tuple[Path, list[dict[str, Any]]]) -> None:
    decisions = open_decisions(made[0])
    still = Speed((), ())
    assert render(decisions, collect(decisions), still) == render(decisions, collect(decisions), still)


def test_what_the_web_says_is_escaped(tmp_path: Path) -> None:
    rows = make_rows(random.Random(5), "ja_web", 60)
    for row in rows:
        row |= {"host": EVIL, "charset": EVIL, "flags": EVIL, "detail": EVIL}
        if row["stage"] == "read":
            row["rule"] = "foreign_page"
    root = seal(tmp_path, {"ja_web-00000": rows}, [])
    text = {"file": "<script>x", "item": EVIL, "field": EVIL, "check": "ngrams", "documents": 2, "max_share": 1.0}
    (root / "data" / "contamination.jsonl").write_text(json.dumps(text) + "\n", "utf-8")
    decisions = open_decisions(root, check=False)
    page = render(decisions, collect(decisions), Speed((), ()))
    assert "script" not in Page(page).tags and "<script" not in page and "\x1b" not in page
    assert any("<script>" in text for picture in pictures(page) for text in texts(picture))  # as text, it is there


def test_benchmarks_their_worst_items_and_the_documents_that_hold_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against counts by plain Python over random hits; one benchmark was never met, one item has two texts."""
    monkeypatch.setattr("corpus.report.benchmarks.WORST", 3)
    rng = random.Random(4)
    shards = {f"ja_web-{number:05}": make_rows(rng, "ja_web", 30) for number in range(2)}
    root = seal(tmp_path, shards, [])
    texts = [("a.jsonl", f"q{number}", "question") for number in range(8)] + [("b.jsonl", "only", "text")]
    texts += [("a.jsonl", "q0", "context"), ("a.jsonl", "short", "question")]
    hits = {shard: list[tuple[tuple[str, str, str], str, float]]() for shard in shards}
    for shard, rows in shards.items():
        for row in rng.sample(rows, 20):
            for text in rng.sample([*texts[:6], texts[9]], rng.randint(1, 3)):
                hits[shard].append((text, row["doc_id"], rng.choice([0.6, 0.8, 1.0])))
    (root / "data" / "contamination").mkdir()
    names = ("file", "item", "field")
    for shard, found in hits.items():
        lines = [dict(zip(names, text, strict=True)) | {"doc_id": doc_id, "share": share} for text, doc_id, share in found]
        path = root / "data" / "contamination" / f"{shard}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    every = [hit for found in hits.values() for hit in found]
    of_text = {text: {doc_id: share for one, doc_id, share in every if one == text} for text in texts}
    lines = [
        dict(zip(names, text, strict=True))
        | {"check": "too short" if text[1] == "short" else "ngrams"}
        | {"documents": len(held), "max_share": max(held.values(), default=0.0)}
        for text, held in of_text.items()
    ]
    (root / "data" / "contamination.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    one, other = read_benchmarks(root / "data")
    assert (one.file, one.items, one.hit, one.unsought) == ("a.jsonl", 9, 6, 1)
    assert (other.file, other.items, other.hit, other.documents, other.worst) == ("b.jsonl", 1, 0, 0, [])
    assert one.documents == len({doc_id for _, doc_id, _ in every})
    most = {item: max(len(held) for (_, name, _), held in of_text.items() if name == item) for item in {t[1] for t in texts}}
    assert [row.documents for row in one.worst] == sorted(most.values(), reverse=True)[:3]
    urls = {row["doc_id"]: row["url"] for rows in shards.values() for row in rows}
    for row in one.worst:
        held = of_text["a.jsonl", row.item, row.text]
        clearest = sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
        assert [(found.doc_id, found.share, found.url) for found in row.holdings] == [(i, s, urls[i]) for i, s in clearest]
    page = write_report(root).read_text("utf-8")
    assert "9 項目のうち、6 項目" in page and "1 項目は短すぎる" in page and one.worst[0].holdings[0].doc_id in page
    assert not Page(page).open


def test_an_empty_run_has_a_report(tmp_path: Path) -> None:
    rows = [row for row in make_rows(random.Random(2), "ja_web", 200) if row["stage"] == "read"]
    root = seal(tmp_path, {"ja_web-00000": rows, "ja_web-00001": []}, [])
    parsed = Page(write_report(root).read_text("utf-8"))
    assert not parsed.open


def test_not_sealed_and_the_command(
    made: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingInput, match="no sealed corpus artifact"):
        write_report(tmp_path / "corpus" / "t")
    (tmp_path / "t.toml").write_text("[corpus]\n", "utf-8")
    main(["--run", str(tmp_path / "t.toml"), "--artifacts", str(made[0].parents[1])])
    assert "report.html" in capsys.readouterr().out


def test_phases_add_up_over_resumed_steps(tmp_path: Path) -> None:
    rows = ['{"step": "judge", "timing": {"read": 1.0, "rules": 0.5}, "bytes": 100}', '{"step": "x", "done": 3}', "not json"]
    rows += ['{"step": "judge", "timing": {"read": 1.0}, "bytes": 100}']
    (tmp_path / "events.jsonl").write_text("\n".join(rows), "utf-8")
    found = {(phase.step, phase.name): (phase.seconds, phase.rate) for phase in read_phases(tmp_path / "events.jsonl")}
    assert found == {("judge", "read"): (2.0, 100.0), ("judge", "rules"): (0.5, 400.0)}
    assert measure_speed(tmp_path / "nowhere") == Speed((), ())


def test_frequent_hosts_survive_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.report.data._HOSTS", 50)
    counts, true = HostCounts(), Counter[str]()
    rng = random.Random(0)
    for _ in range(4000):
        host = f"big{rng.randrange(5)}" if rng.random() < 0.7 else f"h{rng.randrange(3000)}"
        counts.add(host, 1, 0)
        true[host] += 1
    assert [(host, kept) for host, kept, _ in counts.top(5)] == true.most_common(5)
    assert all(true[host] <= counts.hidden for host in true.keys() - counts.counts.keys())


def test_sizes_of_clusters_and_their_estimate(made: tuple[Path, list[dict[str, Any]]]) -> None:
    root, rows = made
    true = Counter(count + 1 for count in Counter(row["duplicate_of"] for row in rows if row["duplicate_of"]).values())
    assert cluster_sizes(open_decisions(root)) == (true, 1)
    some, every = cluster_sizes(open_decisions(root), limit=true.total() // 3)
    assert every > 1 and 0 < some.total() <= true.total() // 3


@given(
    low=st.floats(0, 10),
    more=st.floats(0, 1e6),
    threshold=st.none() | st.floats(0, 1e4),
    log=st.booleans(),
    upper=st.booleans(),
)
def test_edges_ascend_and_hold_the_threshold(low: float, more: float, threshold: float | None, log: bool, upper: bool) -> None:
    made = edges(low, low + more, threshold, log=log, upper=upper)
    assert len(made) == 61 and (np.diff(made) >= 0).all() and made[-1] > made[0]


@given(labels=st.lists(st.text(max_size=60), max_size=5), numbers=st.lists(st.floats(0, 1e12), min_size=5, max_size=5))
def test_bars_are_xml_and_stay_inside(labels: list[str], numbers: list[float]) -> None:
    rows = [Bar(label, (value, value / 2), label) for label, value in zip(labels, numbers, strict=False)]
    picture = ET.fromstring(bars("題", rows, ("採用", "除外")))
    _, _, right, bottom = map(float, (picture.get("viewBox") or "").split())
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, wide, high = (float(box.get(name) or 0) for name in ("x", "y", "width", "height"))
        assert x >= 0 and x + wide <= right and y >= 0 and y + high <= bottom


def test_a_histogram_shows_its_threshold_and_colours_what_falls() -> None:
    lines = edges(0.0, 1.0, 0.25, log=False, upper=False, bins=4)
    picture = ET.fromstring(histogram("x", Histogram(lines, (np.array([3, 5, 1, 2]),), ("文書",), False, 0.25, "left")))
    kinds = [box.get("class") for box in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert kinds == ["k1", "k0", "k0", "k0"] and "しきい値 0.25" in texts(picture)


def test_one_tall_bar_does_not_hide_the_others() -> None:
    """Counts 100,000 and 10: on a linear axis the second would be a hundredth of a pixel high."""
    lines = np.linspace(0, 1, 5)
    picture = ET.fromstring(histogram("x", Histogram(lines, (np.array([100_000, 10, 11, 9]),), ("文書",))))
    heights = [float(box.get("height") or 0) for box in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert heights[0] == 150.0 and 20 < heights[1] < 50 and "100k" in texts(picture)


def test_texts_of_a_real_page_do_not_overlap(made: tuple[Path, list[dict[str, Any]]]) -> None:
    decisions = open_decisions(made[0])
    for picture in pictures(render(decisions, collect(decisions), Speed((), ()))):
        _, _, right, bottom = map(float, (picture.get("viewBox") or "").split())
        boxes = []
        for node in picture.iter("{http://www.w3.org/2000/svg}text"):
            wide = width(node.text or "")
            left = float(node.get("x") or 0) - {"end": wide, "middle": wide / 2}.get(node.get("text-anchor") or "", 0)
            y = float(node.get("y") or 0)
            boxes.append((left, y - 10, left + wide, y + 2))
        for place, one in enumerate(boxes):
            assert one[0] >= -1 and one[1] >= 0 and one[2] <= right + 1 and one[3] <= bottom
            for other in boxes[place + 1 :]:
                assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]


@given(text=st.text(max_size=100), room=st.floats(15, 300))
def test_labels_fit(text: str, room: float) -> None:
    assert width(shorten(text, room)) <= room + 1e-9
