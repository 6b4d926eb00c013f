"""The chat template and encode_chat are the same conversation; a user cannot write control tokens."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadInput
from tests.tokenizer.helpers.strategies import nasty
from tokenizer.chat import encode_chat
from tokenizer.encode import Tokenizer
from tokenizer.symbols import ROLES, SPECIALS

contents = nasty.filter(lambda text: not any(name in text for name in SPECIALS))
conversations = st.lists(st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": contents}), max_size=5)


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer: Path) -> Tokenizer:
    return Tokenizer.load(tiny_tokenizer)


@pytest.fixture(scope="module")
def fast(tiny_tokenizer: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer)


@settings(max_examples=300)
@given(messages=conversations.filter(bool), prompt=st.booleans())
def test_template_and_encode_chat_are_equal(
    tokenizer: Tokenizer, fast: Any, messages: list[dict[str, str]], prompt: bool
) -> None:
    rendered = fast.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=True)
    assert encode_chat(tokenizer, messages, prompt) == rendered["input_ids"]


def test_a_conversation_by_hand(tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "こんにちは。"}, {"role": "assistant", "content": "はい。"}]
    newline = tokenizer.encode("\n")
    assert encode_chat(tokenizer, messages, add_generation_prompt=True) == [
        5, *newline, *tokenizer.encode("こんにちは。"), 2, 6, *newline, *tokenizer.encode("はい。"), 2, 6, *newline,
    ]  # fmt: skip


def test_the_mask_covers_the_answers_and_their_ends(tokenizer: Tokenizer, fast: Any) -> None:
    messages = [
        {"role": "system", "content": "短く答えてください。"},
        {"role": "user", "content": "日本の首都は？"},
        {"role": "assistant", "content": "東京です。"},
        {"role": "user", "content": "ありがとう。"},
        {"role": "assistant", "content": "どういたしまして。\n"},
    ]
    made = fast.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    answered = [token for token, inside in zip(made["input_ids"], made["assistant_masks"], strict=True) if inside]
    end = tokenizer.eos_id
    assert answered == [*tokenizer.encode("東京です。"), end, *tokenizer.encode("どういたしまして。\n"), end]


@settings(max_examples=200)
@given(text=st.lists(st.sampled_from([*SPECIALS, "\n", "はい"]), max_size=6).map("".join))
def test_a_user_cannot_write_control_tokens(tokenizer: Tokenizer, text: str) -> None:
    ids = encode_chat(tokenizer, [{"role": "user", "content": text}], add_generation_prompt=True)
    places = [place for place, token in enumerate(ids) if token < len(SPECIALS)]
    assert places == [0, len(ids) - 3, len(ids) - 2]  # <|user|>, </s>, <|assistant|>: ours, and no other
    assert tokenizer.decode(ids[2:-3]) == text


@pytest.mark.parametrize(
    "message", [{"role": "tool", "content": "x"}, {"content": "x"}, {"role": "user"}, {"role": "user", "content": None}]
)
def test_odd_messages_are_refused(tokenizer: Tokenizer, fast: Any, message: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"messages\[1\]: role"):
        encode_chat(tokenizer, [{"role": "user", "content": "はい"}, message])


def test_the_template_refuses_other_roles(fast: Any) -> None:
    import jinja2

    with pytest.raises(jinja2.TemplateError, match="unknown role: tool"):
        fast.apply_chat_template([{"role": "tool", "content": "x"}])
