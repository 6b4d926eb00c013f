"""Texts of evaluation benchmarks: JSON, JSON lines, plain lines; also gzipped.

A `.txt` file has a text a line; in every other one that is JSON, each string of a record is a text, at any depth (SQuAD's
layout too), but for those that name a record.
"""

import gzip
import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import BadInput, ConfigError, MissingInput

# Fields that name a record, in the order they are looked for; a record without any is named by its row.
ID_FIELDS = ("id", "q_id", "qid", "question_id", "sentence_pair_id", "uid", "ID")
LINE = "line"  # field of a plain line
_JSON, _TEXT = (".json", ".jsonl", ".ndjson"), (".txt",)


class Item(NamedTuple):
    """One text of a benchmark."""

    name: str  # of its record
    field: str  # where it stands in the record, "." between levels
    text: str  # NFC, without white space around it, never empty


def read_items(path: Path, fields: Sequence[str] = ()) -> list[Item]:
    """All texts of a benchmark file; repeats within a record once.

    Args:
        fields: names, or whole paths, of the fields to read; all strings where left out.
    Raises: MissingInput if there is no such file; BadInput if it is not UTF-8, not the JSON that it should be, or without
        a text; ConfigError if no record has such a field.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such benchmark file; give one of JSON, JSON lines or plain lines")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not readable as UTF-8: {error}; expected JSON, JSON lines or plain lines") from error
    try:
        found = [item for name, record in _records(path, text) for item in _strings(record, name, "")]
    except RecursionError as error:
        raise BadInput(f"{path}: JSON nested too deep to read; expected records with strings") from error
    present = sorted({item.field for item in found})
    if fields:
        found = [item for item in found if item.field in fields or item.field.rpartition(".")[2] in fields]
    else:
        found = [item for item in found if item.field.rpartition(".")[2] not in ID_FIELDS]
    if fields and present and not found:
        raise ConfigError(f"{path}: fields {present}, none of {list(fields)}; name some of them")
    items = list(dict.fromkeys(item for item in (_normal(path, item) for item in found) if item.text))
    if not items:
        raise BadInput(f"{path}: no text in it; expected records with strings, or lines")
    return items


def _records(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Name and value of every record."""
    suffix = (path.suffixes[-2:-1] or [""])[0] if path.suffix == ".gz" else path.suffix
    if suffix not in _JSON and (suffix in _TEXT or text.lstrip()[:1] != "{"):
        yield from ((str(number), {LINE: line}) for number, line in enumerate(text.splitlines(), 1))
        return
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        rows = enumerate(text.split("\n"), 1)
        yield from ((str(number), _row(path, number, row)) for number, row in rows if row.strip())
    else:
        yield from ((str(number), record) for number, record in enumerate(whole if isinstance(whole, list) else [whole], 1))


def _row(path: Path, number: int, row: str) -> Any:
    try:
        return json.loads(row)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{number}: not JSON: {error}; expected one record a line") from error


def _strings(value: Any, name: str, field: str, *, named: bool = False) -> Iterator[Item]:
    """Every string in a JSON value.

    Args:
        name: of the nearest record around it that has one; of others, its row and its place in each list.
        named: whether a record around it has one.
    """
    if isinstance(value, str):
        yield Item(name, field, value)
    elif isinstance(value, dict):
        own = next((str(value[key]) for key in ID_FIELDS if isinstance(value.get(key), str | int)), None)
        for key, inner in value.items():
            yield from _strings(inner, own or name, f"{field}.{key}" if field else key, named=named or own is not None)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            one = name if named or isinstance(inner, str) else f"{name}/{number}"
            yield from _strings(inner, one, field, named=named)


def _normal(path: Path, item: Item) -> Item:
    made = unicodedata.normalize("NFC", item.text).strip()
    try:
        made.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{path}: {item.field} of {item.name!r} is no Unicode text: {error.reason} at character {error.start}; mend it"
        ) from error
    return item._replace(text=made)
