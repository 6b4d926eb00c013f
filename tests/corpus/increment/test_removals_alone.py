"""A run without sources that only lets go: the base without a host, all else the same bytes, and what follows from it."""

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
from corpus.audit.explain import explain, render
from corpus.audit.holders import holders
from corpus.audit.retune import retune
from corpus.fetch.packages import write_notice
from corpus.increment.removals import read_selection
from corpus.report.page import write_report
from corpus.storage.decisions import open_decisions
from pipeline.artifact import Manifest, begin_artifact, open_sealed
from pipeline.errors import BadInput, ConfigError
from pipeline.runfile import load_run
from tests.corpus.helpers.pages import html, prose, warc_record
from tests.corpus.increment.test_stage import documents
from tests.corpus.test_stage import SOURCE, decisions
from tests.helpers import run_file

QUESTION = "日本で梅雨がないのは北海道とどこの諸島であるか。"
GONE, STAYS = "gone.example.jp", "stays.example.jp"
PACKAGED = """
[[corpus.sources]]
name = "ja_manual"
reader = "html"
fetched = ["debian/*/doc/*.html"]
licence = "see NOTICE"
attribution = "Debian"
"""


def sentences(seed: int) -> list[str]:
    return prose(random.Random(seed), 30)


def fetch(folder: Path, name: str, **packages: str) -> None:
    """A sealed fetch artifact of run `name`: package -> its copyright text."""
    with begin_artifact(run_file(folder, "", name=name), "fetch", {}, {}, recipe=1) as artifact:
        for number, (package, copyright_text) in enumerate(packages.items()):
            (artifact.data / "debian" / package / "doc").mkdir(parents=True)
            (artifact.data / "debian" / package / "doc" / "a.html").write_bytes(html(sentences(900 + len(package) + number)))
            (artifact.data / "debian" / package / "copyright").write_text(copyright_text, "utf-8")
        write_notice(artifact.data)
        artifact.seal({}, licences=[{"source": f"debian/{p}", "licence": "GPL", "attribution": p} for p in packages])


def make(folder: Path, name: str, text: str) -> Manifest:
    (folder / f"{name}.toml").write_text(text, "utf-8")
    main(["--run", str(folder / f"{name}.toml"), "--artifacts", str(folder / "artifacts")])
    return open_sealed(folder / "artifacts" / "corpus" / name)


def benchmark(folder: Path, *questions: str, name: str = "quiz") -> str:
    rows = [json.dumps({"id": f"q{number}", "question": text}) + "\n" for number, text in enumerate(questions)]
    (folder / f"{name}.jsonl").write_text("".join(rows), "utf-8")
    return f'[corpus.decontaminate]\nfiles = ["{(folder / f"{name}.jsonl").as_posix()}"]\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """`base`: two crawl files and a package; `less`: without one host, no sources of its own."""
    folder = tmp_path_factory.mktemp("alone")
    crawl = folder / "crawl"
    crawl.mkdir()
    first = [(f"https://{STAYS}/{number}", sentences(number)) for number in range(3)]
    first += [(f"https://{GONE}/{number}", sentences(10 + number)) for number in range(2)]
    first += [(f"https://{STAYS}/copy", sentences(10)), (f"https://{GONE}/quiz", [*sentences(20), QUESTION])]
    second = [(f"https://{STAYS}/more/{number}", sentences(30 + number)) for number in range(2)]
    for name, pages in (("a.warc.gz", first), ("b.warc.gz", second)):
        (crawl / name).write_bytes(b"".join(warc_record(url, html(lines)) for url, lines in pages))
    fetch(folder, "base", aptitude="copyright of aptitude", manpages="copyright of manpages")
    sources = SOURCE.format(name="ja_cc", reader="warc", path=crawl.as_posix()) + PACKAGED
    make(folder, "base", benchmark(folder, QUESTION) + sources)
    make(folder, "less", f'[corpus.base]\nrun = "base"\nremove = ["host:{GONE}"]\n')
    return folder


def sealed(folder: Path, name: str) -> Manifest:
    return open_sealed(folder / "artifacts" / "corpus" / name)


def test_what_is_kept_is_the_base_without_the_host(made: Path) -> None:
    base, less = sealed(made, "base"), sealed(made, "less")
    before, after = documents(base), documents(less)
    gone = {doc_id for doc_id, row in before.items() if f"//{GONE}/" in row["url"]}
    assert gone and after == {doc_id: row for doc_id, row in before.items() if doc_id not in gone}
    one, other = (manifest.stats["sources"] for manifest in (base, less))
    assert other["ja_manual"] == one["ja_manual"]
    assert other["ja_cc"]["in"] == one["ja_cc"]["in"] == 9
    assert other["ja_cc"]["kept"] == one["ja_cc"]["kept"] - len(gone) == sum("example" in row["url"] for row in after.values())
    assert other["ja_cc"]["dropped"] == one["ja_cc"]["dropped"] | {"removed": len(gone)}
    assert other["ja_cc"]["characters"] == sum(len(row["text"]) for row in after.values() if row["source"] == "ja_cc")
    assert less.inputs.keys() == {"base", "base remove", "benchmarks"}
    assert less.inputs["benchmarks"] == base.inputs["benchmarks"] and less.body["licences"] == base.body["licences"]


