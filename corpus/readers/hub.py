"""Datasets of the Hugging Face Hub, or a local folder in the same form, streamed by `datasets`: nothing is copied to disk."""

from collections.abc import Iterator
from typing import Any

from corpus.readers.jsonl import document_of_row
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings
from pipeline.errors import BadInput, ExternalServiceError


def count_parts(source: SourceSettings) -> int:
    """How many files the split has: each is read by one task.

    Raises: ExternalServiceError if the Hub cannot be reached; BadInput if it has no such dataset or split.
    """
    return _open(source).num_shards


def read_dataset(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """Documents of one file of the split, in its order."""
    source = shard.source
    dataset = _open(source)
    parts = dataset.num_shards
    rows = iter(dataset.shard(num_shards=parts, index=shard.begin))
    share = -(-source.rows // parts)
    name = source.dataset or source.name
    index = f"{name}/{source.config}/{source.split}" if source.config else f"{name}/{source.split}"
    try:
        for number, row in enumerate(rows, 1):
            if source.rows and number > share:
                return
            yield document_of_row(row, source, f"{index}/{shard.begin}#{number}")
    except _unreachable() as error:
        raise ExternalServiceError(
            f"source {source.name!r}: the Hub broke off {index} ({_first(error)}); run again, finished shards stay"
        ) from error


def _unreachable() -> tuple[type[Exception], ...]:
    """What datasets, its HTTP client and older ones raise when the network fails."""
    import httpx2
    import requests

    return (ConnectionError, TimeoutError, requests.RequestException, httpx2.HTTPError)


def _open(source: SourceSettings) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    where = source.dataset or source.path
    try:
        return datasets.load_dataset(
            where, source.config or None, split=source.split, revision=source.revision or None, streaming=True
        )
    except _unreachable() as error:
        raise ExternalServiceError(
            f"source {source.name!r}: the Hub did not give {where} ({_first(error)}); try again"
        ) from error
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        raise BadInput(f"source {source.name!r}: no dataset {where} with split {source.split!r} ({_first(error)})") from error


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
