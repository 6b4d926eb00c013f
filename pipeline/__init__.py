"""What the stages share: run files, artifacts, documents, shards, progress, errors, compiled kernels. Imports none of them.

errors.py         the errors that a user can cause and fix
files.py          atomic writes, digests of files
runfile.py        a run file -> one frozen dataclass of settings per table
cli.py            the command line of every stage
artifact.py       the sealed output folder of a stage: fingerprint, receipts, manifest
documents.py      the Parquet schema of documents, and which documents are held out from training
reading_order.py  which training iteration read which document: the files and their reader
shards.py         one Ray task per shard, resumed by receipt; the only file that imports ray
progress.py       progress on the terminal and in events.jsonl
compiled.py       the numba decorators of every kernel; the only file here that imports numba
listening.py      the listening socket of our HTTP servers
plan.py           `make plan`: every stage of a run with --dry-run
clean.py          `make clean`: artifacts of a run removed, whole or not at all
verify.py         `make verify`: hashes of all artifacts of a run, and the digests between stages
text/             text handling that several stages share

Importing this package loads no heavy library.
"""
