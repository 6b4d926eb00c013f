"""Conversation → token ids, so that nothing a person types can become a control token.

The chat template that ships with the model says which control tokens are where; it is rendered once with a mark
in place of every message's text. What the template wrote is encoded with control tokens, each text without.
"""

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from bots.serve.request import ApiError
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Prompter:
    """Encodes conversations for one model; a model without chat template continues the last message."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, chat: bool) -> None:
        """Args: chat: whether the model was tuned on its chat template; a pretrained one was not.

        Raises: BadInput if the tokenizer makes control tokens of typed text, or has no chat template.
        """
        self._tokenizer, self._chat = tokenizer, chat
        self.control = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        forged = set(self.text(" ".join(self.control.values()))) & self.control.keys()
        if forged:
            raise BadInput(f"tokenizer: typed text becomes control tokens {[self.control[i] for i in sorted(forged)][:3]}")
        if chat and not tokenizer.chat_template:
            raise BadInput("tokenizer: no chat_template.jinja beside the model, which a tuned model needs")

    def text(self, text: str) -> list[int]:
        """Ids of a person's text: control tokens in it are mere characters."""
        return self._ids(text, split_special_tokens=True)

    def encode(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Ids of a conversation, up to where the model's next word belongs.

        Args: messages: (role, text) rows.
        Raises: ApiError 400 if the template refuses the order of roles.
        """
        if not self._chat:
            # In pretraining a document follows the </s> of the one before it.
            return self._ids(str(self._tokenizer.eos_token)) + self.text(messages[-1][1])
        import jinja2

        # Letters and digits pass every template filter unchanged; nobody can guess the random part.
        key = secrets.token_hex(8)
        marks = [f"mark{key}x{i:06}x" for i in range(len(messages))]
        rows = [{"role": role, "content": mark} for (role, _), mark in zip(messages, marks, strict=True)]
        try:
            rest = self._tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise ApiError(400, f"messages: the model's chat template refuses them: {error}", param="messages") from error
        assert isinstance(rest, str)
        ids: list[int] = []
        for (_, content), mark in zip(messages, marks, strict=True):
            if mark not in rest:  # a template may leave messages out
                continue
            before, rest = rest.split(mark, 1)
            ids += self._ids(before) + self.text(content)
        return ids + self._ids(rest)

    def _ids(self, text: str, **options: Any) -> list[int]:
        return cast("list[int]", self._tokenizer(text, add_special_tokens=False, **options)["input_ids"])
