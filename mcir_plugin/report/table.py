"""Small tables for the terminal."""
from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligns columns of text: the first to the left, the others to the right.

    Args:
        header (Sequence[str]): one title per column.
        rows (Sequence[Sequence[str]]): the cells, as many per row as there are titles.

    Returns:
        str: the lines, with a rule below the header.

    Raises:
        ValueError: if a row has more or fewer cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f'a row has {len(row)} cells, but the header has {len(header)}: {list(row)}')
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [header, ['-' * width for width in widths], *rows]
    return '\n'.join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.rjust(width) if place else cell.ljust(width)
                      for place, (cell, width) in enumerate(zip(cells, widths, strict=True)))
    return '  '.join([first, *others]).rstrip()
