"""The training text: at most as much as asked, by weight, the same on every machine."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact import begin_artifact
from pipeline.documents import HeldOut
from pipeline.errors import BadInput, ConfigError
from tests.helpers import run_file
from tests.tokenizer.helpers.corpus import documents, identifier, write_documents
from tokenizer.analyzer import DELIMITER, delimit, load_analyzer
from tokenizer.settings import TokenizerSettings
from tokenizer.train.sample import LINE_CHARACTERS, Sample, budget, draw, draw_shards, sentences

MECAB = load_analyzer("mecab")


def asked(most: int, *, seed: int = 0, held_out: float = 0.0, recipe: str = "bpe", **weights: float) -> TokenizerSettings:
    return TokenizerSettings(1280, most, recipe, weights=weights, seed=seed, held_out_share=held_out)


def corpus_files(folder: Path, parts: int = 1) -> list[Path]:
    """Two sources, each in `parts` files."""
    for source in ("a", "b"):
        texts = documents(source, 60)
        size = len(texts) // parts
        for part in range(parts):
            write_documents(folder / f"{source}-{part:05}.parquet", source, texts[part * size : (part + 1) * size])
    return sorted(folder.glob("*.parquet"))


@given(line=st.text(alphabet=st.sampled_from("あ。！？ a"), max_size=30) | st.just("長" * (2 * LINE_CHARACTERS + 5)))
def test_sentences_are_the_line_cut(line: str) -> None:
    cut = list(sentences(line))
    assert "".join(cut) == line
    assert all(0 < len(sentence) <= LINE_CHARACTERS for sentence in cut)
    assert not [sentence for sentence in cut if any(mark in sentence[:-1] for mark in "。！？")]


@given(
    available=st.dictionaries(st.sampled_from("abc"), st.integers(1, 10_000), min_size=1),
    most=st.integers(1, 20_000),
    data=st.data(),
)
def test_budget_never_exceeds_what_is_there_or_asked(available: dict[str, int], most: int, data: st.DataObject) -> None:
    weights = data.draw(st.dictionaries(st.sampled_from(sorted(available)), st.floats(0.1, 9.0)))
    got = budget(available, weights, most)
    assert all(got[source] <= available[source] for source in got)
    assert sum(got.values()) <= most + len(got)  # rounding
    if not weights and most >= sum(available.values()):
        assert got == available


def test_budget_follows_the_weights() -> None:
    assert budget({"a": 1000, "b": 1000}, {"a": 3, "b": 1}, 400) == {"a": 300, "b": 100}
    assert budget({"a": 1000, "b": 50}, {"a": 1, "b": 1}, 400) == {"a": 200, "b": 50}
    assert budget({"a": 1000, "b": 1000}, {"b": 1}, 400) == {"a": 0, "b": 400}
    assert budget({"a": 3000, "b": 1000}, {}, 400) == {"a": 300, "b": 100}


def test_everything_is_drawn_where_it_fits(tmp_path: Path) -> None:
    sample = draw(corpus_files(tmp_path), asked(10**9))
    assert "".join(sample.sentences["a"]) == "".join(documents("a", 60)).replace("\n", "")
    assert sample.characters["a"] == len("".join(sample.sentences["a"]))


def test_a_draw_is_close_to_its_budget_and_spread_over_the_documents(tmp_path: Path) -> None:
    sample = draw(corpus_files(tmp_path), asked(8000, a=3, b=1))
    assert 5000 <= sample.characters["a"] <= 6000
    assert 1500 <= sample.characters["b"] <= 2000
    drawn = set(sample.sentences["a"])
    touched = [any(set(sentences(line)) & drawn for line in text.split("\n")) for text in documents("a", 60)]
    assert sum(touched) > 50


def test_the_draw_depends_on_the_seed_and_not_on_the_files(tmp_path: Path) -> None:
    one = draw(corpus_files(tmp_path / "1"), asked(8000, held_out=0.1, a=1, b=1))
    many = draw(corpus_files(tmp_path / "3", parts=3), asked(8000, held_out=0.1, a=1, b=1))
    other = draw(corpus_files(tmp_path / "1"), asked(8000, held_out=0.1, a=1, b=1, seed=1))
    assert list(one) == list(many)
    assert list(one) != list(other)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.3])
def test_held_out_documents_are_left_out_and_nothing_else(tmp_path: Path, share: float, parts: int) -> None:
    alone = "ひとつだけの文書。"  # packing refuses such a source
    corpus_files(tmp_path, parts)
    write_documents(tmp_path / "c-00000.parquet", "c", [alone])
    kept = {"c": [alone]}
    for source in ("a", "b"):
        texts = {identifier(source, text): text for text in documents(source, 60)}
        held_out = HeldOut.of(texts, share)
        kept[source] = [text for doc_id, text in texts.items() if doc_id not in held_out]
        assert len(kept[source]) == (59 if share == 1e-9 else 60) or 30 < len(kept[source]) < 55
    just_enough = sum(len(text) for texts in kept.values() for text in texts)
    sample = draw(sorted(tmp_path.glob("*.parquet")), asked(just_enough, held_out=share))
    for source, texts in kept.items():
        assert "".join(sample.sentences[source]) == "".join(texts).replace("\n", "")


def shown(sample: Sample) -> str:
    """Every sentence in order, and every count: two samples are equal to the byte where this is."""
    return repr((sorted(sample.sentences.items()), sorted(sample.characters.items()), list(sample), sample.is_delimited))


def cut(sample: Sample) -> Sample:
    """The sample with a delimiter between words."""
    words = {source: [delimit(sentence, MECAB) for sentence in drawn] for source, drawn in sample.sentences.items()}
    return Sample(words, sample.characters, is_delimited=True)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("recipe", ["bpe", "words"])
@pytest.mark.parametrize("settings", [asked(8000, held_out=0.1, a=3, b=1, d=1), asked(10**9)], ids=["drawn", "all"])
def test_ray_tasks_draw_what_one_process_draws(
    tmp_path: Path, ray_session: None, workers: int, settings: TokenizerSettings, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings, recipe=recipe)
    corpus_files(tmp_path / "corpus", parts=4)
    write_documents(tmp_path / "corpus" / "c-00000.parquet", "c", ["", "\n\n"])  # offers nothing
    odd = [f"区{DELIMITER}切り{number}。{DELIMITER}" * 20 for number in range(30)]  # text that has delimiters itself
    write_documents(tmp_path / "corpus" / "d-00000.parquet", "d", odd)
    files = sorted((tmp_path / "corpus").glob("*.parquet"))
    monkeypatch.setattr("pipeline.shards._order", lambda names: sorted(names, reverse=workers == 2))
    with begin_artifact(run_file(tmp_path, f"[ray]\nworkers = {workers}\n"), "tokenizer", {}, {}, recipe=1) as artifact:
        sample = draw_shards(files, settings, artifact)
        offers = sorted(path.stem for path in (artifact.work / "offers").iterdir())
        again = draw_shards(files, settings, artifact)  # from receipts and what is there
    expected = draw(files, settings)
    assert shown(sample) == shown(again) == shown(cut(expected) if recipe == "words" else expected)
    assert offers == sorted(path.stem for path in files)


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    files = corpus_files(tmp_path)
    with pytest.raises(ConfigError, match=r"weights: no source 'c' in the corpus; it has \['a', 'b'\]"):
        draw(files, asked(1000, c=1))
    write_documents(tmp_path / "empty.parquet", "empty", ["", ""])
    with pytest.raises(BadInput, match="source 'empty' has weight 1 but no text"):
        draw([*files, tmp_path / "empty.parquet"], asked(1000, a=1, empty=1))
    with pytest.raises(BadInput, match="the corpus has no text to train a tokenizer on"):
        draw([tmp_path / "empty.parquet"], asked(1000))
    with pytest.raises(BadInput, match="the corpus has no text"):
        draw([], asked(1000))
    with pytest.raises(BadInput, match="no line of text was drawn"):
        draw(files, asked(2))
