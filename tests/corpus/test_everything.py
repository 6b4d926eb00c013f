"""Everything switched on: two sources with their own presets, hostile records, boilerplate, copies, benchmarks, masks.

What was planted is known record by record, so every count, line and cut is held against the plan and not against the stage.
"""

import gzip
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.audit.explain import explain, render
from corpus.storage.decisions import open_decisions
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import document_files, read_documents
from pipeline.runfile import load_run
from tests.corpus.helpers.pages import ENGLISH, html, warc_record
from tests.corpus.test_decontaminate import QUESTIONS, write_jsonl
from tests.corpus.test_stage import make
from tests.pipeline.text.test_fold import fold_by_string_functions

NGRAM, MIN_SHARE = 13, 0.6
KANA = [chr(point) for point in range(0x3042, 0x3094)]
# Kanji of Unicode's first rows: many different ones, or the preset llmjp-v1 takes the text for a repetition.
KANJI = [chr(point) for point in range(0x4E00, 0x4E00 + 400)]
MAIL, PHONE, MOBILE = "hanako@example.co.jp", "03-3456-7890", "０９０－８７６５－４３２１"
MASKS = {MAIL: "〈メールアドレス〉", PHONE: "〈電話〉", MOBILE: "〈電話〉"}
# On every page of a host: one holds an item of the benchmark, one personal data; neither may count once they are cut.
REPEATED = (
    f"今週の問い、{QUESTIONS[3]}",
    "本文へ　前の頁へ　次の頁へ",
    "お問い合わせは電話03-9876-5432または宛先desk@example.jpまで、平日の朝から夕方までお気軽にどうぞ、土曜と日曜と祝日はお休みをいただいております。",
    "無断での転載を固くお断りいたします。",
)
RUNS_ON = "この頁に載せた文章と図版は、書いた人と描いた人の許しを得て掲げたものであり、"  # goes on in the next line


@dataclass(frozen=True)
class Page:
    """One record and what is to become of it."""

    url: str
    lines: tuple[str, ...]
    rule: str | None = None  # what must drop it; "copy": one of its family must stay, and the others fall as copies
    stays: tuple[str, ...] = ()  # lines of REPEATED that must stay

    @property
    def published(self) -> list[str]:
        """The lines that a kept document must have: what the host does not repeat, personal data masked."""
        lines = [line for line in self.lines if line not in REPEATED or line in self.stays]
        for data, placeholder in MASKS.items():
            lines = [line.replace(data, placeholder) for line in lines]
        return lines

    @property
    def personal(self) -> Counter[str]:
        """Personal data outside of what the host repeats, by kind."""
        text = "\n".join(line for line in self.lines if line not in REPEATED)
        return Counter(email=text.count(MAIL), phone=text.count(PHONE) + text.count(MOBILE))


@dataclass
class Plan:
    """All records of a source: pages, and those without a text, by reason."""

    pages: list[Page] = field(default_factory=list)
    hostile: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        return len(self.pages) + self.hostile.total()

    @property
    def dropped(self) -> Counter[str]:
        """How many must fall, by reason; all but one of the copies."""
        rules = Counter(page.rule for page in self.pages if page.rule)
        copies = rules.pop("copy")
        return self.hostile + Counter({rule: count for rule, count in rules.items() if rule}) + Counter(exact=copies - 1)


def prose(rng: random.Random, sentences: int = 8) -> tuple[str, ...]:
    """Lines of one sentence each, of letters by chance: no two alike, and none with a word of any list."""
    return tuple("".join(rng.choice(rng.choice((KANA, KANA, KANJI))) for _ in range(30)) + "。" for _ in range(sentences))


def pages_of(rng: random.Random, host: str, empty: str) -> list[Page]:
    """Pages of a host that repeats itself, and three of one that has too few pages for that.

    Args:
        empty: what drops the page that has nothing of its own.
    """

    def page(name: str, *lines: str, rule: str | None = None, stays: tuple[str, ...] = ()) -> Page:
        return Page(f"https://{host}/{name}", (*REPEATED[:2], *lines, *REPEATED[2:]), rule, stays)

    pages = [page(str(number), *prose(rng)) for number in range(12)]
    copied = prose(rng)
    pages += [page(f"copy{number}", *copied, rule="copy") for number in range(2)]
    pages.append(page("mail", *prose(rng), f"返事は{MAIL}へ。電話なら{PHONE}か{MOBILE}です。"))
    pages.append(page("whole", *prose(rng), f"ところで、{QUESTIONS[0]}", *prose(rng), rule="benchmark"))
    other = QUESTIONS[1].replace("サーバー", "ｻｰﾊﾞｰ").replace("、", " ")
    pages.append(page("folded", *prose(rng), other, f"答えは{MAIL}へ。", rule="benchmark"))
    pages.append(page("part", *prose(rng), QUESTIONS[2][:20] + "。"))
    pages.append(page("empty", rule=empty))
    lines = (*prose(rng), RUNS_ON, REPEATED[3])
    pages.append(Page(f"https://{host}/runs-on", (*REPEATED[:3], *lines), stays=(REPEATED[3],)))
    few = REPEATED[1]
    pages += [Page(f"https://few.{host}/{n}", (few, *prose(rng)), stays=(few,)) for n in range(3)]
    return pages


