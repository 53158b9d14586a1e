"""Gathering entries that come as coordinates, the numbers of a cell and a gene for each count, in any order.

Knows nothing of the file that they come from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from median_spark.matrices.contract import Entries, Flags, Int32s, Ints, Numbers
from median_spark.matrices.hdf5.row_blocks import with_room
from median_spark.matrices.transpose import row_numbers, summed, transposed

_FEWEST = 1 << 16
_SPAN = 1 << 24
"""Most numbers, between the least and the greatest of an axis with gaps, that are looked up in a list of all."""


@dataclass(frozen=True)
class Numbering:
    """Numbers that a file calls the lines of an axis by, ascending: ``begin, begin + 1, …``, or `numbers` with gaps."""

    length: int
    begin: int = 0
    numbers: Ints | None = None

    def bounds(self, first: int, last: int) -> tuple[int, int]:
        """Return the numbers of the first and the last of the lines ``first <= line < last``, of which there is one."""
        if self.numbers is None:
            return self.begin + first, self.begin + last - 1
        return int(self.numbers[first]), int(self.numbers[last - 1])

    def of(self, first: int, last: int) -> Ints:
        """Return the numbers of the lines ``first <= line < last``."""
        if self.numbers is None:
            return np.arange(self.begin + first, self.begin + last)
        return self.numbers[first:last]

    def is_wide(self, first: int, last: int) -> bool:
        """Say whether the numbers of some lines are too far apart to be looked up in a list of all between them."""
        least, greatest = self.bounds(first, last)
        return self.numbers is not None and greatest - least >= max(_SPAN, 2 * (last - first))

    def looked_up(self, values: Int32s, first: int, last: int) -> tuple[int, Int32s]:
        """Return the least number of some lines, and the value of each number from it on, -1 where there is no line."""
        if last <= first:
            return 0, np.zeros(0, dtype=np.int32)
        if self.numbers is None:
            return self.begin + first, values
        least, greatest = self.bounds(first, last)
        by_number = np.full(greatest - least + 1, -1, dtype=np.int32)
        by_number[self.numbers[first:last] - least] = values
        return least, by_number

    def places(self, wanted: Ints, first: int, last: int) -> Ints:
        """Return the line of each number, counted from `first`, -1 where there is none."""
        numbers = self.of(first, last)
        places = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
        return np.where(numbers[places] == wanted, places, -1)


class UnknownError(Exception):
    """An entry whose cell or gene is not there: its place among those added, and if it is the cell that is not."""

    def __init__(self, place: int, *, cell: bool) -> None:
        super().__init__(place, cell)
        self.place, self.cell = place, cell


class _Axis:
    """Some lines of an axis: which of them an entry's number means."""

    def __init__(self, numbering: Numbering, first: int, last: int, values: Int32s) -> None:
        self._numbering, self._first, self._last = numbering, first, last
        self._wide = last > first and numbering.is_wide(first, last)
        self.least, self.value_of = (0, values) if self._wide else numbering.looked_up(values, first, last)

    def numbers(self, given: Ints) -> Ints:
        """Return the numbers by which `value_of` is looked up."""
        return self._numbering.places(given, self._first, self._last) if self._wide else given

    def is_known(self, number: int) -> bool:
        """Say whether there is a line of a number."""
        return 0 <= number - self.least < len(self.value_of) and self.value_of[number - self.least] >= 0


class CoordinateEntries:
    """The entries of ascending rows in some cells, added in any order; zeros and those not asked for are dropped."""

    def __init__(
        self, rows: Ints, genes: Numbering, cells: Numbering, first: int, taken: Flags, dtype: np.dtype[Any]
    ) -> None:
        """Ask for some rows of a matrix, and for the cells from `first` on that are `taken`."""
        self._rows, self._cell_count = len(rows), len(taken)
        self._genes = _Axis(genes, 0, genes.length, row_numbers(rows, genes.length))
        cell_numbers = np.where(taken, np.arange(len(taken)), len(taken)).astype(np.int32)
        self._cells_axis = _Axis(cells, first, first + len(taken), cell_numbers)
        self._cells, self._held_rows = np.empty(_FEWEST, dtype=np.int32), np.empty(_FEWEST, dtype=np.int32)
        self._counts = np.empty(_FEWEST, dtype=dtype)
        self._filled = 0
        self._lengths = np.zeros(len(rows) + 1, dtype=np.int64)

    def add(self, cells: Ints, genes: Ints, counts: Numbers) -> None:
        """Add entries by the numbers of their cells and genes; UnknownError if there is none of a number."""
        from median_spark.matrices.loops.sparse import choose_coordinates  # numba takes half a second

        needed = self._filled + len(cells) + 1
        if needed > len(self._cells):
            room = max(needed, len(self._cells) + len(self._cells) // 2)
            self._cells = with_room(self._cells, self._filled, room)
            self._held_rows = with_room(self._held_rows, self._filled, room)
            self._counts = with_room(self._counts, self._filled, room)
        cells, genes = self._cells_axis.numbers(cells), self._genes.numbers(genes)
        self._filled, unknown = choose_coordinates(
            cells, genes, counts.astype(self._counts.dtype, copy=False), self._cells_axis.least,
            self._cells_axis.value_of, self._cell_count, self._genes.least, self._genes.value_of, self._rows,
            self._filled, self._cells, self._held_rows, self._counts, self._lengths,
        )  # fmt: skip
        if unknown >= 0:
            raise UnknownError(unknown, cell=not self._cells_axis.is_known(int(cells[unknown])))

    def entries(self) -> Entries:
        """Return what was added, by row and then by cell; those of one row and cell are summed."""
        from median_spark.matrices.loops.sparse import order_by_cell, transpose_coordinates  # see above

        lengths = self._lengths[:-1]
        cells, rows, counts = (held[: self._filled] for held in (self._cells, self._held_rows, self._counts))
        pairs = np.empty(self._filled, dtype=[("cell", np.int32), ("count", counts.dtype)])
        descends, repeated = transpose_coordinates(cells, rows, counts, lengths, pairs)
        if not descends:
            entries = Entries(lengths, cells, counts)
            return summed(entries) if repeated else entries
        del pairs
        rows = np.repeat(np.arange(self._rows, dtype=np.int32), lengths)
        ends = np.cumsum(np.bincount(cells, minlength=self._cell_count))
        new_rows, new_counts = np.empty_like(rows), np.empty_like(counts)
        order_by_cell(cells, rows, counts, ends, new_rows, new_counts)
        return transposed(np.arange(self._cell_count), ends, new_rows, new_counts, lengths)