def test_every_other_file_has_the_same_bytes(made: Path) -> None:
    digests = [{row["path"]: row["sha256"] for row in sealed(made, name).body["files"]} for name in ("base", "less")]
    assert digests[0].keys() == digests[1].keys()
    changed = {path.split("/", 2)[1] + "/" + Path(path).stem for path in digests[0] if digests[0][path] != digests[1][path]}
    rewritten = {f"{kind}/ja_cc-00000" for kind in ("documents", "decisions", "clusters")}
    keys = {f"keys/{name}" for name in ("keys", "owners", "ids", "sizes")}
    assert {f"{kind}/ja_cc-00000" for kind in ("documents", "decisions")} <= changed <= rewritten | keys
    assert "data/contamination.jsonl" in digests[0]


def test_it_is_said_where_and_why_it_went(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        one.run: (len(one.documents), len(one.dropped)) for one in holders(made / "artifacts", read_selection([f"host:{GONE}"]))
    }
    before = [row for row in documents(sealed(made, "base")).values() if GONE in row["url"]]
    assert found == {"base": (len(before), 3 - len(before)), "less": (0, 3)}
    stays = read_selection([f"host:{STAYS}"])
    assert {one.run: len(one.documents) for one in holders(made / "artifacts", stays)}.keys() == {"base", "less"}

    opened = open_decisions(sealed(made, "less").root)
    life = explain(load_run(str(made / "less.toml"), artifacts=str(made / "artifacts")), opened, before[0]["doc_id"])
    shown = render(life, colour=False)
    assert "段階: 指定による削除  理由: 取り除いた文書 (removed)" in shown and life.text == ""
    page = write_report(sealed(made, "less").root).read_text("utf-8")
    assert "指定による削除" in page and "取り除いた文書" in page and "1 項目のうち、1 項目" in page
    everything_off = retune(opened, dict.fromkeys(opened.rule_names))
    assert everything_off.gained.documents == 0
    main(["--run", str(made / "less.toml"), "--artifacts", str(made / "artifacts"), "--dry-run"])
    assert "コーパス base を引き継ぎ" in capsys.readouterr().out


def test_all_of_it_cannot_go(made: Path) -> None:
    remove = f'["host:{GONE}", "host:{STAYS}", "url:debian/aptitude/doc/a.html", "url:debian/manpages/doc/a.html"]'
    with pytest.raises(BadInput, match=r"ja_cc, ja_manual: none of 11 documents is left, most by 'removed'"):
        make(made, "none", f'[corpus.base]\nrun = "base"\nremove = {remove}\n')


def test_without_anything_to_let_go_it_is_the_base(made: Path) -> None:
    same, base = make(made, "same", '[corpus.base]\nrun = "base"\n'), sealed(made, "base")
    assert same.body["files"] == base.body["files"] and same.stats["sources"] == base.stats["sources"]


def test_what_grows_from_it_is_masked_as_it_is(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[corpus\.mask\] kinds = \['email'\], but the base .* was made with \[\]"):
        make(made, "masked", '[corpus.base]\nrun = "base"\n[corpus.mask]\nkinds = ["email"]\n')


def test_what_grows_from_it_keeps_to_its_benchmarks_and_carries_its_notices(made: Path) -> None:
    """The copyright texts of the base's packages stay, each once, beside those of new ones."""
    (made / "new").mkdir()
    (made / "new" / "0.html").write_bytes(html(sentences(50)))
    source = SOURCE.format(name="ja_new", reader="html", path=(made / "new").as_posix())
    table = '[corpus.base]\nrun = "less"\n'
    with pytest.raises(ConfigError, match=r"\[corpus\.decontaminate\]: benchmarks none, but the base .* was made with \w{8}"):
        make(made, "other", table + source)
    with pytest.raises(ConfigError, match=r"set the same, or make the base again"):
        make(made, "other", table + benchmark(made, QUESTION, sentences(1)[0], name="more") + source)

    fetch(
        made, "grown", manpages="copyright of manpages", apache="copyright of apache", aptitude="copyright of a later aptitude"
    )
    grown = make(made, "grown", table + benchmark(made, QUESTION) + source + PACKAGED)
    rows = [json.loads(line) for line in (grown.data / "contamination.jsonl").read_text("utf-8").splitlines()]
    assert [(row["item"], row["documents"]) for row in rows] == [("q0", 1)]
    notice = (grown.data / "NOTICE").read_text("utf-8")
    for text in ("manpages", "apache", "aptitude", "a later aptitude"):
        assert [line for line in notice.splitlines() if line == f"copyright of {text}"] == [f"copyright of {text}"]
    for row in grown.body["licences"]:
        assert notice.count(f"{row['source']}\n  licence: {row['licence']}\n") == 1
    assert {"debian/apache", "debian/aptitude", "ja_cc", "ja_new"} <= {row["source"] for row in grown.body["licences"]}
    fates = {row["url"]: row["stage"] for row in decisions(grown.root)}
    assert fates[f"https://{GONE}/0"] in ("remove", "dedup") and fates["0.html"] is None
    assert "manpages" in (sealed(made, "less").data / "NOTICE").read_text("utf-8")
    assert (sealed(made, "less").data / "NOTICE").read_bytes() == (sealed(made, "base").data / "NOTICE").read_bytes()
    assert pq.read_schema(next((grown.data / "decisions").glob("ja_new-*"))).metadata
