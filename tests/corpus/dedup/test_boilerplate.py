"""What a host repeats is cut: against brute force over all pages, whole lines only, for any number of shards and ranges."""

import itertools
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import boilerplate, signatures
from corpus.dedup.boilerplate import cut, remove_boilerplate
from corpus.dedup.settings import BoilerplateSettings, DedupSettings
from corpus.storage.judged import Judged, Kept, KeptWriter
from pipeline.artifact import begin_artifact
from tests.helpers import run_file

DEDUP = DedupSettings()
SETTINGS = BoilerplateSettings(enabled=True, min_pages=4, min_share=0.4, min_characters=2)
SCHEMA = pa.schema([(name, pa.string()) for name in ("doc_id", "source", "url", "host", "stage", "rule", "detail")])
Page = tuple[str, str, str]  # host, text, rule that dropped it before or ""

LINES = [
    "",
    "",
    "表紙",
    "次へ",
    "• 目次",
    "これは本文です。",
    "この文はここでは終わらずに次の行まで続いていて、",
    "もうすぐ終わります。",
]
LINES += [
    "著作権は発行者にあります。",
    "a | b",
    "夜が明け、",
    "😀",
    "無断での転載を禁じます。また、この頁の内容の全部または一部を",
]
texts = st.lists(st.sampled_from(LINES), min_size=1, max_size=14).map(lambda lines: "\n".join(lines).strip("\n"))


@given(texts, st.data())
@settings(max_examples=500, deadline=None)
def test_a_cut_takes_whole_lines_and_is_idempotent(text: str, data: st.DataObject) -> None:
    common = data.draw(st.sets(st.sampled_from(LINES)))
    lines = text.split("\n")
    got, removed = cut(text, [line in common for line in lines])
    left = Counter(line for line in got.split("\n") if line)
    rest = iter(lines)
    assert all(line in rest for line in got.split("\n") if line), "lines in order"
    assert removed == sum(map(len, lines)) - sum(map(len, got.split("\n")))
    assert not (Counter(line for line in lines if line and line not in common) - left), "what is not common stays"
    assert cut(got, [line in common for line in got.split("\n")]) == (got, 0)
    assert got == text or (("\n\n\n" not in got or "\n\n\n" in text) and got == got.strip("\n"))
    got.encode()


@given(texts, st.data())
@settings(max_examples=500, deadline=None)
def test_no_sentence_is_joined_or_torn(text: str, data: st.DataObject) -> None:
    """Two lines side by side after a cut were so before, or the first cannot run on; a line that runs on keeps its next."""
    common = data.draw(st.sets(st.sampled_from(LINES)))
    lines = text.split("\n")
    got, removed = cut(text, [line in common for line in lines])
    if not removed:
        assert got == text
        return
    before = set(itertools.pairwise(lines))
    after = list(itertools.pairwise(got.split("\n")))
    wrapped = re.compile(r".{20,}[^。]$|.*、$")
    for one, other in after:
        if one and other and wrapped.match(one) and not other.startswith("• "):
            assert (one, other) in before
    for one, other in itertools.pairwise(lines):
        if one and other and wrapped.match(one) and not other.startswith("• ") and one != "a | b":
            assert (one in got.split("\n")) == (other in got.split("\n")) or lines.count(one) > 1 or lines.count(other) > 1


def test_examples() -> None:
    page = "表紙\n検索\n\n本文の一行目です。\n\n著作権は発行者にあります。"
    assert cut(page, [True, True, False, False, False, True]) == ("本文の一行目です。", 17)
    assert cut("表紙\n検索", [True, True]) == ("", 4)
    wrapped = "無断での転載を禁じます。また、この頁の内容の全部または一部を\n許可なく使うことはできません。"
    assert cut(wrapped, [True, False]) == (wrapped, 0)
    assert cut(wrapped, [True, True]) == ("", len(wrapped) - 1)
    apart = "この文はここでは終わらずに次の行まで続いていて、\n• 広告\nもうすぐ終わります。"
    assert cut(apart, [False, True, False])[0] == "この文はここでは終わらずに次の行まで続いていて、\n\nもうすぐ終わります。"
    copied = "\n".join(f"{i}番目の文です。" for i in range(6))
    assert cut(copied, [True] * 6) == (copied, 0)


def test_program_text_and_headings_are_never_cut() -> None:
    code = "\\relative { c d e f }\nfor (i = 0; i < n; i++)\n----------------"
    text = f"{code}\n附則\nCopyright by the authors\nホーム > 製品 > 一覧表"
    keys = boilerplate.line_keys(text, "a.example", BoilerplateSettings())
    assert [key > 0 for key in keys] == [False, False, False, False, True, True]
    assert keys[5] != boilerplate.line_keys(text, "b.example", BoilerplateSettings())[5]
    assert keys[5] == boilerplate.line_keys("ホーム　>　製品 >一覧表 ", "a.example", BoilerplateSettings())[0]


