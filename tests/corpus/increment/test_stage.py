"""The whole stage growing: from a base, from what grew, without what was asked to go; accounts, links, holders."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
from corpus.audit.holders import holders
from corpus.increment.removals import read_selection
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import document_files, read_documents
from pipeline.errors import BadInput, ConfigError, MissingInput
from tests.corpus.helpers.pages import html, prose
from tests.corpus.test_stage import decisions, write_run

OLD = [prose(random.Random(seed), 30) for seed in range(6)]
NEW = [prose(random.Random(seed), 30) for seed in range(100, 103)]


def write_pages(folder: Path, pages: dict[str, list[str]]) -> Path:
    folder.mkdir()
    for name, sentences in pages.items():
        (folder / name).write_bytes(html(sentences))
    return folder


def grow(
    tmp_path: Path, name: str, pages: dict[str, list[str]], base: str = "", remove: str = "[]", source: str = "ja_web"
) -> Path:
    """Make corpus `name`; returns its run file."""
    table = f'[corpus.base]\nrun = "{base}"\nremove = {remove}\n' if base else ""
    run = write_run(tmp_path, (source, "html", write_pages(tmp_path / name, pages)), more=table)
    run = run.rename(tmp_path / f"{name}.toml")
    main(["--run", str(run), "--artifacts", str(tmp_path / "artifacts")])
    return run


def sealed(tmp_path: Path, name: str) -> Manifest:
    return open_sealed(tmp_path / "artifacts" / "corpus" / name)


def documents(manifest: Manifest) -> dict[str, dict[str, Any]]:
    rows = [row for file in document_files(manifest) for row in read_documents(file)]
    assert all(
        row["source"] == file.stem.rpartition("-")[0] for file in document_files(manifest) for row in read_documents(file)
    )
    return {row["doc_id"]: row for row in rows}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """`old`, `new` that grows from it, `next` that grows from that and lets a page go."""
    folder = tmp_path_factory.mktemp("grown")
    old = {f"{number}.html": sentences for number, sentences in enumerate(OLD)}
    new = {
        "0.html": [*OLD[0], *NEW[0][:8]],  # a later capture, longer: the base's stays
        "5.html": NEW[0],  # another page of that name
        "copy.html": OLD[1],
        "near.html": [*OLD[2], "もう一文を足しました。"],  # longer, and falls all the same
        "one.html": NEW[1],
        "two.html": [*NEW[1][:-1], "終わりの一文だけが違います。"],
    }
    grow(folder, "old", old)
    grow(folder, "new", new, "old")
    grow(folder, "next", {"again.html": NEW[1], "x.html": NEW[2]}, "new", '["url:3.html"]', source="ja_more")
    return folder


def test_new_documents_stay_where_they_are_no_copies(grown: Path) -> None:
    old, new = documents(sealed(grown, "old")), documents(sealed(grown, "new"))
    assert all(new[doc_id] == row for doc_id, row in old.items())
    added = {new[doc_id]["url"]: doc_id for doc_id in new.keys() - old.keys()}
    assert len(added) == 2 and "5.html" in added
    rows = [row for row in decisions(sealed(grown, "new").root) if row["stage"] == "dedup"]
    fates = {row["url"]: (row["rule"], row["duplicate_of"]) for row in rows}
    (falls,) = {"one.html", "two.html"} - added.keys()
    (stays,) = {"one.html", "two.html"} & added.keys()
    of_url = {row["url"]: doc_id for doc_id, row in old.items()}
    assert fates == {
        "0.html": ("url", of_url["0.html"]),
        "copy.html": ("exact", of_url["1.html"]),
        "near.html": ("near", of_url["2.html"]),
        falls: ("near", added[stays]),
    }
    copies = [
        row for path in (sealed(grown, "new").data / "clusters").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert {(row["survivor"], row["kind"]) for row in copies} == {(doc_id, rule) for rule, doc_id in fates.values()}
    likeness = {row["kind"]: row["similarity"] for row in copies if row["survivor"] in old}
    assert likeness["exact"] == 1.0 and 0.8 <= likeness["near"] < 1.0 and 0.5 < likeness["url"] < 1.0


def test_accounts_hold_for_both_together(grown: Path) -> None:
    account = sealed(grown, "new").stats["sources"]
    assert account.keys() == {"ja_web"}
    dropped = {"url": 1, "exact": 1, "near": 2}
    assert {key: account["ja_web"][key] for key in ("in", "kept", "dropped")} == {"in": 12, "kept": 8, "dropped": dropped}
    texts = [row["text"] for row in documents(sealed(grown, "new")).values()]
    assert account["ja_web"]["characters"] == sum(map(len, texts))
    assert sealed(grown, "new").stats["copies"]["of_base"] == 3
    assert sealed(grown, "new").inputs["base"] == sealed(grown, "old").digest


def test_files_of_the_base_are_linked_and_new_ones_have_names_of_their_own(grown: Path) -> None:
    old, new = sealed(grown, "old").data, sealed(grown, "new").data
    linked = [path for path in old.rglob("*") if path.is_file() and path.name != "NOTICE"]
    assert linked and all((new / path.relative_to(old)).samefile(path) for path in linked)
    assert Counter(path.name for path in (new / "documents").iterdir()).total() > len(list((old / "documents").iterdir()))


def test_what_grew_grows_again_and_lets_a_page_go(grown: Path) -> None:
    before, after = documents(sealed(grown, "new")), documents(sealed(grown, "next"))
    assert {before[doc_id]["url"] for doc_id in before.keys() - after.keys()} == {"3.html"}
    assert {after[doc_id]["url"] for doc_id in after.keys() - before.keys()} == {"x.html"}
    fates = {row["url"]: row for row in decisions(sealed(grown, "next").root)}
    assert (fates["3.html"]["verdict"], fates["3.html"]["rule"]) == ("dropped", "removed")
    assert fates["again.html"]["rule"] in ("exact", "near")
    account = sealed(grown, "next").stats["sources"]
    assert account["ja_web"]["dropped"]["removed"] == 1 and account["ja_web"]["in"] == 12 and account["ja_web"]["kept"] == 7
    assert (account["ja_more"]["in"], account["ja_more"]["kept"]) == (2, 1)
    found = {holder.run: len(holder.documents) for holder in holders(grown / "artifacts", read_selection(["url:3.html"]))}
    assert found == {"old": 1, "new": 1, "next": 0}


def test_again_is_the_same_bytes(grown: Path, tmp_path: Path) -> None:
    """In another folder, the base through a link."""
    artifacts = tmp_path / "artifacts" / "corpus"
    artifacts.mkdir(parents=True)
    (artifacts / "old").symlink_to(sealed(grown, "old").root)
    main(["--run", str(grown / "new.toml"), "--artifacts", str(tmp_path / "artifacts")])
    assert open_sealed(artifacts / "new").digest == sealed(grown, "new").digest


def test_a_copy_of_a_masked_document_is_known(tmp_path: Path, ray_session: None) -> None:
    """Keys are made before personal data is masked, and texts are compared after."""
    mask = '[corpus.mask]\nkinds = ["email"]\n'
    mails = ["".join(f"連絡先は{name}{number}@example.jp です。" for number in range(12)) for name in ("a", "b")]
    one = [OLD[0][0], mails[0], *OLD[0][1:]]
    like = [OLD[0][0], mails[0], *OLD[0][1:], "もう一文を足しました。"]
    run = write_run(tmp_path, ("ja_web", "html", write_pages(tmp_path / "p", {"one.html": one})), more=mask)
    run = run.rename(tmp_path / "base.toml")
    main(["--run", str(run), "--artifacts", str(tmp_path)])
    assert "@" not in next(iter(documents(open_sealed(tmp_path / "corpus" / "base")).values()))["text"]
    pages = write_pages(tmp_path / "q", {"copy.html": one, "near.html": like, "else.html": OLD[1]})
    run = write_run(tmp_path, ("ja_new", "html", pages), more=mask + '[corpus.base]\nrun = "base"\n')
    main(["--run", str(run), "--artifacts", str(tmp_path)])
    fates = {row["url"]: row["rule"] for row in decisions(tmp_path / "corpus" / "t")}
    assert fates == {"one.html": None, "copy.html": "exact", "near.html": "near", "else.html": None}


def test_what_a_user_can_mend(grown: Path, tmp_path: Path) -> None:
    def again(*options: str) -> None:
        words = [word for option in options for word in ("--set", option)]
        main(["--run", str(grown / "new.toml"), "--artifacts", str(grown / "artifacts"), *words])

    with pytest.raises(ConfigError, match="bands = 10, but the base"):
        again("corpus.dedup.bands=10")
    with pytest.raises(MissingInput, match="no sealed corpus artifact of run 'none'"):
        again("corpus.base.run=none")
    run = write_run(tmp_path, ("ja_web", "html", grown / "new"), more='[corpus.base]\nrun = "old"\nremove = ["host:z.jp"]\n')
    with pytest.raises(BadInput, match="choose no document"):
        main(["--run", str(run), "--artifacts", str(grown / "artifacts")])
