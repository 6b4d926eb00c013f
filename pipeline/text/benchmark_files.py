"""Reads the texts of evaluation benchmarks: JSON, JSON Lines, CSV, TSV, Parquet and plain text; JSON and text also gzipped.

The one reader for decontamination of the corpus and for `make contamination`, so that both look for the same texts.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import BadInput, ConfigError, MissingInput

# Fields read where none is named: JGLUE (JSQuAD, JCommonsenseQA, JSTS, JNLI, MARC-ja, JCoLA), JAQKET, NIILC,
# JCommonsenseMorality (sent), llm-jp-eval (input), MT-Bench (turns), instruction sets. Choices and answers are short and
# occur in ordinary text: only by name.
KNOWN_FIELDS = (
    "question", "context", "sentence", "sentence1", "sentence2", "sent", "input", "instruction", "prompt", "turns", "text",
)  # fmt: skip
# Fields that identify an item, in the order they are looked for; they are never read as text.
ID_FIELDS = ("id", "q_id", "qid", "question_id", "sentence_pair_id", "uid", "ID")
LINE = "line"  # field name of the lines of a .txt file
SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
_MAX_CSV_FIELD_BYTES = 1 << 24  # a cell may hold a whole article; csv's own limit is 128 KiB

Record = tuple[str, Mapping[str, Any]]  # name of the item, its fields


class Passage(NamedTuple):
    """One text of one benchmark item."""

    file: str  # name of the file
    item: str
    field: str
    text: str


def read_passages(path: Path, fields: tuple[str, ...] = ()) -> list[Passage]:
    """Return all texts of a benchmark file in the chosen fields; a text repeated within one field of an item counts once.

    Args:
        path: the file; its suffix names the format (SUFFIXES, .gz after it); without a suffix it must be JSON.
        fields: names, full paths ("translation.ja") or patterns ("choice*") of the fields; (): KNOWN_FIELDS.
    Raises: MissingInput if there is no such file; BadInput if it is not readable in its format or has no text;
        ConfigError if no record has such a field, or if a field that identifies items is named.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such benchmark file")
    if ids := sorted(set(fields) & set(ID_FIELDS)):
        raise ConfigError(f"fields {ids}: they identify items and are not text; name the fields that hold the texts")
    names: dict[str, None] = {}
    passages: dict[Passage, None] = {}
    patterns = fields or ((LINE,) if _suffix(path) == ".txt" else KNOWN_FIELDS)
    try:
        for item, record in _records(path):
            for name, field, text in _strings(record, item, ""):
                names[field] = None
                if text.strip() and _is_chosen(field, patterns):
                    passages[Passage(path.name, name, field, _checked(path, name, field, text))] = None
    except RecursionError as error:
        raise BadInput(f"{path}: JSON nested too deep to read; expected records with strings") from error
    if names and not any(_is_chosen(field, patterns) for field in names):
        raise ConfigError(f"{path}: fields {sorted(names)}, none of {list(patterns)}; name one of the file's fields")
    if not passages:
        raise BadInput(f"{path}: no text in it; expected records with strings, or lines of text")
    return list(passages)


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _records(path: Path) -> Iterator[Record]:
    suffix = _suffix(path)
    if suffix not in (*SUFFIXES, ""):
        raise BadInput(f"{path}: format {suffix!r}; expected one of {', '.join(SUFFIXES)}, also with .gz")
    if suffix == ".parquet":
        yield from _parquet(path)
        return
    text = _decode(path)
    if suffix == ".txt":
        yield from ((str(number), {LINE: line.strip()}) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    elif suffix in (".csv", ".tsv"):
        yield from _delimited(path, text, "\t" if suffix == ".tsv" else ",")
    elif suffix == "" and text.lstrip()[:1] not in ("{", "["):
        raise BadInput(f"{path}: not JSON; give the file the suffix of its format: {', '.join(SUFFIXES)}")
    else:
        yield from _json_records(_parse(path, text))


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not readable as UTF-8: {error}") from error


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [_parse_row(path, number, row) for number, row in enumerate(text.split("\n"), 1) if row.strip()]


def _parse_row(path: Path, number: int, row: str) -> Any:
    try:
        return json.loads(row)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{number}: not JSON: {error}; expected one record a line") from error


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file: {error}") from error
    yield from _json_records(rows)


def _delimited(path: Path, text: str, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(_MAX_CSV_FIELD_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        for number, row in enumerate(reader):
            if row and len(row) != len(header):
                raise BadInput(f"{path}:{reader.line_num}: {len(row)} cells; the header has {len(header)}")
            record = dict(zip(header, row, strict=False))
            yield _item_name(record) or f"row {number}", record
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: not a table with {delimiter!r} between cells: {error}") from error


def _json_records(parsed: Any) -> Iterator[Record]:
    if isinstance(parsed, dict):
        inner = next((parsed[key] for key in ("data", "samples") if isinstance(parsed.get(key), list)), [parsed])
        yield from _json_records(inner)
        return
    for number, record in enumerate(parsed if isinstance(parsed, list) else []):
        if isinstance(record, str):
            yield f"row {number}", {"text": record}
        elif isinstance(record, dict) and isinstance(record.get("paragraphs"), list):
            yield from _squad(record)
        elif isinstance(record, dict):
            yield _item_name(record) or f"row {number}", record


def _squad(article: Mapping[str, Any]) -> Iterator[Record]:
    """The layout of SQuAD: articles with paragraphs, each with a context and its questions."""
    for number, paragraph in enumerate(article["paragraphs"]):
        if not isinstance(paragraph, dict):
            continue
        yield f"{article.get('title', '')} {number}", {"context": paragraph.get("context")}
        questions = paragraph.get("qas")
        for question in questions if isinstance(questions, list) else []:
            if isinstance(question, dict):
                given = question.get("answers")
                answers = [a.get("text") for a in given if isinstance(a, dict)] if isinstance(given, list) else []
                yield str(question.get("id", "")), {"question": question.get("question"), "answers": answers}


def _item_name(record: Mapping[str, Any]) -> str:
    """The value of the record's first field that identifies it; "" if it has none."""
    return next((str(record[key]) for key in ID_FIELDS if isinstance(record.get(key), str | int)), "")


def _strings(value: Any, item: str, field: str) -> Iterator[tuple[str, str, str]]:
    """Every string inside a JSON value: the nearest item around it, its path of field names joined by ".", the text."""
    if isinstance(value, str):
        yield item, field, value
    elif isinstance(value, Mapping):
        own = (_item_name(value) if field else "") or item
        for key, inner in value.items():
            if key not in ID_FIELDS:
                yield from _strings(inner, own, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, item, field)


def _is_chosen(field: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(field, pattern) or fnmatchcase(field.rpartition(".")[2], pattern) for pattern in patterns)


def _checked(path: Path, item: str, field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{path}: {field} of {item!r} is not valid Unicode: {error.reason} at character {error.start}; correct the file"
        ) from error
    return text
