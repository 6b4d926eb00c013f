"""Chats become token ids and labels: the loss falls on answers only, and that is checked for every example."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from finetune.settings import DataSource, Tuning
from finetune.sources import Chat, Read
from pipeline.errors import BadInput, ConfigError
from tokenizer.chat import encode_chat
from tokenizer.encode import Tokenizer

IGNORED = -100  # the label that torch.nn.functional.cross_entropy leaves out of the loss


@dataclass(frozen=True)
class Example:
    """One chat as the model sees it; both lists have one entry a token."""

    source: str
    input_ids: list[int]
    labels: list[int]  # the token itself inside an answer (its end of turn included), IGNORED elsewhere

    @property
    def answer_tokens(self) -> int:
        """Tokens the loss falls on."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class TuningData:
    """Everything the training loop needs to know about the data."""

    training: list[Example]  # each as often as an epoch reads it
    heldout: list[Example]  # never trained on
    pad_id: int
    counts: dict[str, dict[str, int]]  # source -> records = training + heldout + too_long + empty + not_chosen; tokens


def encode(tokenizer: Tokenizer, chat: Chat) -> Example:
    """Encode a chat; every assistant turn, with the `</s>` that ends it, is an answer.

    An answer's tokens are what the chat has more with the answer than it had when the answer was asked for: exactly
    what the model will be asked to continue when it serves.
    """
    ids = encode_chat(tokenizer, chat.messages, add_generation_prompt=False)
    labels = [IGNORED] * len(ids)
    for turn, message in enumerate(chat.messages):
        if message["role"] != "assistant":
            continue
        prompt = encode_chat(tokenizer, chat.messages[:turn], add_generation_prompt=True)
        whole = encode_chat(tokenizer, chat.messages[: turn + 1], add_generation_prompt=False)
        assert ids[: len(whole)] == whole, "the encoding of a turn depends on what follows it"
        assert whole[: len(prompt)] == prompt, "the prompt is not a prefix of prompt and answer"
        end = len(whole) - whole[::-1].index(tokenizer.eos_id)  # whatever the template adds after </s> is no answer
        assert end - len(prompt) >= 2, "an answer has at least one token and its end of turn"
        labels[len(prompt) : end] = ids[len(prompt) : end]
    assert any(label != IGNORED for label in labels), "an example without an answer teaches nothing"
    return Example(chat.source, ids, labels)


def assemble(tokenizer: Tokenizer, sources: Sequence[tuple[DataSource, Read]], settings: Tuning, context: int) -> TuningData:
    """Split, encode and repeat the chats of every source; what does not fit the context is left out and counted.

    Args:
        context: the model's context, in tokens.
    Raises: ConfigError if `max_tokens` exceeds it; BadInput if nothing of a source is left to train on.
    """
    if settings.max_tokens > context:
        raise ConfigError(f"max_tokens = {settings.max_tokens}, but the model's context is {context} tokens")
    limit = settings.max_tokens or context
    training: list[Example] = []
    heldout: list[Example] = []
    counts: dict[str, dict[str, int]] = {}
    for source, matches in sources:
        chats = matches.chats
        sides = [[encode(tokenizer, chat) for chat in side] for side in split(chats, settings.heldout_share, settings.seed)]
        kept, existing = ([e for e in side if len(e.input_ids) <= limit] for side in sides)
        if not kept:
            raise BadInput(f"data source {source.label!r}: none of {len(chats)} chats fits {limit} tokens; raise max_tokens")
        training += kept * source.repeat
        heldout += existing
        counts[source.label] = {
            "records": len(chats) + matches.empty + matches.not_chosen,
            "training": len(kept),
            "heldout": len(existing),
            "too_long": len(chats) - len(kept) - len(existing),
            "empty": matches.empty,
            "not_chosen": matches.not_chosen,
            "repeat": source.repeat,
            "tokens": sum(len(e.input_ids) for e in kept),
            "answer_tokens": sum(e.answer_tokens for e in kept),
        }
    return TuningData(training, heldout, tokenizer.pad_id, counts)


def split(chats: Sequence[Chat], share: float, seed: int) -> tuple[list[Chat], list[Chat]]:
    """Training and held-out chats; the hash of the question decides, so equal questions stay on one side.

    At least one chat goes to each side where there are two different questions.

    Raises: BadInput if all chats ask the same.
    """
    mixed = {chat.key: hashlib.sha256(b"%d" % seed + chat.key).digest() for chat in chats}
    if len(mixed) < 2:
        raise BadInput(f"data source {chats[0].source!r}: one question only; at least two are needed to hold one out")
    order = sorted(mixed, key=lambda key: mixed[key])
    heldout = set(order[: min(max(round(share * len(order)), 1), len(order) - 1)])
    return [c for c in chats if c.key not in heldout], [c for c in chats if c.key in heldout]
