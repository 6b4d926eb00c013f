"""`python -m benchmarks.corpus.labels --data …`: the whole stage on a crawl whose pages are labelled, against the labels.

The labels say of every page its edition's language and whether it is an original or a copy of which page. The truth about
charsets is the only codec that decodes a page strictly. A page of the Japanese edition that nobody has translated is
English text under a Japanese label: figures are given with and without those, told apart by their lines, not by our rules.
"""

import argparse
import json
import re
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from corpus.extract.charset import decode
from corpus.extract.document import Extracted, extract
from corpus.extract.html_page import Unparsable, main_text
from corpus.extract.language_gate import is_foreign
from corpus.filters.rules import load_preset
from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

Out = Callable[[str], None]
RUN = """
[corpus]
{settings}
[[corpus.sources]]
name = "ja_cc"
reader = "warc"
path = "{path}"
licence = "various"
attribution = "development data"
"""
# A text of which less than this share is in lines with kana is not translated.
TRANSLATED = 0.2
EXAMPLES = 8


@dataclass(frozen=True)
class RawPage:
    """A page of the crawl and its label."""

    label: dict[str, Any]
    document: RawDocument


class Page:
    """A labelled page, what the stage decided, and what the page says."""

    def __init__(self, label: dict[str, Any], document: RawDocument, row: dict[str, Any]) -> None:
        self.label, self.document, self.row = label, document, row
        self.kind, _, self.original = label["kind"].partition(" of ")
        # "near.legacy.help.example.org/x" and "help.example.org/x" are one page in several forms
        self.family = re.sub(r"^https://(?:(?:mirror|near|legacy)\.)+", "https://", label["url"])

    @property
    def is_japanese(self) -> bool:
        """Whether the stage took the page for Japanese: neither the gate nor a rule of languages dropped it."""
        return self.row["stage"] != "language" and self.row["rule"] != "foreign_page"

    def text(self) -> str:
        """The page's text, whatever its language; "" where it has none."""
        found = extract(self.document, "any")
        return found.text if isinstance(found, Extracted) else ""


