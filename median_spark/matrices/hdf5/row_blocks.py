"""Blocks of rows, in tiles or whole, and what is gathered from them: non-zero entries, and totals of cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from median_spark.guard import beat
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Numbers

_SLICE_BYTES = 64 << 20
"""Bytes of rows to read at once: large enough to amortise the call, small enough for any worker."""


@dataclass(frozen=True)
class RowBlock:
    """The rows ``start <= row < stop`` of a matrix, in tiles side by side.

    `tiles` has the shape (tiles, rows of a tile, cells of a tile). Rows beyond `stop` and cells beyond those asked for
    mean nothing, and the next block may overwrite it. `first_cell` (int64) is the first cell of each tile.
    """

    start: int
    stop: int
    tiles: Numbers
    first_cell: Ints


def block_bounds(rows: Ints, last: int, tile: int, row_bytes: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks that hold some ascending rows: whole rows of tiles, about `_SLICE_BYTES` each.

    `tile` rows of a matrix of `last` rows are decompressed together, `row_bytes` are read of each. Tiles are read in
    parts if those in one row of them would take more than `most_bytes`, which the file can fill.
    """
    row = max(1, row_bytes)
    height = max(tile, _SLICE_BYTES // row // tile * tile)
    if height * row > most_bytes:
        height = max(1, _SLICE_BYTES // row)
    for number in np.unique(rows // height).tolist():
        beat()
        yield number * height, min((number + 1) * height, last)


def gather_entries(
    blocks: Iterator[RowBlock], dtype: np.dtype[Any], rows: Ints, first: int, taken: Flags, expected: int
) -> Entries:
    """Gather the non-zero entries of some ascending rows and of the `taken` cells, counted from `first`.

    Every row is in one of the blocks, which ascend and hold numbers of `dtype`. Room is made for the `expected` entries
    at once, and for more as it is needed.
    """
    from median_spark.matrices.loops.dense import scatter  # numba takes half a second: only readers of counts wait

    lengths = np.zeros(len(rows), dtype=np.int64)
    cells, counts = np.empty(expected, dtype=np.int32), np.empty(expected, dtype=dtype)
    filled = 0
    for block in blocks:
        begin, end = np.searchsorted(rows, [block.start, block.stop]).tolist()
        tiles, _, width = block.tiles.shape
        most = filled + (end - begin) * tiles * width + 1
        if most > len(cells):
            room = max(most, len(cells) + len(cells) // 2)
            cells, counts = with_room(cells, filled, room), with_room(counts, filled, room)
        # Tiles reach beyond the cells asked for by less than their width, where nothing is taken.
        padded = np.zeros(len(taken) + 2 * width, dtype=np.bool_)
        padded[width : width + len(taken)] = taken
        filled = scatter(
            block.tiles,
            block.tiles.view(f"i{block.tiles.itemsize}"),
            block.first_cell - first + width,
            rows[begin:end] - block.start,
            padded,
            width,
            filled,
            cells,
            counts,
            lengths[begin:end],
        )
    return Entries(lengths, cells[:filled], counts[:filled])


def total_counts(blocks: Iterator[RowBlock], first: int, last: int) -> Floats:
    """Sum the counts of each cell in ``first <= cell < last`` over all rows of the blocks, shape (last - first,)."""
    from median_spark.matrices.loops.dense import add_totals  # see above

    totals = np.zeros(last - first, dtype=np.float64)
    for block in blocks:
        width = block.tiles.shape[2]
        padded = np.zeros(len(totals) + 2 * width, dtype=np.float64)
        padded[width : width + len(totals)] = totals
        # One row after the other: numpy's own sum pairs the rows of a single cell differently from those of many, and
        # then a total of fractions would depend on how the cells are cut into units.
        add_totals(block.tiles[:, : block.stop - block.start], block.first_cell - first + width, padded)
        totals = padded[width : width + len(totals)]
    return totals


def with_room(held: Numbers, filled: int, room: int) -> Numbers:
    """Return an array of `room` places that begins with the first `filled` of another."""
    larger = np.empty(room, dtype=held.dtype)
    larger[:filled] = held[:filled]
    return larger
