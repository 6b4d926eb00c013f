"""PageHeader headers of a Parquet column: Thrift's compact protocol, as far as sizes need it.

Formats: https://github.com/apache/parquet-format (PageHeader in parquet.thrift) and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md .
"""

from dataclasses import dataclass
from typing import IO, Any

# A header is some 30 bytes, or a few times the longest value if the writer put least and greatest values into it.
_HEADER = 1 << 12
_MAX_HEADER = 1 << 20
_STRUCT, _LIST, _SET, _MAP, _BINARY, _DOUBLE, _BYTE = 12, 9, 10, 11, 8, 7, 3
_DICTIONARY_PAGE = 2
_MAX_DEPTH = 8


@dataclass(frozen=True)
class PageHeader:
    """What a page header says."""

    size: int  # bytes when decompressed
    values: int  # of a dictionary page: its entries
    dictionary: bool


def pages_of_chunk(file: IO[bytes], begin: int, end: int) -> list[PageHeader]:
    """All pages between two offsets of a file, their content skipped.

    Raises: ValueError if the headers are not what the format says.
    """
    pages = []
    while begin < end:
        header, size = _header(file, begin)
        kind, raw, packed = (header.get(number) for number in (1, 2, 3))
        if not isinstance(kind, int) or not isinstance(raw, int) or not isinstance(packed, int) or packed < 0 or raw < 0:
            raise ValueError(f"no page header at byte {begin}")
        # fields 5, 7, 8: data page, dictionary page, data page of version 2; each begins with its number of values
        values = next((header[number].get(1, 0) for number in (5, 7, 8) if isinstance(header.get(number), dict)), 0)
        pages.append(PageHeader(raw, values, kind == _DICTIONARY_PAGE))
        begin += size + packed
    return pages


def _header(file: IO[bytes], at: int) -> tuple[dict[int, Any], int]:
    """The fields of the header at an offset, and its length."""
    room = _HEADER
    while True:
        file.seek(at)
        reader = _Compact(file.read(room))
        try:
            return reader.struct(0), reader.at
        except IndexError as error:
            if room >= _MAX_HEADER:
                raise ValueError(f"the page header at byte {at} is over {_MAX_HEADER} bytes or cut off") from error
            room *= 16


class _Compact:
    """Reads one struct; IndexError where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("structs too deep for a page header")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._signed()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_BYTE, 1, 2):  # a boolean in a list is a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == _DOUBLE:
            return self._skip(8)
        if kind == _BINARY:
            return self._skip(self._unsigned())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError(f"a field of kind {kind}")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _unsigned(self) -> int:
        value, shift = 0, 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