def write_web(folder: Path, rng: random.Random) -> Plan:
    """Three WARC files; records that are no answer, no HTML, no Japanese, no text, no charset, no gzip, cut off."""
    plan, folder = Plan(pages_of(rng, "www.example.jp", "boilerplate")), folder / "web"
    folder.mkdir()
    records = [warc_record(page.url, html_of(page.lines)) for page in plan.pages]
    answers = [gzip.decompress(warc_record(f"https://x.example.jp/{n}", html_of(prose(rng)))) for n in range(2)]
    good = warc_record("https://x.example.jp/good", html_of(prose(rng)))
    bad = {
        "foreign_page": warc_record("https://x.example.jp/en", html([ENGLISH] * 8, lang="en", title="Rights")),
        "no_text": warc_record("https://x.example.jp/none", b"<html><body><script>x()</script></body></html>"),
        "undecodable": warc_record("https://x.example.jp/noise", b"\xff\xfe\x00\xd8\x00\xd8" + rng.randbytes(600)),
        "http_status": gzip.compress(answers[0].replace(b"1.1 200 OK", b"1.1 404 NG", 1), mtime=0),
        "content_type": gzip.compress(answers[1].replace(b"text/html", b"image/png", 1), mtime=0),
        "damaged_record": good[:40] + bytes(byte ^ 0x5A for byte in good[40:-40]) + good[-40:],
    }
    plan.hostile.update(bad.keys())
    records += bad.values()
    rng.shuffle(records)
    for number in range(3):
        (folder / f"{number}.warc.gz").write_bytes(b"".join(records[number::3]))
    with (folder / "2.warc.gz").open("ab") as file:
        file.write(good[: len(good) // 2])
    plan.hostile["truncated_record"] += 1
    return plan


def html_of(lines: tuple[str, ...]) -> bytes:
    """A page of one paragraph a line; a sentence that runs on does so within its paragraph."""
    body = "".join(f"<p>{line}</p>\n" for line in lines).replace(f"{RUNS_ON}</p>\n<p>", f"{RUNS_ON}<br>")
    return f'<!DOCTYPE html><html lang="ja"><head><meta charset="utf-8"></head><body><main>{body}</main></body></html>'.encode()


def write_rows(folder: Path, rng: random.Random) -> Plan:
    """A JSONL file; lines that are not JSON, no object, no UTF-8, nested beyond every stack, without a text."""
    plan = Plan(pages_of(rng, "b.example.jp", "compression_max"))
    plan.pages.append(Page("https://ja.wikipedia.org/wiki/x", prose(rng), "denied_host"))
    plan.pages.append(Page("https://b.example.museum/", prose(rng), "domain"))
    rows = [json.dumps({"url": page.url, "text": "\n".join(page.lines)}, ensure_ascii=False).encode() for page in plan.pages]
    bad = [
        (b"{broken", "damaged_record"),
        (b'["list"]', "damaged_record"),
        (b"[" * 100_000, "damaged_record"),
        (b'{"text": "\xff\xfe"}', "undecodable"),
        (b'{"text": " \\u3000"}', "no_text"),
        (b'{"title": "x"}', "no_text"),
    ]
    plan.hostile.update(reason for _, reason in bad)
    rows += [row for row, _ in bad]
    rng.shuffle(rows)
    (folder / "rows.jsonl").write_bytes(b"\n".join(rows))
    return plan


@dataclass(frozen=True)
class Made:
    """A finished run and what was planned."""

    run: Path
    artifacts: Path
    plans: dict[str, Plan]
    manifest: Manifest

    def rows(self, source: str) -> list[dict[str, Any]]:
        files = sorted((self.manifest.data / "decisions").glob(f"{source}-*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def texts(self) -> dict[str, str]:
        """Kept texts by url."""
        return {row["url"]: row["text"] for file in document_files(self.manifest) for row in read_documents(file)}

    def kept_pages(self) -> dict[str, Page]:
        """The pages that were to stay, by url; of copies those that did."""
        kept = self.texts()
        pages = [page for plan in self.plans.values() for page in plan.pages]
        return {p.url: p for p in pages if p.rule is None or (p.rule == "copy" and p.url in kept)}


RUN = """
[corpus]
max_failed_share = 0.5
[corpus.decontaminate]
files = ["{benchmark}"]
[corpus.mask]
kinds = ["email", "phone"]
[corpus.boilerplate]
enabled = true
[[corpus.sources]]
name = "ja_web"
reader = "warc"
path = "{web}"
licence = "CC0-1.0"
attribution = "made by the test"
[[corpus.sources]]
name = "ja_rows"
reader = "jsonl"
path = "{rows}"
preset = "llmjp-v1"
shard_bytes = 40_000
licence = "CC0-1.0"
attribution = "made by the test"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Made:
    folder, rng = tmp_path_factory.mktemp("everything"), random.Random(3)
    plans = {"ja_web": write_web(folder, rng), "ja_rows": write_rows(folder, rng)}
    benchmark = write_jsonl(folder / "questions.jsonl", *QUESTIONS)
    text = RUN.format(benchmark=benchmark.as_posix(), web=folder / "web", rows=folder / "rows.jsonl")
    (folder / "t.toml").write_text(text, "utf-8")
    root = make(folder / "t.toml", folder / "two", "--set", "ray.workers=2")
    return Made(folder / "t.toml", folder / "two", plans, open_sealed(root))


def test_in_is_kept_and_dropped_by_reason(made: Made) -> None:
    kept = Counter(file.stem.rpartition("-")[0] for file in document_files(made.manifest) for _ in read_documents(file))
    for source, plan in made.plans.items():
        rows, account = made.rows(source), made.manifest.stats["sources"][source]
        fates = Counter(row["rule"] for row in rows if row["rule"])
        assert {row["url"]: row["rule"] for row in rows if row["rule"] and row["rule"] not in plan.hostile} == {
            page.url: page.rule.replace("copy", "exact")
            for page in plan.pages
            if page.rule and not (page.rule == "copy" and page.url in made.texts())
        }
        assert fates == plan.dropped == Counter(account["dropped"])
        assert len(rows) == len({row["doc_id"] for row in rows}) == plan.records == account["in"]
        assert kept[source] == account["kept"] == plan.records - plan.dropped.total()


def test_kept_lines_are_lines_of_the_page(made: Made) -> None:
    texts, pages = made.texts(), made.kept_pages()
    assert texts.keys() == pages.keys()
    for url, page in pages.items():
        assert [line for line in texts[url].split("\n") if line.strip()] == page.published, url


def test_no_personal_data_is_left_and_its_counts_are_right(made: Made) -> None:
    whole = "\n".join(made.texts().values())
    assert not [data for data in (*MASKS, "03-9876-5432", "desk@example.jp") if data in whole]
    pages = made.kept_pages()
    for source, plan in made.plans.items():
        planted = {page.url: page.personal for page in plan.pages if page.url in pages}
        assert sum(planted.values(), Counter()) == Counter(email=1, phone=2)
        assert made.manifest.stats["sources"][source]["masked"] == {"email": 1, "phone": 2}
        masked = {row["url"]: row["masked"] for row in made.rows(source) if row["verdict"] == "kept"}
        assert masked == {url: counts.total() for url, counts in planted.items()}


def grams(text: str) -> set[str]:
    folded = fold_by_string_functions(text)
    return {folded[at : at + NGRAM] for at in range(len(folded) - NGRAM + 1)}


def test_no_kept_text_holds_an_item(made: Made) -> None:
    """By sets of strings: nothing of any item, but for the pages that were given less than the share."""
    parts = 0
    for url, text in made.texts().items():
        shares = [len(grams(question) & grams(text)) / len(grams(question)) for question in QUESTIONS]
        if url.endswith("/part"):
            assert 0 < shares[2] < MIN_SHARE and not any(shares[:2] + shares[3:])
            parts += 1
        else:
            assert not any(shares), url
    assert parts == len(made.plans)
    files = sorted((made.manifest.data / "contamination").glob("*.jsonl"))
    found = Counter(json.loads(line)["item"] for file in files for line in file.read_text("utf-8").splitlines())
    assert found == {"q0": len(made.plans), "q1": len(made.plans)}


def test_explain_says_what_was_masked_and_what_was_found(made: Made) -> None:
    run, decisions = load_run(str(made.run), artifacts=str(made.artifacts)), open_decisions(made.manifest.root)
    for host, preset in (("www.example.jp", "minamoto"), ("b.example.jp", "llmjp-v1")):
        life = explain(run, decisions, f"https://{host}/mail")
        found = {(span.detail, life.text[span.begin : span.end]) for span in life.spans if span.kind == "personal"}
        assert {("email", MAIL), ("phone", PHONE), ("phone", MOBILE)} <= found
        assert life.preset == preset and life.row["masked"] == 3 and "伏せた個人情報: 3" in render(life, colour=False)
        life = explain(run, decisions, f"https://{host}/whole")
        found = {(span.detail, life.text[span.begin : span.end]) for span in life.spans if span.kind == "benchmark"}
        # the marks at its ends are no part of a folded text
        assert ("questions.jsonl#q0", QUESTIONS[0].rstrip("。")) in found
        assert "段階: 評価データの除去" in (shown := render(life, colour=False)) and "(questions.jsonl#q0)" in shown


def test_one_worker_makes_the_same(made: Made, tmp_path: Path) -> None:
    again = open_sealed(make(made.run, tmp_path, "--set", "ray.workers=1"))
    assert again.digest == made.manifest.digest
