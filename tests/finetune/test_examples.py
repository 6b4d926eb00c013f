"""Labels against an independent rendering: the shipped chat template with its generation markers, in transformers."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.examples import IGNORED, assemble, encode, split
from finetune.settings import DataSource, FinetuneSettings
from finetune.sources import Chat, Read, assistant, user
from pipeline.errors import BadInput, ConfigError
from tokenizer.encode import Tokenizer
from tokenizer.symbols import CONTROL_SYMBOLS, EOS

SINGLE = Chat("t", (user("日本の首都はどこですか。"), assistant("東京です。")))
SEVERAL = Chat(
    "t", (user("こんにちは。\n元気？"), assistant("はい、元気です。"), user("Hello  there"), assistant("Hi.\n\n- a\n- b"))
)
# A question and its two turns with a system message before.
SYSTEM = Chat("t", ({"role": "system", "content": "短く答える。"}, *SEVERAL.messages))


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer: Path) -> Tokenizer:
    return Tokenizer.load(tiny_tokenizer)


@pytest.mark.parametrize("chat", [SINGLE, SEVERAL, SYSTEM])
def test_labels_are_what_the_chat_template_marks(tiny_tokenizer: Path, tokenizer: Tokenizer, chat: Chat) -> None:
    from transformers import AutoTokenizer

    hf = AutoTokenizer.from_pretrained(tiny_tokenizer, local_files_only=True)
    rendered = hf.apply_chat_template(list(chat.messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    example = encode(tokenizer, chat)
    assert example.input_ids == rendered["input_ids"]
    marked = zip(rendered["input_ids"], rendered["assistant_masks"], strict=True)
    assert example.labels == [token if mark else IGNORED for token, mark in marked]


def answers(example_labels: list[int]) -> list[list[int]]:
    """Runs of labels that are not IGNORED."""
    runs: list[list[int]] = [[]]
    for label in example_labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
TYPED = st.sampled_from([*CONTROL_SYMBOLS, EOS, "\n", " "])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT | TYPED, TEXT | TYPED), min_size=1, max_size=3))
def test_labels_are_the_answers_and_their_ends_whatever_is_typed(tokenizer: Tokenizer, turns: list[tuple[str, str]]) -> None:
    chat = Chat("t", tuple(m for question, answer in turns for m in (user(question), assistant(answer))))
    example = encode(tokenizer, chat)
    assert answers(example.labels) == [[*tokenizer.encode(answer), tokenizer.eos_id] for _, answer in turns]
    assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.input_ids, strict=True))
    assert sum(token == tokenizer.eos_id for token in example.input_ids) == 2 * len(turns), "only our own control tokens"


def chats(count: int, *, answer: str = "はい。") -> list[Chat]:
    return [Chat("t", (user(f"質問{n}"), assistant(answer))) for n in range(count)]


def test_split_is_stable_disjoint_and_by_question() -> None:
    rows = chats(200) + [Chat("t", (user(f"質問{n}"), assistant("別の答え"))) for n in range(50)]
    training, heldout = split(rows, 0.05, seed=1)
    asked = [{chat.messages[0]["content"] for chat in side} for side in (training, heldout)]
    assert not asked[0] & asked[1] and len(asked[1]) == 10
    assert sorted(map(rows.index, training + heldout)) == list(range(250))
    assert split(list(reversed(rows)), 0.05, seed=1)[1] == list(reversed(heldout))
    assert split(rows, 0.05, seed=2)[1] != heldout
    with pytest.raises(BadInput, match="one question only"):
        split(chats(1) * 3, 0.05, seed=1)


def test_counts_add_up_and_long_examples_are_dropped(tokenizer: Tokenizer) -> None:
    rows = chats(20) + [Chat("t", (user(f"長い{n}"), assistant("とても長い答え。" * 50))) for n in range(5)]
    source = DataSource(kind="instructions", name="t", repeat=3)
    data = assemble(tokenizer, [(source, Read(rows, 2, 3))], FinetuneSettings(data=(source,), heldout_share=0.2), context=40)
    count = data.counts["t"]
    assert count["training"] + count["heldout"] + count["too_long"] == 25 == count["records"] - 2 - 3
    assert (count["too_long"], count["empty"], count["not_chosen"]) == (5, 2, 3)
    assert len(data.training) == 3 * count["training"] and len(data.heldout) == count["heldout"]
    assert max(len(e.input_ids) for e in data.training + data.heldout) <= 40
    assert count["answer_tokens"] == count["training"] * len([*tokenizer.encode("はい。"), tokenizer.eos_id])


def test_nothing_fits(tokenizer: Tokenizer) -> None:
    source = DataSource(kind="instructions")
    with pytest.raises(BadInput, match="none of 9 chats fits 4 tokens"):
        assemble(tokenizer, [(source, Read(chats(9), 0, 0))], FinetuneSettings(data=(source,), max_tokens=4), context=40)
    with pytest.raises(ConfigError, match="the model's context is 40"):
        assemble(tokenizer, [(source, Read(chats(9), 0, 0))], FinetuneSettings(data=(source,), max_tokens=41), context=40)
