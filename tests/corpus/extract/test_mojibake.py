"""Mojibake made by Python's own codecs comes back as it was; text that is none stays as it is."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract.charset import decode
from corpus.extract.mojibake import is_mojibake, repair

SENTENCE = "私は昨日、図書館で古い本を二冊借りて、夜おそくまで読んでいました。とても面白いと思う。"
PIECES = [
    "です。",
    "そして、",
    "データ",
    "の中で",
    "漢字",
    "東京",
    "abc ",
    "12\n",
    "見ている",
    "カタカナ",
    "ー",
    "「はい」",
    "😀",
]
prose = st.lists(st.sampled_from(PIECES), max_size=60).map(lambda pieces: SENTENCE + "".join(pieces))


def windows_1252(raw: bytes) -> str:
    """As browsers decode it (https://encoding.spec.whatwg.org/#windows-1252): undefined bytes are C1 controls."""
    undefined = b"\x81\x8d\x8f\x90\x9d"
    return "".join(chr(byte) if byte in undefined else bytes((byte,)).decode("cp1252") for byte in raw)


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
@given(text=prose)
@settings(max_examples=100, deadline=None)
def test_what_was_read_as_latin_comes_back(charset: str, text: str) -> None:
    if charset != "utf-8":
        text = text.replace("😀", "")
    raw = text.encode(charset)
    for wrong in (raw.decode("latin-1"), windows_1252(raw)):
        assert is_mojibake(wrong)
        assert repair(wrong) == text
        again = decode(f"<p>{wrong}".encode())
        assert again is not None and (again.text, again.flags) == (f"<p>{text}", ("mojibake_repaired",))


@given(st.lists(st.sampled_from(["ありがとう", "これは", "ください", "データ", "abc"]), min_size=8, max_size=60).map("".join))
@settings(max_examples=200, deadline=None)
def test_utf8_read_as_cp932_comes_back_where_no_byte_was_lost(text: str) -> None:
    raw = text.encode()
    wrong = raw.decode("cp932", "replace")
    if wrong.encode("cp932", "replace") == raw:
        assert repair(wrong) in (text, None)  # None: less than ten kana
    else:
        assert repair(wrong) is None
    if text.count("ありがとう") >= 4:
        assert is_mojibake(wrong)


def test_a_kind_that_loses_nothing_in_cp932() -> None:
    text = "あいうえおかきくけこ" * 2  # every E3 81 xx is a pair and a letter
    pairs = [text[i : i + 2] for i in range(0, len(text), 2)]
    kept = "".join(pair for pair in pairs if reversible(pair))
    assert len(kept) >= 8
    assert repair(kept.encode().decode("cp932")) == kept


def reversible(text: str) -> bool:
    try:
        return text.encode().decode("cp932").encode("cp932") == text.encode()
    except UnicodeError:
        return False


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_repair_only_ever_makes_text(text: str) -> None:
    got = repair(text)
    assert got is None or got.encode().decode() == got
    if text.isascii():
        assert got is None


@pytest.mark.parametrize("text", [
    SENTENCE, "縺れた糸を繧ぐ。" * 3, "Ça coûte 20 € à Orléans, où l’été déjà s’achève — très cher." * 20,
    "Grüße aus Österreich, „schön“ und größer." * 20, "São Paulo não é a capital; ações e razões à mão." * 20,
    "¥100 ¥200 ¥300 £5 ¤" * 20, "ƒ(x) = ƒ(y) and ƒ’ " * 30,
])  # fmt: skip
def test_real_text_is_left_alone(text: str) -> None:
    assert repair(text) is None
    found = decode(text.encode())
    assert found is not None and found.text == text


@pytest.mark.sample
def test_no_real_japanese_is_called_mojibake(sample_data: Path) -> None:
    """All of Aozora and Wikipedia: 76 MB, no text flagged."""
    import pyarrow.parquet as pq

    texts = pq.read_table(sample_data / "aozora.parquet", columns=["text"])["text"].to_pylist()
    with gzip.open(sample_data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        texts += [json.loads(row)["text"] for row in file]
    assert len(texts) > 2000
    assert not [text[:40] for text in texts if is_mojibake(text)]
    pieces = [text[4000:6000] for text in texts[::20] if len(text) > 8000]
    assert all(is_mojibake(piece.encode().decode("cp932", "replace")) for piece in pieces)
