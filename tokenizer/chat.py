"""A conversation as token ids: `<|user|>\\n…</s><|assistant|>\\n…</s>`.

Two forms of the same thing: `encode_chat`, in which nothing a person types can become a control token, and
`CHAT_TEMPLATE`, which transformers, TRL and vLLM render. Their ids are equal for text without control tokens' names.
"""

from collections.abc import Mapping, Sequence

from pipeline.errors import BadInput
from tokenizer.encode import Tokenizer
from tokenizer.symbols import EOS, ROLE_IDS, ROLES

TEMPLATE_FILE = "chat_template.jinja"

# `generation` marks what the model is trained on: the assistant's words and the </s> that ends them.
CHAT_TEMPLATE = f"""\
{{%- for message in messages -%}}
{{%- if message['role'] not in {list(ROLES)} -%}}
{{{{- raise_exception('unknown role: ' + message['role']) -}}}}
{{%- endif -%}}
{{{{- '<|' + message['role'] + '|>\\n' -}}}}
{{%- if message['role'] == 'assistant' -%}}
{{%- generation -%}}{{{{- message['content'] + '{EOS}' -}}}}{{%- endgeneration -%}}
{{%- else -%}}
{{{{- message['content'] + '{EOS}' -}}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}
{{{{- '<|assistant|>\\n' -}}}}
{{%- endif -%}}
"""


def encode_chat(tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = False) -> list[int]:
    """Ids of a conversation; role markers and contents are encoded apart.

    Args:
        messages: each with `role` (system, user, assistant) and `content`.
        add_generation_prompt: end with the opening of an assistant's turn.
    Raises: BadInput on a message without role or content, or with another role.
    """
    newline = tokenizer.encode("\n")
    ids: list[int] = []
    for place, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLE_IDS or not isinstance(content, str):
            raise BadInput(
                f"messages[{place}]: role {role!r} with content of type {type(content).__name__}; "
                f"expected a role of {list(ROLES)} and text"
            )
        ids += [ROLE_IDS[role], *newline, *tokenizer.encode(content), tokenizer.eos_id]
    if add_generation_prompt:
        ids += [ROLE_IDS["assistant"], *newline]
    return ids