def run(data: Path, out: Out) -> None:
    """Run the stage and print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        rows, similarity = stage(data, Path(folder), "")
        out(f"stage: {len(rows)} records in {time.monotonic() - began:.0f} s")
        pages = labelled(data, rows)
    charsets(pages, out)
    gate(pages, out)
    languages(pages, out)
    copies(pages, similarity, out)
    with tempfile.TemporaryDirectory() as folder:
        off = "[corpus.rules]\n" + "".join(f"{rule.name} = false\n" for rule in load_preset("minamoto").rules)
        rows, similarity = stage(data, Path(folder), off)
        out("with every rule off, so that all copies meet:")
        copies(labelled(data, rows), similarity, out)


def stage(data: Path, folder: Path, settings: str) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Decisions of the crawl in the order of its records, and how like its kept representative each copy is."""
    import pyarrow.parquet as pq

    from corpus.__main__ import main

    (folder / "labels.toml").write_text(RUN.format(settings=settings, path=(data / "web-ja.warc.gz").absolute()), "utf-8")
    main(["--run", str(folder / "labels.toml"), "--artifacts", str(folder)])
    made = folder / "corpus" / "labels" / "data"
    rows = [row for file in sorted((made / "decisions").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    found = [row for file in sorted((made / "clusters").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    return rows, {row["doc_id"]: row["similarity"] for row in found}


def labelled(data: Path, rows: list[dict[str, Any]]) -> list[Page]:
    """Every labelled page; pages of one url come in the same order in labels and crawl, and doc_ids name decisions."""
    decided = {row["doc_id"]: row for row in rows}
    return [Page(page.label, page.document, decided[page.document.doc_id]) for page in raw_pages(data)]


def raw_pages(data: Path) -> list[RawPage]:
    """Every labelled page as it came in."""
    labels: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    for line in (data / "web-ja.labels.jsonl").read_text("utf-8").splitlines():
        label = json.loads(line)
        labels[label["url"]].append(label)
    source = SourceSettings("ja_cc", "warc", "", "", path=str(data / "web-ja.warc.gz"))
    documents = [page for shard in plan_shards(source) for page in read_shard(shard) if isinstance(page, RawDocument)]
    pages = [RawPage(labels[document.url].popleft(), document) for document in documents if labels[document.url]]
    assert not any(labels.values()), "labels without a page"
    return pages


def charsets(pages: list[Page], out: Out) -> None:
    """Right with the declarations as they are, and with none."""
    right = Counter[str]()
    for page in pages:
        raw, truth = page.document.raw, true_charset(page.document.raw)
        bare = raw.replace(b"charset", b"xxxxxxx")
        for name, found in (("declared", decode(raw, page.document.declared)), ("bare", decode(bare))):
            right[name] += found is not None and found.charset == truth
        wrong = page.row["charset"] not in (None, truth)
        assert not wrong or decode(raw, page.document.declared), page.label["url"]
    for name, how in (("declared", "declarations as they are"), ("bare", "all declarations taken out")):
        out(f"charset, {how}: {right[name]} of {len(pages)} right ({right[name] / len(pages):.2%}, must be 99 %)")


def true_charset(raw: bytes) -> str:
    """The charset whose bytes these can only be."""
    if b"\x1b$B" in raw:
        return "iso2022_jp"
    for charset in ("utf-8", "cp932", "euc_jp"):
        try:
            raw.decode(charset)
        except UnicodeDecodeError:
            continue
        return charset
    return ""


def gate(pages: list[Page], out: Out) -> None:
    """What the gate catches, what that saves."""
    htmls = [found.text for page in pages if (found := decode(page.document.raw, page.document.declared))]
    size = sum(len(html.encode()) for html in htmls) / 1e6
    is_foreign("<p>あ")
    began = time.perf_counter()
    for html in htmls:
        is_foreign(html)
    gated = time.perf_counter() - began
    began, some = time.perf_counter(), htmls[::8]
    for html in some:
        try:
            main_text(html)
        except Unparsable as error:
            out(f"unparsable: {error}")
    parsed = time.perf_counter() - began
    caught = Counter((page.label["lang"] == "ja", page.row["rule"] == "foreign_page") for page in pages)
    other = caught[False, True] + caught[False, False]
    rate = sum(len(html.encode()) for html in some) / 1e6 / parsed
    out(f"gate: {caught[False, True]} of {other} foreign pages; {size / gated:.0f} MB/s, parsing {rate:.1f} MB/s")
    lost = [page for page in pages if page.row["rule"] == "foreign_page" and page.label["lang"] == "ja"]
    most = max((kana(page.text()) for page in lost), default=0)
    out(f"gate: {len(lost)} pages labelled ja; most kana in the text of one: {most}")


def kana(text: str) -> int:
    """Kana of a text."""
    return len(re.findall("[ぁ-ゖァ-ヺー]", text))


def is_translated(text: str) -> bool:
    """Whether the text's lines hold kana."""
    lines = text.split("\n")
    return sum(len(line) for line in lines if kana(line)) >= TRANSLATED * max(sum(map(len, lines)), 1)


def languages(pages: list[Page], out: Out) -> None:
    """Japanese or not, by gate and language rules: against all labels, and against those whose page is in its language."""
    wrong = [page for page in pages if page.is_japanese != (page.label["lang"] == "ja")]
    english = [page for page in wrong if page.label["lang"] == "ja" and not is_translated(page.text())]
    right, counted = len(pages) - len(wrong), len(pages) - len(english)
    out(f"Japanese or other, all labels: {right} of {len(pages)} ({right / len(pages):.2%})")
    share = right / counted
    out(f"Japanese or other, without {len(english)} untranslated pages: {right} of {counted} ({share:.2%}, must be 99 %)")
    for page in english[:: max(len(english) // EXAMPLES, 1)][:EXAMPLES]:
        text = page.text()
        out(f"  labelled ja, {kana(text)} kana in {len(text)} characters: {text[:70]!r}")
    for page in wrong:
        if page not in english:
            out(f"  wrong: {page.label['url']} {page.label['lang']} {page.row['rule']}: {page.text()[:70]!r}")


def copies(pages: list[Page], similarity: dict[str, float], out: Out) -> None:
    """Copies that went or whose original went for them, and for whom originals fell."""
    by_id = {page.row["doc_id"]: page for page in pages}
    of_url: dict[str, list[Page]] = defaultdict(list)
    for page in pages:
        of_url[page.label["url"]].append(page)
    for kind, must in (("exact copy", 1.0), ("near copy", 0.95)):
        found, missed = 0, []
        for page in pages:
            # which of several pages under one url it copies is not said: any; what rules dropped meets nothing
            originals = [end for end in of_url[page.original] if end.row["stage"] in (None, "dedup")]
            if page.kind != kind or page.row["stage"] not in (None, "dedup") or not originals:
                continue
            went = stays(page, by_id) in [stays(end, by_id) for end in originals]
            found += went
            missed += [] if went else [page]
        share = found / max(found + len(missed), 1)
        out(f"{kind}: {found} of {found + len(missed)} removed ({share:.1%}, must be {must:.0%})")
        for page in missed:
            alike = jaccard(page.text(), of_url[page.original][0].text())
            out(f"  missed: {page.label['url']}, Jaccard {alike:.3f} of its original")
    fell = [page for page in pages if page.kind == "original" and page.row["stage"] == "dedup"]
    lost = [page for page in fell if by_id[page.row["duplicate_of"]].family != page.family]
    to_copies = [page for page in lost if by_id[page.row["duplicate_of"]].kind not in ("original", "legacy encoding")]
    reasons = dict(Counter(page.row["rule"] for page in lost))
    out(f"originals that fell: {len(fell)}, {len(fell) - len(lost)} of them for a form of the same page")
    out(f"originals that fell for another page: {len(lost)} {reasons}, {len(to_copies)} of them for a copy of it; least alike:")
    for page in sorted(lost, key=lambda page: similarity.get(page.row["doc_id"], 0.0))[:EXAMPLES]:
        survivor = by_id[page.row["duplicate_of"]]
        alike = similarity.get(page.row["doc_id"], 0.0)
        out(f"  {page.row['rule']} {alike:.3f} {page.label['url']} for {survivor.label['url']} ({survivor.kind})")


def stays(page: Page, by_id: dict[str, Page]) -> str:
    """The doc_id of the page that stays for this one, which may be itself."""
    while page.row["duplicate_of"]:
        page = by_id[page.row["duplicate_of"]]
    return page.row["doc_id"]


def jaccard(one: str, other: str) -> float:
    """Similarity of the sets of 5-character shingles, in plain Python."""
    sets = [{text[i : i + 5] for i in range(max(len(text) - 4, 1))} for text in ("".join(one.split()), "".join(other.split()))]
    return len(sets[0] & sets[1]) / max(len(sets[0] | sets[1]), 1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    chosen = arguments.parse_args()
    print(describe("resiliparse", "trafilatura", "ray"))
    run(chosen.data, print)


if __name__ == "__main__":
    main()
