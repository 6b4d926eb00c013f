"""From a source to shards, from a shard to raw documents, from a source to the digest of what it reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from corpus.readers.records import DroppedRecord, RawDocument, Shard, SourceSettings
from pipeline.errors import MissingInput
from pipeline.files import digest_files, digest_json

# Which files of a folder each reader takes where the source does not say.
DEFAULT_GLOBS = {
    "html": ("**/*.html", "**/*.htm", "**/*.xhtml"),
    "man": ("**/man[1-9]*/*",),
    "warc": ("**/*.warc.gz", "**/*.warc"),
    "jsonl": ("**/*.jsonl", "**/*.jsonl.gz"),
    "parquet": ("**/*.parquet",),
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
    """Digest of everything a source reads: file contents, or the name and revision of a dataset of the Hub.

    Args:
        fetched: data folder of the fetch artifact, for sources that read it.
        memory: see `pipeline.files.digest_files`.
    Raises: MissingInput.
    """
    if source.dataset:
        return digest_json([source.dataset, source.config, source.split, source.revision])
    base, files = source_files(source, fetched)
    return digest_files(files, base=base, memory=memory)


def plan_shards(source: SourceSettings, fetched: Path | None = None) -> list[Shard]:
    """Cut a source into shards, the same ones every time.

    Raises: MissingInput if files are not there; BadInput if they are of another kind; ExternalServiceError (Hub).
    """
    if source.reader == "datasets":
        from corpus.readers.hub import count_parts

        base = (source.path or Path()).absolute()
        if source.path:
            source_files(source, None)
        return _name([((), part, part + 1) for part in range(count_parts(source))], source, base)
    base, files = source_files(source, fetched)
    names = [str(path) for path in files]
    pieces: list[tuple[tuple[str, ...], int, int]] = []
    if source.reader in ("html", "man"):
        size = source.shard_documents
        pieces = [(tuple(names[begin : begin + size]), 0, 0) for begin in range(0, len(names), size)]
    elif source.reader == "tatoeba":
        from corpus.readers.tatoeba import count_documents

        for path, name in zip(files, names, strict=True):
            total, size = count_documents(path, source.sentences), source.shard_documents
            begins = range(0, max(total, 1), size)
            pieces += [((name,), begin, begin + size if begin + size < total else 0) for begin in begins]
    elif source.reader == "parquet":
        from corpus.readers.rows import plan_parquet

        pieces = [((str(path),), *groups) for path in files for groups in plan_parquet(source, path)]
    else:
        pieces = [((name,), 0, 0) for name in names]
    return _name(pieces, source, base)


def read_shard(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """What a shard holds, lazily and always in the same order; damage is a dropped record, never an exception."""
    match shard.source.reader:
        case "html":
            from corpus.readers.folders import read_folder

            return read_folder(shard, "html")
        case "man":
            from corpus.readers.folders import read_folder

            return read_folder(shard, "roff")
        case "warc":
            from corpus.readers.warc import read_warc

            return read_warc(shard)
        case "jsonl":
            from corpus.readers.rows import read_jsonl

            return read_jsonl(shard)
        case "parquet":
            from corpus.readers.rows import read_parquet

            return read_parquet(shard)
        case "tatoeba":
            from corpus.readers.tatoeba import read_tatoeba

            return read_tatoeba(shard)
        case "datasets":
            from corpus.readers.hub import read_dataset

            return read_dataset(shard)


def source_files(source: SourceSettings, fetched: Path | None) -> tuple[Path, list[Path]]:
    """The folder that urls are relative to, and the files of a source in name order; links are left out.

    Raises: MissingInput, naming what is not there.
    """
    if source.fetched:
        if fetched is None:
            raise MissingInput(
                f"source {source.name!r} reads fetched files, and there is no fetch artifact; `make fetch` first"
            )
        base, globs = fetched.absolute(), source.fetched
    else:
        assert source.path is not None  # SourceSettings has seen to it
        base, globs = source.path.absolute(), source.glob or DEFAULT_GLOBS[source.reader]
        if base.is_file():
            return base.parent, [base]
        if not base.is_dir():
            raise MissingInput(
                f"source {source.name!r}: {source.path} is neither a file nor a folder; see `path` in the run file"
            )
    left_out = {path for pattern in source.exclude for path in base.glob(pattern)}
    found = {path for pattern in globs for path in base.glob(pattern) if path.is_file() and not path.is_symlink()}
    files = sorted(found - left_out, key=lambda path: path.relative_to(base).as_posix())
    if not files:
        raise MissingInput(f"source {source.name!r}: no file below {base} matches {list(globs)}")
    return base, files


def _name(pieces: list[tuple[tuple[str, ...], int, int]], source: SourceSettings, base: Path) -> list[Shard]:
    return [
        Shard(f"{source.name}-{number:05d}", source, files, str(base), begin, end)
        for number, (files, begin, end) in enumerate(pieces)
    ]
