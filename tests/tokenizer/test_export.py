"""transformers loads the exported folder and finds SentencePiece's ids."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import nasty, repetitive
from tokenizer.encode import Tokenizer
from tokenizer.export import EXPORTED_FILES
from tokenizer.symbols import CONTROL_SYMBOLS, SPECIALS


@pytest.fixture(scope="module")
def pair(tiny_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """Our tokenizer, and what transformers makes of the same folder with a Llama config beside it."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("llama")
    shutil.copytree(tiny_tokenizer, folder, dirs_exist_ok=True)
    # LlamaTokenizer, which this names, would rebuild its own pipeline: the folder must win.
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


def ids_of(fast: Any, text: str) -> list[int]:
    return fast(text)["input_ids"]


def without_control(text: str) -> bool:
    return not any(name in text for name in SPECIALS)


def test_folder_is_complete(tiny_tokenizer: Path) -> None:
    assert sorted(path.name for path in tiny_tokenizer.iterdir()) == sorted(EXPORTED_FILES)


def test_ids_are_equal_on_thousands_of_lines(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, fast = pair
    texts = instruction_texts()
    # Lines as they are, neighbours joined by what is between lines, and lines that begin and end anywhere.
    lines = [
        *texts,
        *("\n".join(two) for two in itertools.pairwise(texts)),
        *("  ".join([a[: len(a) // 2], b[len(b) // 3 :]]) for a, b in zip(texts, texts[7:], strict=False)),
        *(text[::-1] for text in texts),
    ]
    assert len(lines) > 3000
    assert [ids_of(fast, line) for line in lines] == tokenizer.encode_batch(lines)


@settings(max_examples=1000)
@given(text=(nasty | repetitive).filter(without_control))
def test_ids_are_equal_and_nothing_is_lost(pair: tuple[Tokenizer, Any], text: str) -> None:
    tokenizer, fast = pair
    ids = ids_of(fast, text)
    assert ids == tokenizer.encode(text)
    assert fast.decode(ids) == text


@settings(max_examples=300)
@given(text=nasty.filter(without_control))
def test_offsets_agree(pair: tuple[Tokenizer, Any], text: str) -> None:
    tokenizer, fast = pair
    offsets = [begin for begin, _ in fast(text, return_offsets_mapping=True)["offset_mapping"]]
    assert tokenizer.encode_with_offsets(text)[1] == offsets


@pytest.mark.sample
def test_ids_are_equal_on_real_articles(pair: tuple[Tokenizer, Any], sample_data: Path) -> None:
    import gzip

    tokenizer, fast = pair
    with gzip.open(sample_data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for _, line in zip(range(150), file, strict=False)]
    assert sum(map(len, texts)) > 50_000
    assert [ids_of(fast, text) for text in texts] == tokenizer.encode_batch(texts)
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(tokenizer.decode(ids)) for ids in tokenizer.encode_batch(texts)]


def test_special_tokens_have_their_ids_and_roles(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, fast = pair
    assert len(fast) == tokenizer.vocab_size
    assert fast.convert_tokens_to_ids(list(SPECIALS)) == list(range(len(SPECIALS)))
    assert (fast.bos_token_id, fast.eos_token_id, fast.pad_token_id) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    assert set(CONTROL_SYMBOLS) < set(fast.all_special_tokens)
    assert ids_of(fast, "はい") == tokenizer.encode("はい")  # adds neither BOS nor EOS by itself
    assert fast.decode([tokenizer.eos_id, *tokenizer.encode("はい")], skip_special_tokens=True) == "はい"


def test_what_transformers_saves_again_is_the_same_tokenizer(pair: tuple[Tokenizer, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, fast = pair
    fast.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "源は、\n  日本語の\t小さな▁モデル🙂です。"
    assert ids_of(again, text) == tokenizer.encode(text)
    assert again.chat_template == fast.chat_template
