"""Every recipe: a full vocabulary, the same bytes again, nothing lost; the default: whole words, few straddlers."""

import dataclasses
import json
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings

from pipeline.errors import ConfigError
from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import texts
from tokenizer.analyzer import delimit, is_japanese, load_analyzer, words
from tokenizer.encode import Tokenizer
from tokenizer.export import tokenizer_json
from tokenizer.model_file import NUM_FIXED_PIECES, learned_pieces, read_pieces, unreachable_pieces, without
from tokenizer.settings import RECIPES, TokenizerSettings
from tokenizer.symbols import SPACE_MARK
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import Sample, sentences
from tokenizer.train.straddle import count_straddling
from tokenizer.train.trainer import keep_best_pieces

# Pieces inside the words of so short a text are few.
SMALL = TokenizerSettings(vocab_size=1080, max_characters=10**6, character_coverage=0.98)
ROOT = Path(__file__).parents[3]
SPACED = ["Apache の 設定 を 確認 します。", "of the 日本語 and of the 日本語", "in the list of the names"] * 30


def sample() -> Sample:
    return Sample({"a": [line for text in instruction_texts() for line in sentences(text)], "b": SPACED})


@cache
def model_of(recipe: str, vocab_size: int = 1080) -> bytes:
    return train_recipe(sample(), dataclasses.replace(SMALL, recipe=recipe, vocab_size=vocab_size))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_full_vocabulary_that_begins_as_every_other(recipe: str) -> None:
    pieces = read_pieces(model_of(recipe))
    assert len(pieces) == 1080 == len({piece.text for piece in pieces})
    assert pieces[:NUM_FIXED_PIECES] == read_pieces(model_of("bpe"))[:NUM_FIXED_PIECES]


@pytest.mark.parametrize("recipe", RECIPES)
@settings(max_examples=200)
@given(text=texts)
def test_nothing_is_lost(recipe: str, text: str) -> None:
    tokenizer = Tokenizer(model_of(recipe))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_same_bytes_in_other_processes(tmp_path: Path) -> None:
    code = (
        "import hashlib; from tests.tokenizer.train.test_recipes import model_of, RECIPES\n"
        "print(*(hashlib.sha256(model_of(recipe)).hexdigest() for recipe in RECIPES))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    one, other = (
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.split()
        for seed in ("1", "2")
    )
    assert one == other
    assert len(set(one)) == len(RECIPES)


def test_words_has_no_space_before_japanese_and_raw_text_has() -> None:
    def doubled(recipe: str, vocab_size: int = 1080) -> list[str]:
        texts = [piece.text for piece in learned_pieces(model_of(recipe, vocab_size))]
        return [text for text in texts if text.startswith(SPACE_MARK) and any(map(is_japanese, text))]

    assert doubled("bpe", 1500)
    assert doubled("words", 1500) == []
    assert [doubled(recipe) for recipe in ("words", "bpe-delimited", "merged")] == [[], [], []]


@pytest.mark.parametrize("vocab_size", [1080, 1280, 1500])
def test_every_piece_of_words_is_reached(vocab_size: int) -> None:
    model = model_of("words", vocab_size)
    assert unreachable_pieces(model) == []
    assert len(read_pieces(model)) == vocab_size
    scores = [piece.score for piece in learned_pieces(model)]
    assert scores == [-float(place) for place in range(len(scores))]


def test_the_tokenizers_library_finds_the_same_ids_also_without_parts() -> None:
    """Whatever parts of its pieces a vocabulary has lost, as one without straddlers has."""
    import tokenizers

    whole = model_of("words", 1500)
    dice = random.Random(5)
    merges = [piece.text for piece in learned_pieces(whole) if len(piece.text) > 1]
    lines = [*sample(), *("".join(dice.choices(merges, k=5)).replace(SPACE_MARK, " ") for _ in range(3000))]
    for model in (whole, without(whole, dice.sample(merges, len(merges) // 3))):
        ours = Tokenizer(model)
        fast = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(ours)))
        assert [encoded.ids for encoded in fast.encode_batch(lines)] == ours.encode_batch(lines)


def test_words_straddles_less_than_raw_text_and_is_shorter_than_delimited() -> None:
    analyzer = load_analyzer("mecab")
    delimited = [delimit(line, analyzer) for line in sample()]
    uses, bad = {}, {}
    for recipe in ("words", "bpe", "bpe-delimited", "unigram", "unigram-filtered"):
        uses_V, bad_V = count_straddling(model_of(recipe, 1280), delimited)
        uses[recipe], bad[recipe] = uses_V.sum(), bad_V.sum() / uses_V.sum()
    assert uses["words"] < 0.95 * uses["bpe-delimited"]
    assert bad["words"] < 0.5 * bad["bpe"]
    assert bad["unigram-filtered"] < 0.5 * bad["unigram"]


def test_word_share_and_runs_decide_what_is_learned() -> None:
    def several(**changes: object) -> int:
        analyzer = load_analyzer("mecab")
        pieces = learned_pieces(train_recipe(sample(), dataclasses.replace(SMALL, vocab_size=1200, **changes)))  # pyright: ignore[reportArgumentType]
        return sum(len(list(words(piece.text.replace(SPACE_MARK, " "), analyzer))) > 1 for piece in pieces)

    few, many = several(word_share=0.9), several(word_share=0.3)
    assert several(runs="none") < few < many


def test_threads_change_only_what_is_recorded() -> None:
    one = train_recipe(sample(), dataclasses.replace(SMALL, threads=1))
    assert read_pieces(one) == read_pieces(model_of("words"))


def test_best_pieces_keeps_every_character() -> None:
    pieces = learned_pieces(model_of("unigram", 1280))
    single = [piece for piece in pieces if len(piece.text) == 1]
    kept = keep_best_pieces(pieces, dataclasses.replace(SMALL, vocab_size=NUM_FIXED_PIECES + len(single) + 5))
    assert len(kept) == len(single) + 5
    assert {piece.text for piece in single} < {piece.text for piece in kept}
    worst = min(piece.score for piece in kept if len(piece.text) > 1)
    assert not [piece for piece in pieces if piece not in kept and piece.score > worst]


@pytest.mark.parametrize("recipe", ["words", "unigram-filtered", "merged", "bpe-delimited"])
def test_vocabularies_that_do_not_fit_the_text(recipe: str) -> None:
    with pytest.raises(ConfigError, match=r"vocab_size = 90000: the text yields \d+ pieces only; set it to \d+ or less"):
        model_of(recipe, 90_000)
    with pytest.raises(ConfigError, match=r"vocab_size = 900: .* alone are \d{3,4}; raise it, or lower character_coverage"):
        model_of(recipe, 900)


def test_words_yields_what_it_says() -> None:
    with pytest.raises(ConfigError) as error:
        model_of("words", 90_000)
    most = int(str(error.value).split("set it to ")[1].split()[0])
    assert most > 1500
    assert len(read_pieces(model_of("words", most // 2))) == most // 2
