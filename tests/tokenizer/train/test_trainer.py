"""Training: the same bytes for the same text; what cannot be trained is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from tests.helpers import instruction_texts
from tokenizer.encode import Tokenizer
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import REQUIRED_CHARACTERS, SPACE_MARK, required_pieces
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import Sample, sentences
from tokenizer.train.trainer import train

SMALL = TokenizerSettings(vocab_size=1280, max_characters=10**6, character_coverage=0.98)
ROOT = Path(__file__).parents[3]


def text() -> list[str]:
    return [sentence for text in instruction_texts() for sentence in sentences(text)]


def test_the_same_bytes_in_another_process_and_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.tokenizer.train.test_trainer import SMALL, text; from tokenizer.train.trainer import train;"
        "sys.stdout.buffer.write(train(text(), SMALL))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path)}
    other = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True).stdout
    assert train(text(), SMALL) == other
    assert str(tmp_path).encode() not in other


@pytest.mark.parametrize(
    "line",
    ["</s>と<|user|>と<0x0A>を書く。", f"{SPACE_MARK}{SPACE_MARK}の印。", "a\0b", "\u2585", "\t\r\x0b", "語\x1fの\x1f\x1f間"],
)
def test_odd_training_text_does_no_harm(line: str) -> None:
    tokenizer = Tokenizer(train_recipe(Sample({"a": [*text(), *[line] * 50]}), SMALL))
    assert tokenizer.decode(tokenizer.encode(line)) == line
    assert not any(token < 16 for token in tokenizer.encode(line))


def test_text_without_a_space_or_latin_letter_still_gives_lossless_spaces() -> None:
    kana = ["いろはにほへとちりぬるを", "わかよたれそつねならむ"] * 20
    settings = TokenizerSettings(vocab_size=required_pieces() + 30, max_characters=10**6)
    tokenizer = Tokenizer(train_recipe(Sample({"a": kana}), settings))
    sentence = "い ろ A~"
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence
    assert not any(tokenizer.is_byte(token) for token in tokenizer.encode(REQUIRED_CHARACTERS.replace(SPACE_MARK, " ")))


def test_vocabularies_that_do_not_fit_the_text() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size = 50000: the text yields \d+ pieces only; set it to \d+ or less"):
        train(text(), TokenizerSettings(50_000, 10**6))
    with pytest.raises(ConfigError, match=r"vocab_size = 900: .* alone are \d{4}; raise it, or lower character_coverage"):
        train(text(), TokenizerSettings(900, 10**6))


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocab_size": 384},
        {"vocab_size": 800_001},
        {"max_characters": 0},
        {"character_coverage": 0.9},
        {"character_coverage": 1.1},
        {"weights": {"a": -1.0}},
        {"weights": {"a": 0.0}},
        {"threads": 0},
        {"recipe": "wordpiece"},
        {"runs": "en"},
        {"groups": {"a": "fr"}},
        {"word_share": 0.0},
        {"straddle_limit": 1.5},
        {"straddle_rounds": -1},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TokenizerSettings(**({"vocab_size": 8192, "max_characters": 1000} | wrong))  # pyright: ignore[reportArgumentType] # wrong on purpose
