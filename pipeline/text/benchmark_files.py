"""Items of evaluation benchmarks: SQuAD-like JSON, a list of records, llm-jp-eval's samples, or JSONL; also gzipped."""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import BadInput, ConfigError, MissingInput

# Fields read where the settings name none: JGLUE (JSQuAD, JCommonsenseQA, JSTS, JNLI, MARC-ja, JCoLA), JAQKET, NIILC,
# llm-jp-eval (input), MT-Bench (turns), instruction sets. Answers and choices are words that any text may hold.
KNOWN_FIELDS = ("question", "context", "sentence", "sentence1", "sentence2", "input", "instruction", "prompt", "turns", "text")
# Fields that name an item, in the order they are looked for; a record without any is named by its row.
ID_FIELDS = ("id", "q_id", "qid", "question_id", "sentence_pair_id", "uid", "ID")


class Passage(NamedTuple):
    """One text of one benchmark item."""

    file: str  # name of the file
    item: str
    field: str
    text: str


def read_passages(path: Path, fields: tuple[str, ...] = ()) -> list[Passage]:
    """All texts of a benchmark file in `fields`, or in those of the known layouts; repeats within an item once.

    Raises: MissingInput if there is no such file; BadInput if it is not JSON or JSONL; ConfigError if no record has such
        fields.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such benchmark file; corpus.decontaminate.files lists it")
    records = list(_records(_parse(path)))
    keys = {key for _, record in records for key in record}
    chosen = fields or tuple(field for field in KNOWN_FIELDS if field in keys)
    if not keys & set(chosen):
        wanted = list(fields or KNOWN_FIELDS)
        raise ConfigError(f"{path}: fields {sorted(keys)}, none of {wanted}; name one in corpus.decontaminate.fields")
    passages = [
        Passage(path.name, name, field, text)
        for name, record in records
        for field in chosen
        for text in dict.fromkeys(_texts(record.get(field)))
    ]
    return list(dict.fromkeys(passages))


def _parse(path: Path) -> Any:
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not readable as UTF-8: {error}; expected JSON or JSONL") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [_parse_row(path, number, row) for number, row in enumerate(text.split("\n"), 1) if row.strip()]


def _parse_row(path: Path, number: int, row: str) -> Any:
    try:
        return json.loads(row)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{number}: not JSON: {error}; expected one record a line") from error


def _records(parsed: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and fields of every record."""
    if isinstance(parsed, dict):
        inner = next((parsed[key] for key in ("data", "samples") if isinstance(parsed.get(key), list)), [parsed])
        yield from _records(inner)
        return
    for number, record in enumerate(parsed if isinstance(parsed, list) else []):
        if not isinstance(record, dict):
            continue
        if isinstance(record.get("paragraphs"), list):
            yield from _squad(record)
        else:
            yield str(next((record[key] for key in ID_FIELDS if key in record), f"row {number}")), record


def _squad(article: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, paragraph in enumerate(article["paragraphs"]):
        yield f"{article.get('title', '')} {number}", {"context": paragraph.get("context")}
        for question in paragraph.get("qas", []):
            answers = [answer.get("text") for answer in question.get("answers", [])]
            yield str(question.get("id", "")), {"question": question.get("question"), "answers": answers}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
