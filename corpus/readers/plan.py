"""From a source to shards, from a shard to raw documents, from a source to the digest of what it reads."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from corpus.readers.places import files_below, join, list_place, open_file, relative, size_of
from corpus.readers.remote import checksum_of, is_url
from corpus.readers.streams import BrokenStream, chunks
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings
from pipeline.errors import BadInput, MissingInput
from pipeline.files import digest_files, digest_json

# Which files of a folder each reader takes where the source does not say.
DEFAULT_GLOBS = {
    "html": ("**/*.html", "**/*.htm", "**/*.xhtml"),
    "man": ("**/man[1-9]*/*",),
    "warc": ("**/*.warc.gz", "**/*.warc.zst", "**/*.warc"),
    "wet": ("**/*.warc.wet.gz", "**/*.wet.gz", "**/*.wet.zst", "**/*.wet"),
    "jsonl": ("**/*.jsonl", "**/*.jsonl.gz", "**/*.jsonl.zst", "**/*.json.gz"),
    "parquet": ("**/*.parquet",),
    "wikipedia": ("**/*.xml", "**/*.xml.bz2", "**/*.xml.gz"),
    "aozora": ("**/*.txt", "**/*.zip"),
    "tatoeba": ("**/SENTENCES",),
    "datasets": ("**/*",),
}


def needs_fetch(sources: Iterable[SourceSettings]) -> bool:
    """Whether a source reads the run's fetch artifact."""
    return any(source.fetched for source in sources)


def licences_of_source(source: SourceSettings) -> dict[str, str]:
    """The row of a manifest's licences."""
    return {"source": source.name, "licence": source.licence, "attribution": source.attribution}


def input_digest(source: SourceSettings, fetched: Path | None = None, memory: Path | None = None) -> str:
    """Digest of everything a source reads.

    Of local files: their contents. Of remote ones: name, size and the checksum that the store gives (ETag, MD5, CRC32C), or
    the content's where it gives none. Of a list (`paths`) of remote files: the names, for Common Crawl's files never change
    and a month has 90,000 of them. Of a dataset of the Hub: its name and revision.

    Args:
        fetched: data folder of the fetch artifact, for sources that read it.
        memory: see `pipeline.files.digest_files`.
    Raises: MissingInput.
    """
    if source.dataset:
        return digest_json([source.dataset, source.config, source.split, source.revision])
    base, files = source_files(source, fetched)
    if not is_url(base):
        return digest_files([Path(name) for name in files], base=Path(base), cache=memory)
    return digest_json([relative(name, base) for name in files] if source.paths else _input_rows(base, files))


def plan_shards(source: SourceSettings, fetched: Path | None = None) -> list[Shard]:
    """Cut a source into shards, the same ones every time.

    Raises: MissingInput if files are not there; BadInput if they are of another kind; ExternalServiceError (Hub).
    """
    if source.reader == "datasets":
        from corpus.readers.hub import count_parts

        if source.path and not is_url(source.path):
            source_files(source, None)
        return _name([((), part, part + 1) for part in range(count_parts(source))], source, source.path)
    base, files = source_files(source, fetched)
    if source.reader in ("html", "man", "aozora"):
        size = source.shard_documents
        return _name([(tuple(files[begin : begin + size]), 0, 0) for begin in range(0, len(files), size)], source, base)
    return _name([((name,), *part) for name in files for part in _parts(source, name)], source, base)