@pytest.mark.parametrize("wrong", [{"min_pages": 1}, {"min_share": 0.0}, {"min_share": 1.1}, {"min_characters": 0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        BoilerplateSettings(**wrong)  # pyright: ignore[reportArgumentType] -- min_pages is a float here for shortness


def pages(rng: random.Random, count: int) -> list[Page]:
    """Hosts of different sizes with menus and notices of different shares; some pages are nothing but menu."""
    made = []
    for number in range(count):
        host = rng.choice(["a.example", "a.example", "b.example", "tiny.example", ""])
        menu = (
            ["表紙", f"{host}の案内"]
            + (["新着の記事"] if rng.random() < 0.5 else [])
            + (["稀な行"] if rng.random() < 0.1 else [])
        )
        body = [f"{number}番の文は{rng.randrange(10**6)}です。" for _ in range(rng.randint(0, 3))]
        text = "\n".join([*menu, "", *body, "", "転載を禁じます。"]).replace("\n\n\n", "\n\n").strip("\n")
        made.append((host, text, "length" if rng.random() < 0.2 else ""))
    return made


def expected(made: list[Page], limits: BoilerplateSettings) -> list[str]:
    """Brute force: count pages of every line of every host, then cut."""
    kept = [(host, text) for host, text, rule in made if not rule]
    hosts = Counter(host for host, _ in kept)
    on = Counter((host, line) for host, text in kept for line in {"".join(line.split()) for line in text.split("\n")} if line)
    common = {key for key, n in on.items() if key[0] and n >= limits.min_pages and n >= limits.min_share * hosts[key[0]]}
    return [
        cut(text, [(host, "".join(line.split())) in common and len("".join(line.split())) > 1 for line in text.split("\n")])[0]
        for host, text in kept
    ]


@pytest.mark.parametrize(("shards", "at_once"), [(1, 10**6), (4, 10**6), (4, 40)])
def test_the_steps_do_what_brute_force_does(
    shards: int, at_once: int, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boilerplate, "LINES_IN_MEMORY", at_once)  # ranges are planned here, in the process that starts tasks
    made = pages(random.Random(5), 160)
    run = run_file(tmp_path, "", name="r")
    with begin_artifact(run, "corpus", DEDUP, {}, recipe=1) as artifact:
        judged = Judged(artifact.work / "judged", tuple(f"s-{index:05}" for index in range(shards)))
        parts = [made[index::shards] for index in range(shards)]
        for name, part in zip(judged.names, parts, strict=True):
            write(judged.root / name, part)
        after = remove_boilerplate(artifact, judged, SETTINGS, DEDUP)
        assert remove_boilerplate(artifact, judged, BoilerplateSettings(), DEDUP) is judged
        if at_once == 40:
            assert len(list((artifact.work / "boilerplate" / "frequent").glob("*.npy"))) > 2
        wanted = dict(zip((text for _, text, rule in made if not rule), expected(made, SETTINGS), strict=True))
        emptied = 0
        for index, part in enumerate(parts):
            kept = after.shard(index)
            rows = pq.read_table(after.root / judged.names[index] / "rows.parquet").to_pylist()
            assert [row["url"] for row in rows] == [f"https://{i}" for i in range(len(part))]
            alive = kept_rows(kept)
            for place, ((host, text, rule), row) in enumerate(zip(part, rows, strict=True)):
                if rule:
                    assert row["rule"] == rule and place not in alive
                elif wanted[text]:
                    assert kept.text(alive.index(place)) == wanted[text]
                    assert row["rule"] is None and (row["detail"] is None) == (wanted[text] == text)
                else:
                    assert (row["stage"], row["rule"]) == ("boilerplate", "boilerplate") and place not in alive and host
                    emptied += 1
            found = [kept.text(ordinal) for ordinal in range(len(alive))]
            keys = signatures.compute_keys([("s", f"https://{place}") for place in alive], found, DEDUP)
            assert np.array_equal(np.sort(keys, axis=1), kept.keys)
            assert np.array_equal(np.take_along_axis(keys, kept.owners.astype(np.int64), axis=1), kept.keys)
        assert emptied > 3
        assert any("新着の記事" in text for text in wanted) and any("稀な行" in text for text in wanted.values())


def kept_rows(kept: Kept) -> list[int]:
    return np.load(kept.folder / "kept.npy").tolist()


def write(folder: Path, part: list[Page]) -> None:
    """A judged shard by hand."""
    folder.mkdir(parents=True)
    rows = [
        {"doc_id": f"{i:032x}", "source": "s", "url": f"https://{i}", "host": host, "stage": "quality" if rule else None,
         "rule": rule or None, "detail": None}
        for i, (host, _, rule) in enumerate(part)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "rows.parquet")
    places = [place for place, (_, _, rule) in enumerate(part) if not rule]
    found = [part[place][1] for place in places]
    keys = signatures.compute_keys([("s", f"https://{place}") for place in places], found, DEDUP)
    writer = KeptWriter(folder, len(keys))
    writer.add(places, found, [f"{place:032x}" for place in places], keys)
    writer.close()
