"""Instruction files, dialogues and Tatoeba pairs become chats; a line nobody can use stops the run and is named."""

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.settings import INSTRUCTIONS, DataSource
from pipeline.errors import BadInput, MissingInput

Message = dict[str, str]  # role and content, as chat templates take them

ROLES = {
    "user": "user",
    "human": "user",
    "agent": "assistant",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
}
# Ways to ask for a translation; each pair takes one by hash.
TRANSLATE = (
    "次の文を英語に訳してください。\n{}",
    "次の日本語を英訳してください。\n{}",
    "「{}」を英語にしてください。",
    "「{}」は英語で何と言いますか？",
    "英語に翻訳してください：{}",
)


@dataclass(frozen=True)
class Chat:
    """One conversation, ending with an answer."""

    source: str
    messages: tuple[Message, ...]

    @property
    def key(self) -> bytes:
        """Hash of everything said before the last answer: equal questions fall on the same side of the split."""
        asked = "\0".join(f"{m['role']}\0{m['content']}" for m in self.messages[:-1])
        return hashlib.sha256(asked.encode()).digest()


def file_of(source: DataSource, fetched: Path | None) -> Path:
    """The file that `source` reads; `fetched` is the data folder of the fetch artifact.

    Raises: MissingInput if there is no such file.
    """
    if source.kind == "tatoeba":
        if fetched is None:
            raise MissingInput(f"data source {source.label}: Tatoeba comes from the fetch artifact; run `make fetch` first")
        path = fetched / "tatoeba" / "SENTENCES"
    else:
        path = source.path or INSTRUCTIONS
    if not path.is_file():
        raise MissingInput(f"{path}: no such file; data source {source.label!r} (kind {source.kind!r}) reads it")
    return path


@dataclass(frozen=True)
class Read:
    """One source's chats; records = chats + empty + not_chosen."""

    chats: list[Chat]
    empty: int  # records without a question or an answer
    not_chosen: int  # more than `count` asked for


def read(source: DataSource, path: Path) -> Read:
    """All chats of one source, in file order, or the `count` with the smallest hashes.

    Raises: BadInput naming file and line where a record cannot be understood, or if no record has an answer.
    """
    readers = {"instructions": _instructions, "jsonl": _instructions, "dialogues": _dialogues, "tatoeba": _tatoeba}
    records = list(readers[source.kind](source, path))
    chats = [Chat(source.label, messages) for messages in records if messages]
    if not chats:
        raise BadInput(
            f"{path}: no question with an answer in {len(records)} record(s); data source {source.label!r} needs some"
        )
    chosen = chats
    if source.count and source.count < len(chats):
        keys = {id(chat) for chat in sorted(chats, key=lambda chat: chat.key)[: source.count]}
        chosen = [chat for chat in chats if id(chat) in keys]
    return Read(chosen, len(records) - len(chats), len(chats) - len(chosen))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """`file:line` and text of each line that is not blank."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise BadInput(f"{where}: not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8") from error
            if text.strip():
                yield where, text


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, text in _lines(path):
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInput(f"{where}: not JSON ({error.msg} at column {error.colno}); expected one object a line") from error
        if not isinstance(record, dict):
            raise BadInput(f"{where}: expected a JSON object, got {type(record).__name__}")
        yield where, record


def _text(record: dict[str, Any], key: str, where: str, *, required: bool = True) -> str:
    value = record.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        result = "nothing" if key not in record else repr(value)[:60]
        raise BadInput(f"{where}: expected text under {key!r}, found {result}; the record has the keys {sorted(record)}")
    return _clean(value, where)


def _clean(text: str, where: str) -> str:
    """Text in the corpus's normal form (NFC), without space around it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{where}: lone surrogate U+{ord(text[error.start]):04X}, not Unicode text; mend the line") from error
    return unicodedata.normalize("NFC", text).strip()


# Each reader yields a record's messages, or () where it has no question or no answer.


def _instructions(source: DataSource, path: Path) -> Iterator[tuple[Message, ...]]:
    for where, record in _records(path):
        task, answer = _text(record, source.instruction, where), _text(record, source.output, where)
        context = _text(record, source.input, where, required=False)
        asked = f"{task}\n\n{context}" if context else task
        yield (user(asked), assistant(answer)) if task and answer else ()


def _dialogues(source: DataSource, path: Path) -> Iterator[tuple[Message, ...]]:
    """`{"utterances": [{"name": "user", "text": …}, {"name": "agent", "text": …}]}` (megagonlabs/instruction_ja)."""
    del source
    for where, record in _records(path):
        turns = record.get("utterances")
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise BadInput(f"{where}: expected a list of turns under 'utterances'; the record has the keys {sorted(record)}")
        messages = []
        for turn in turns:
            name = _text(turn, "name", where)
            if name not in ROLES:
                raise BadInput(f"{where}: unknown speaker {name!r}; known: {sorted(ROLES)}")
            messages.append({"role": ROLES[name], "content": _text(turn, "text", where)})
        while messages and messages[-1]["role"] != "assistant":  # a question that nobody answered teaches nothing
            messages.pop()
        yield tuple(messages) if len(messages) > 1 and all(m["content"] for m in messages) else ()


def user(content: str) -> Message:
    """What a person says."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """What the model answers."""
    return {"role": "assistant", "content": content}


def _tatoeba(source: DataSource, path: Path) -> Iterator[tuple[Message, ...]]:
    """Fields by tab: id, Japanese, English, …; "-" where there is no translation."""
    del source
    for where, line in _lines(path):
        fields = line.split("\t")
        if len(fields) < 3 or not fields[1].strip():
            raise BadInput(f"{where}: expected id, Japanese and English by tab, found {len(fields)} field(s): {line[:40]!r}")
        japanese, english = _clean(fields[1], where), _clean(fields[2], where)
        ask = TRANSLATE[hashlib.sha256(japanese.encode()).digest()[0] % len(TRANSLATE)]
        yield (user(ask.format(japanese)), assistant(english)) if english not in ("", "-") else ()