def _parts(source: SourceSettings, name: str) -> list[tuple[int, int]]:
    """Begin and end of each shard of one file."""
    match source.reader:
        case "tatoeba":
            from corpus.readers.tatoeba import count_documents

            total, size = count_documents(name, source.sentences), source.shard_documents
            return [(begin, begin + size if begin + size < total else 0) for begin in range(0, max(total, 1), size)]
        case "parquet":
            from corpus.readers.parquet import plan_parquet

            return plan_parquet(source, name)
        case "jsonl":
            from corpus.readers.jsonl import COMPRESSED, plan_jsonl

            return [(0, 0)] if name.endswith(COMPRESSED) else plan_jsonl(size_of(name), source.shard_bytes)
        case "wikipedia":
            from corpus.readers.wikipedia import plan_dump

            return plan_dump(name, source.shard_bytes // 4)
        case _:
            return [(0, 0)]


def read_shard(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """What a shard holds, lazily and always in the same order; damage is a dropped record, never an exception."""
    match shard.source.reader:
        case "html":
            from corpus.readers.folders import read_folder

            return read_folder(shard, "html")
        case "man":
            from corpus.readers.folders import read_folder

            return read_folder(shard, "roff")
        case "aozora":
            from corpus.readers.folders import read_aozora

            return read_aozora(shard)
        case "warc" | "wet":
            from corpus.readers.warc import read_warc

            return read_warc(shard)
        case "jsonl":
            from corpus.readers.jsonl import read_jsonl

            return read_jsonl(shard)
        case "parquet":
            from corpus.readers.parquet import read_parquet

            return read_parquet(shard)
        case "wikipedia":
            from corpus.readers.wikipedia import read_dump

            return read_dump(shard)
        case "tatoeba":
            from corpus.readers.tatoeba import read_tatoeba

            return read_tatoeba(shard)
        case "datasets":
            from corpus.readers.hub import read_dataset

            return read_dataset(shard)


def source_files(source: SourceSettings, fetched: Path | None) -> tuple[str, list[str]]:
    """The folder or URL that urls of documents are relative to, and the files of a source in name order; no links.

    Raises: MissingInput, naming what is not there; ConfigError where a URL's package is not installed; ExternalServiceError.
    """
    globs = source.glob or DEFAULT_GLOBS[source.reader]
    if source.fetched:
        if fetched is None:
            raise MissingInput(
                f"source {source.name!r} reads fetched files, and there is no fetch artifact; `make fetch` first"
            )
        base, globs = str(fetched.absolute()), source.fetched
        files = sorted(files_below(Path(base), globs, source.exclude), key=lambda name: relative(name, base))
    elif source.paths:
        base, files = _listed(source)
    else:
        try:
            base, files = list_place(source.path, globs, source.exclude)
        except MissingInput as error:
            raise MissingInput(f"source {source.name!r}: {error}; see `path` in the run file") from error
    if not files:
        raise MissingInput(f"source {source.name!r}: no file below {base} matches {list(globs)}")
    return base, files[: source.take] if source.take else files


def _listed(source: SourceSettings) -> tuple[str, list[str]]:
    """The files that a list names, in its order, each after `prefix` (a URL, or a folder; none: the list's own folder)."""
    if not is_url(source.paths) and not Path(source.paths).is_file():
        raise MissingInput(f"source {source.name!r}: no list of files at {source.paths}; see `paths` in the run file")
    with open_file(source.paths) as file:
        try:
            names = [name for line in b"".join(chunks(file, source.paths)).decode().splitlines() if (name := line.strip())]
        except (BrokenStream, UnicodeDecodeError) as error:
            raise BadInput(f"source {source.name!r}: {source.paths} is no list of files ({error})") from error
    base = source.prefix or str(Path(source.paths).absolute().parent)
    if not is_url(base):
        base = str(Path(base).absolute())
    return base, [join(base, name) for name in names]


def _input_rows(base: str, files: list[str]) -> list[list[str]]:
    """Name and checksum of remote files; the content's own sha256 where the store gives no checksum."""
    rows = []
    for name in files:
        known = checksum_of(name)
        if not known:
            with open_file(name) as file:
                result = hashlib.sha256()
                for part in chunks(file, ""):
                    result.update(part)
            known = result.hexdigest()
        rows.append([relative(name, base), known])
    return rows


def _name(pieces: list[tuple[tuple[str, ...], int, int]], source: SourceSettings, base: str) -> list[Shard]:
    return [
        Shard(name=f"{source.name}-{number:05d}", source=source, files=files, base=base, begin=begin, end=end)
        for number, (files, begin, end) in enumerate(pieces)
    ]
