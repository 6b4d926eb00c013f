"""Copies of held-out documents: found as plain sets of strings find them, and none is trained on."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import held_out_key
from pipeline.errors import BadInput
from pipeline.text.fold import fold, to_text
from pretrain.pack import __main__ as pack
from pretrain.pack.copies import MAX_FINGERPRINTS, NGRAM_CHARS, HeldOutTexts, hash_ngrams, read_copies, sample_hashes
from pretrain.pack.shards import EncodeShard, encode_shard
from tests.pretrain.helpers.corpora import arguments, identifier, make_run

SHARE = 0.1  # held out, of the runs below
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"


def strings(text: str) -> set[str]:
    """The runs of a folded text, as strings."""
    folded = to_text(fold(text))
    return {folded[at : at + NGRAM_CHARS] for at in range(max(len(folded) - NGRAM_CHARS, 0) + 1)} - {""}


def held(texts: Mapping[str, str]) -> HeldOutTexts:
    marks = [sample_hashes(hash_ngrams(text)) for text in texts.values()]
    return HeldOutTexts(list(texts), np.concatenate(marks), np.array([len(part) for part in marks]))


def sentence(seed: int, length: int = 30) -> str:
    return "".join(random.Random(seed).choices(KANA, k=length))


@given(st.text(max_size=60), st.integers(1, 20))
def test_runs_are_equal_where_their_strings_are(text: str, width: int) -> None:
    folded = to_text(fold(text))
    expected = [folded[at : at + width] for at in range(len(folded) - width + 1)] or ([folded] if folded else [])
    got = hash_ngrams(text, width).tolist()
    assert len(got) == len(expected)
    assert len(set(zip(expected, got, strict=True))) == len(set(expected)) == len(set(got))
    if len(folded) >= width:  # a run's hash says nothing of where it is
        assert hash_ngrams("あ" + folded, width).tolist()[1:] == got


@given(st.text(alphabet="aAａ１1ｱアが。、 \n-_「」ー", max_size=30))
def test_what_readers_do_not_see_is_folded_away(text: str) -> None:
    folded = to_text(fold(text))
    assert to_text(fold(folded)) == folded == to_text(fold(" " + text.replace("\n", "。\n") + "。"))
    assert all(character.isalnum() for character in folded)
    assert to_text(fold("Ａｐａｃｈｅ　ＨＴＴＰ サーバー")) == "apachehttpさば"


@settings(deadline=None, max_examples=200)
@given(
    documents=st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3), min_size=1, max_size=6),
    text=st.lists(st.integers(0, 7), max_size=5),
    share=st.sampled_from([0.2, 0.5, 1.0]),
)
def test_the_share_is_what_sets_of_strings_give(documents: list[list[int]], text: list[int], share: float) -> None:
    # up to 90 characters: no document has more runs than are sought, so that its share is no estimate
    texts = {str(n): "".join(sentence(s, 5 + 3 * s) for s in parts) for n, parts in enumerate(documents)}
    assert all(len(strings(t)) <= MAX_FINGERPRINTS for t in texts.values())
    given_text = "。".join(sentence(s, 5 + 3 * s) for s in text)
    shares = {n: len(strings(t) & strings(given_text)) / len(strings(t)) for n, t in texts.items()}
    best = max(shares.values())
    found = held(texts).find_copied(given_text, share)
    if best < share:
        assert found is None
    else:
        assert found is not None and found[1] == pytest.approx(best) and shares[found[0]] == pytest.approx(best)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_of_a_long_text_the_share_is_an_estimate(seed: int, kept: float) -> None:
    text = sentence(seed, 5000)
    cut = int(len(text) * kept)
    found = held({"x": text}).find_copied(sentence(seed + 1, 100) + text[:cut] + sentence(seed + 2, 100), 0.0)
    share = found[1] if found else 0.0
    assert abs(share - kept) < 2 / MAX_FINGERPRINTS + NGRAM_CHARS / len(text)  # evenly spaced: closer than drawn ones would be


def changed(text: str, every: int) -> str:
    """The text with every so manieth character another."""
    return "".join("亜" if at % every == every - 1 else character for at, character in enumerate(text))


def a_corpus(source: str, other: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(corpus of two sources, what must not be trained on -> the held-out text it is a copy of)."""
    texts = {name: [sentence(n, 200) for n in range(first, first + 60)] for name, first in ((source, 0), (other, 100))}
    texts[source] += [sentence(n, 9) for n in range(300, 340)]
    held_out = {name: [t for t in rows if is_held_out(name, t)] for name, rows in texts.items()}
    long = next(t for t in held_out[source] if len(t) == 200)
    short = next(t for t in held_out[source] if len(t) == 9)
    elsewhere = next(t for t in held_out[other] if len(t) == 200)
    copies = {
        trained(source, "  ".join(long)): long,  # the same but for spaces
        trained(other, long.replace("あ", "ア、あ").replace("ア、", "")): long,  # in another source
        trained(source, changed(elsewhere, 40)): elsewhere,
        trained(source, sentence(500, 3000) + long[30:] + sentence(501, 3000)): long,  # on a longer page, its head missing
        trained(other, f"「{short}」。"): short,
    }
    others = [
        trained(source, sentence(502, 100) + long[:60]),
        trained(other, sentence(503, 40) + short),
    ]  # less than half; inside
    for text in [*copies, *others]:
        texts[source if identifier(source, text) in _TRAINED else other].append(text)
    return {f"{name}-00000": rows for name, rows in texts.items()}, copies


