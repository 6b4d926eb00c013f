"""Where and when the occurrences of a string were read, as machine code; `occurrences` and `exposure` call it.

m offsets in a shard's text, D documents, S sources, B buckets of iterations.
"""

from typing import Any

import numpy as np

from pipeline.compiled import compiled, inlined
from search.exact.kernels import is_in_ranges
from search.shard.reads import part_at


@inlined
def _find_document(document_begins: Any, offset: int, before: int) -> Any:
    """Number of the document that an offset is in, which is `before` or a later one."""
    if offset < document_begins[before + 1]:
        return before
    first, last = before + 1, len(document_begins) - 1
    while last - first > 1:
        middle = (first + last) >> 1
        if document_begins[middle] <= offset:
            first = middle
        else:
            last = middle
    return first


@compiled
def find_reads(offsets: Any, size: int, shard: Any, discarded: Any, documents: Any) -> Any:
    """Find the documents of a string's occurrences, and when they were read.

    Args:
        offsets: (m,) int64, where the string occurs, ascending; size: its bytes.
        shard: (where documents begin in its text, `search.shard.reads.ReadsArrays`).
        discarded: (U, 2) int64 ranges of iterations, ascending and disjoint, that do not count.
        documents: (m,) int64, filled with the numbers of the documents, each once, ascending.
    Returns: (documents, first, last): how many documents; the first and last iteration of all epochs that read a byte of an
        occurrence, 0 and 0 where none did.
    """
    document_begins, reads = shard
    count, first, last = 0, 0, 0
    document = 0
    for position in offsets:
        document = _find_document(document_begins, position, document)
        if count == 0 or documents[count - 1] != document:
            documents[count] = document
            count += 1
        offset = position - np.int64(document_begins[document])
        for epoch in range(reads.documents[document], reads.documents[document + 1]):
            part = part_at(reads.begins, reads.epochs[epoch], reads.epochs[epoch + 1], offset)
            while part < reads.epochs[epoch + 1] and reads.begins[part] < offset + size:
                iteration = np.int64(reads.iterations[part])
                part += 1
                if iteration == 0 or is_in_ranges(iteration, discarded):
                    continue
                last = max(last, iteration)
                first = iteration if first == 0 else min(first, iteration)
    return count, first, last


@compiled
def count_reads(offsets: Any, shard: Any, discarded: Any, sources: Any, width: int, counts: Any) -> Any:
    """Count every occurrence once in each epoch, in the iteration that read its first byte.

    Args:
        offsets, shard, discarded: as for `find_reads`.
        sources: (D,) integers: the source of each document.
        counts: (S, B) int64, added to: iteration i falls into bucket (i - 1) // width.
    Returns: (unread, discarded, first, last): how often no iteration read it, how often one that does not count; the first and
        last that does, 0 and 0 where none.
    """
    document_begins, reads = shard
    unread, lost, first, last = 0, 0, 0, 0
    document = 0
    for position in offsets:
        document = _find_document(document_begins, position, document)
        offset = position - np.int64(document_begins[document])
        for epoch in range(reads.documents[document], reads.documents[document + 1]):
            part = part_at(reads.begins, reads.epochs[epoch], reads.epochs[epoch + 1], offset)
            iteration = np.int64(reads.iterations[part])
            if iteration == 0:
                unread += 1
            elif is_in_ranges(iteration, discarded):
                lost += 1
            else:
                counts[sources[document], (iteration - 1) // width] += 1
                last = max(last, iteration)
                first = iteration if first == 0 else min(first, iteration)
    return unread, lost, first, last
