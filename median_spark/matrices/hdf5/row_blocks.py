"""Bands of rows, as tiles or whole, and what is gathered from them: entries other than zero, and totals of cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.matrices.contract import Entries


@dataclass(frozen=True)
class RowBlock:
    """Some consecutive rows of a matrix, in tiles side by side.

    Attributes
    ----------
    start, stop : int
        The rows ``start <= row < stop``.
    tiles : ndarray, shape (tiles, rows of a tile, cells of a tile)
        Counts; rows beyond `stop` and cells beyond those asked for mean nothing. The next band may overwrite it.
    first_cell : ndarray of int64, shape (tiles,)
        The first cell of each tile.
    """

    start: int
    stop: int
    tiles: npt.NDArray[Any]
    first_cell: npt.NDArray[np.int64]


def gather_entries(
    bands: Iterator[RowBlock],
    dtype: np.dtype[Any],
    rows: npt.NDArray[np.int64],
    first: int,
    taken: npt.NDArray[np.bool_],
    expected: int,
) -> Entries:
    """Gather the entries other than zero of some rows and cells.

    Parameters
    ----------
    bands : iterator of RowBlock
        Ascending; every row of `rows` is in one.
    dtype : numpy.dtype
        Of the bands' tiles.
    rows : ndarray of int64, shape (rows,)
        Ascending.
    first : int
        The first cell that is asked for.
    taken : ndarray of bool, shape (cells asked for,)
        Which of them to take.
    expected : int
        Entries that there may be: room is made for them at once, and for more as it is needed.
    """
    from median_spark.matrices.loops.dense import (
        scatter,  # numba takes half a second: only who reads counts waits for it
    )

    lengths = np.zeros(len(rows), dtype=np.int64)
    cells, counts = np.empty(expected, dtype=np.int32), np.empty(expected, dtype=dtype)
    filled = 0
    for band in bands:
        begin, end = np.searchsorted(rows, [band.start, band.stop]).tolist()
        tiles, _, width = band.tiles.shape
        most = filled + (end - begin) * tiles * width + 1
        if most > len(cells):
            room = max(most, len(cells) + len(cells) // 2)
            cells, counts = with_room(cells, filled, room), with_room(counts, filled, room)
        # Tiles reach beyond the cells asked for by less than their width, where nothing is taken.
        padded = np.zeros(len(taken) + 2 * width, dtype=np.bool_)
        padded[width : width + len(taken)] = taken
        filled = scatter(
            band.tiles,
            band.tiles.view(f"i{band.tiles.itemsize}"),
            band.first_cell - first + width,
            rows[begin:end] - band.start,
            padded,
            width,
            filled,
            cells,
            counts,
            lengths[begin:end],
        )
    return Entries(lengths, cells[:filled], counts[:filled])


def total_counts(bands: Iterator[RowBlock], first: int, last: int) -> npt.NDArray[np.float64]:
    """Sum the counts of each cell in ``first <= cell < last`` over all rows of the bands, shape (last - first,)."""
    from median_spark.matrices.loops.dense import add_totals  # see above

    totals = np.zeros(last - first, dtype=np.float64)
    for band in bands:
        width = band.tiles.shape[2]
        padded = np.zeros(len(totals) + 2 * width, dtype=np.float64)
        padded[width : width + len(totals)] = totals
        # One row after the other: numpy's own sum pairs the rows of a single cell differently from those of many, and
        # then a total of fractions would depend on how the cells are cut into units.
        add_totals(band.tiles[:, : band.stop - band.start], band.first_cell - first + width, padded)
        totals = padded[width : width + len(totals)]
    return totals


def with_room(held: npt.NDArray[Any], filled: int, room: int) -> npt.NDArray[Any]:
    """Return an array of `room` places that begins with the first `filled` of another."""
    larger = np.empty(room, dtype=held.dtype)
    larger[:filled] = held[:filled]
    return larger