_TRAINED: set[str] = set()


def is_held_out(source: str, text: str) -> bool:
    return held_out_key(identifier(source, text)) < SHARE * 2**64


def trained(source: str, text: str) -> str:
    """The text, with as many marks that fold away as keep it from being held out itself."""
    while is_held_out(source, text):
        text += "。"
    _TRAINED.add(identifier(source, text))
    return text


def trained_on(sealed: Manifest) -> dict[str, set[str]]:
    tables = {p.parent.name: pq.read_table(p) for p in sealed.data.glob("*/train.parquet")}
    return {source: set(table["doc_id"].to_pylist()) for source, table in tables.items()}


def test_no_copy_of_a_held_out_document_is_trained_on(tmp_path: Path, tiny_tokenizer: Path, ray_session: None) -> None:
    corpus, copies = a_corpus("s", "t")
    run = make_run(tmp_path / "run", corpus, tiny_tokenizer, table=f"valid_share = {SHARE}")
    pack.main(arguments(run))
    sealed = open_sealed(run.root("pack"))
    texts = {identifier(stem[0], text): (stem[0], text) for stem, rows in corpus.items() for text in rows}
    found = {c.doc_id: c for source in "st" for c in read_copies(sealed.data / source / "copies.parquet")}
    assert {texts[doc_id][1]: texts[c.copy_of][1] for doc_id, c in found.items()} == copies
    valid = [row for p in sealed.data.glob("*/valid.parquet") for row in pq.read_table(p)["doc_id"].to_pylist()]
    assert set(valid) == {doc_id for doc_id, (source, text) in texts.items() if is_held_out(source, text)}
    kept = trained_on(sealed)
    assert kept["s"] | kept["t"] == texts.keys() - found.keys() - set(valid)
    for doc_id in kept["s"] | kept["t"]:  # as plain sets of strings see it
        ours = strings(texts[doc_id][1])
        assert all(len(strings(texts[v][1]) & ours) < 0.5 * len(strings(texts[v][1])) for v in valid)
    counted = {source: row["copies"]["documents"] for source, row in sealed.stats["sources"].items()}
    assert sum(counted.values()) == len(copies) and all(
        row["left_out"]["documents"] == 0 for row in sealed.stats["sources"].values()
    )

    without = make_run(tmp_path / "all", corpus, tiny_tokenizer, table=f"valid_share = {SHARE}\ncopy_share = 0.0")
    pack.main(arguments(without))
    everything = trained_on(open_sealed(without.root("pack")))
    assert everything["s"] | everything["t"] == texts.keys() - set(valid)


def test_a_source_of_copies_only_is_refused(tmp_path: Path, tiny_tokenizer: Path, ray_session: None) -> None:
    text = sentence(1, 100)
    run = make_run(tmp_path, {"s-00000": [text, text + "。", text + "！"]}, tiny_tokenizer)
    with pytest.raises(
        BadInput, match=r"source 's': each of its 2 training documents is a copy of a held-out one, first .*100%"
    ):
        pack.main(arguments(run))


def test_edges_of_files_give_the_split_of_the_whole(tmp_path: Path, tiny_tokenizer: Path) -> None:
    from tests.pretrain.helpers.corpora import write_documents

    shards, rows = {}, [sentence(n) for n in range(40)]
    for number, part in enumerate([rows[:3], [], rows[3:30], rows[30:]]):
        path = tmp_path / f"s-{number:05}.parquet"
        write_documents(path, part, "s")
        shards[path.stem] = EncodeShard(path, "s", tiny_tokenizer, tmp_path / "encoded" / path.stem)
    encoded = {name: encode_shard(shard) for name, shard in shards.items()}
    for share in (0.001, 0.3, 0.999):
        splits = pack.split_sources(shards, encoded, pack.PackSettings(share))["s"]
        by_key = sorted((identifier("s", text) for text in rows), key=held_out_key)
        below = [doc_id for doc_id in by_key if held_out_key(doc_id) < share * 2**64]
        expected: Sequence[str] = (below or by_key[:1])[: len(by_key) - 1]
        assert [doc_id for doc_id in by_key if splits.split_of(doc_id) == "valid"] == expected
        assert [doc_id for doc_id in by_key if splits.split_of(doc_id) == "train"] == by_key[len(expected) :]
