"""Entries that are held cell by cell, put in the order of genes: a matrix stored by cell is read this way."""

from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.matrices.counts import Entries


class TwiceError(Exception):
    """A cell has two entries of one row."""

    def __init__(self, row: int, cell: int) -> None:
        super().__init__(f"row {row} stands twice in cell {cell}")
        self.row = row
        self.cell = cell


def row_numbers(rows: npt.NDArray[np.int64], genes: int) -> npt.NDArray[np.int32]:
    """Return the place in `rows` of each gene of a matrix, ``len(rows)`` where it is not among them, shape (genes,)."""
    found = np.full(genes, len(rows), dtype=np.int32)
    found[rows] = np.arange(len(rows), dtype=np.int32)
    return found


def turned(
    numbers: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int32],
    counts: npt.NDArray[Any],
    lengths: npt.NDArray[np.int64],
) -> Entries:
    """Return entries by row and then by cell, in the memory of what is given.

    Parameters
    ----------
    numbers : ndarray of int64, shape (lines,)
        The cell of each line, ascending.
    ends : ndarray of int64, shape (lines,)
        Where the entries of each line end.
    rows, counts : ndarray, shape (entries,)
        Row and count of each entry, line by line; they are overwritten.
    lengths : ndarray of int64, shape (rows,)
        Entries of each row.

    Raises
    ------
    TwiceError
        If a cell has two entries of one row.
    """
    from median_spark.matrices.sparse_loops import part_pairs, scatter_pairs  # numba takes half a second to import

    pairs = np.empty(len(rows), dtype=[("cell", np.int32), ("count", counts.dtype)])
    scatter_pairs(numbers, ends, rows, counts, np.cumsum(lengths) - lengths, pairs)
    row, cell = part_pairs(lengths, pairs, rows, counts)
    if row >= 0:
        raise TwiceError(row, cell)
    return Entries(lengths, rows, counts)
