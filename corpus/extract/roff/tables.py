"""Tables of tbl(1) as lines of text: what is ruled, centred or spanned on paper is cells between bars here."""

import re

CELLS = " | "


def table_lines(source: list[str]) -> list[str]:
    """The rows between .TS and .TE, with roff escapes still in; requests among them go.

    Args:
        source: an option line that ends in ";" (may be missing), format lines up to one that ends in ".", rows.
    """
    separator = "\t"
    if source and source[0].rstrip().endswith(";"):
        if match := re.search(r"tab\s*\((.)\)", source[0]):
            separator = match[1]
        source = source[1:]
    formats = next((number for number, line in enumerate(source) if line.rstrip().endswith(".")), len(source))
    rows, block = [], None  # block: lines of a cell written as T{ … T}
    row: list[str] = []
    for line in source[formats + 1 :]:
        if block is not None:
            if line.startswith("T}"):
                row.append("".join(block))
                block = None
                row, block = _cells(line[2:].lstrip(separator) if line[2:] else "", separator, row)
                if block is None:
                    rows.append(row)
                    row = []
            elif not line.startswith((".", "'")):
                block.append(line)
        elif not line.startswith((".", "'")) and line.strip(" _=\t"):
            row, block = _cells(line, separator, [])
            if block is None:
                rows.append(row)
                row = []
    return [CELLS.join(cells) for row in rows if (cells := [cell.strip() for cell in row if cell.strip(" _=")])]


def _cells(line: str, separator: str, row: list[str]) -> tuple[list[str], list[str] | None]:
    """Add the cells of a line to a row. Returns: the row, and an empty block if its last cell goes on below."""
    cells = line.split(separator) if line else []
    if cells and cells[-1].rstrip() == "T{":
        return [*row, *cells[:-1]], []
    return [*row, *cells], None
