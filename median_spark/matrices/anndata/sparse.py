"""Sparse matrices of three lists: data, indices and indptr, by cell (CSR) or by gene (CSC).

Read in stretches, so that what is held does not grow with the file. Cells × genes in the file, genes × cells here.
Knows nothing of the file that the lists are in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Numbers
from median_spark.matrices.hdf5.row_blocks import with_room
from median_spark.matrices.transpose import row_numbers, summed, transposed

_STRETCH = 1 << 18
"""Entries to read at once: few enough to stay in the processor's cache, enough to amortise the call."""

_SAMPLED_BY_GENE = 256
"""Cells to read together of a matrix stored by gene, where a few cost as much as many."""


def refuse(location: str, place: str, problem: str) -> NoReturn:
    """Reject a sparse matrix whose lists are missing or do not fit together."""
    message = f"{location}: {place} {problem}; the file is damaged, or was not written as it should be"
    raise InputError(message)


def chunked(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of a step, whole chunks, and send the guard a sign of life for each piece."""
    start = first
    while start < last:
        beat()
        stop = min((start // step + 1) * step, last)
        yield start, stop
        start = stop


class NumberList(Protocol):
    """A long list of numbers, read by range as `dtype`; `chunk` of them are decompressed together."""

    dtype: np.dtype[Any]
    chunk: int

    @property
    def text(self) -> str:
        """How it is stored, for people."""

    def __len__(self) -> int: ...

    def stored_bytes(self) -> int:
        """Return the bytes that all of it takes in the file."""

    def read(self, start: int, stop: int) -> Numbers:
        """Return the numbers ``start <= place < stop``; InputError if the file is damaged."""

    def close(self) -> None:
        """Close what reading has opened."""


@dataclass(frozen=True)
class SparseLists:
    """The three lists of a sparse matrix, of any format that has them; `indptr` (int64) is in memory."""

    data: NumberList
    indices: NumberList
    indptr: Ints


class _Sparse:
    """Parts of both kinds: checking that the three lists fit together, and reading them in stretches."""

    def __init__(self, location: str, place: str, shape: tuple[int, int], lists: SparseLists, kind: str) -> None:
        self._location = location
        self._place = place
        self.shape = shape
        self._data, self._indices, self._indptr = lists.data, lists.indices, lists.indptr
        self._check_indptr(self._indptr, shape[0] if kind == "csr" else shape[1])
        if not len(self._data) == len(self._indices) == self._indptr[-1]:
            self._refuse(
                f"has {len(self._data):,} data, {len(self._indices):,} indices, and an indptr that ends at "
                f"{self._indptr[-1]:,}; these three must be the same"
            )
        self.text = f"{kind.upper()}, {len(self._data):,} entries, {self._data.text}, indices {self._indices.text}"

    def close(self) -> None:
        """Close what reading has opened."""
        self._data.close()
        self._indices.close()

    def _refuse(self, problem: str) -> NoReturn:
        refuse(self._location, self._place, problem)

    def _check_indptr(self, indptr: Ints, lines: int) -> None:
        if len(indptr) != lines + 1:
            self._refuse(
                f"has an indptr of {len(indptr):,} numbers, where its shape {self.shape} asks for {lines + 1:,}"
            )
        if indptr[0] != 0:
            self._refuse(f"has an indptr that begins with {indptr[0]:,}, where it must with 0")
        falls = np.flatnonzero(indptr[1:] < indptr[:-1])
        if len(falls):
            before, after = indptr[falls[0]], indptr[falls[0] + 1]
            self._refuse(f"has an indptr that falls from {before:,} to {after:,}; it must never fall")

    def _stretches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut the entries ``begin <= entry < end`` into stretches of whole chunks."""
        chunk = self._data.chunk
        return chunked(begin, end, -(-_STRETCH // chunk) * chunk)

    def _read_indices(self, start: int, stop: int) -> Numbers:
        indices = self._indices.read(start, stop)
        return indices if indices.dtype in (np.int32, np.int64) else indices.astype(np.int64)

    def _refuse_index(self, what: str, index: int, entry: int, limit: int) -> NoReturn:
        self._refuse(f"has the {what} number {index:,} at entry {entry:,}, where it has {limit:,} {what}s")


class ByCell(_Sparse):
    """A matrix stored by cell (CSR)."""

    cells_per_tile = 1

    def __init__(self, location: str, place: str, shape: tuple[int, int], lists: SparseLists) -> None:
        super().__init__(location, place, shape, lists, "csr")

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        from median_spark.matrices.loops.sparse import choose  # numba takes half a second

        indptr = self._indptr[first : last + 1]
        row_of_column = row_numbers(rows, self.shape[1])
        room = int(indptr[-1] - indptr[0]) + 1
        held_rows, held_counts = np.empty(room, dtype=np.int32), np.empty(room, dtype=self._data.dtype)
        ends, lengths = np.zeros(last - first, dtype=np.int64), np.zeros(len(rows) + 1, dtype=np.int64)
        filled, line = 0, 0
        for start, stop in self._stretches(int(indptr[0]), int(indptr[-1])):
            lines = np.searchsorted(indptr, [start, stop - 1], side="right") - 1
            if not taken[lines[0] : lines[1] + 1].any():
                continue
            columns, counts = self._read_indices(start, stop), self._data.read(start, stop)
            filled, line, wrong = choose(
                columns, counts, start, indptr, line, taken, row_of_column, len(rows), filled, held_rows, held_counts,
                ends, lengths,
            )  # fmt: skip
            if wrong >= 0:
                self._refuse_index("gene", int(columns[wrong]), start + wrong, self.shape[1])
        # Lines without entries end where the one before them does.
        ends = np.maximum.accumulate(ends)
        return transposed(np.arange(last - first), ends, held_rows[:filled], held_counts[:filled], lengths[:-1])

    def cell_totals(self, first: int, last: int, genes: Flags | None = None) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, or over some `genes`."""
        from median_spark.matrices.loops.sparse import add_chosen_totals, add_line_totals  # see above

        totals, line = np.zeros(last - first, dtype=np.float64), first
        for start, stop in self._stretches(int(self._indptr[first]), int(self._indptr[last])):
            counts = self._data.read(start, stop)
            if genes is None:
                line = add_line_totals(counts, start, self._indptr, line, first, totals)
                continue
            columns = self._read_indices(start, stop)
            line, wrong = add_chosen_totals(columns, counts, start, self._indptr, line, first, genes, totals)
            if wrong >= 0:
                self._refuse_index("gene", int(columns[wrong]), start + wrong, self.shape[1])
        return totals

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, by the entries that they have."""
        share = (self._indptr[last] - self._indptr[first]) / max(1, len(self._data))
        return int((self._data.stored_bytes() + self._indices.stored_bytes()) * share)


class ByGene(_Sparse):
    """A matrix stored by gene (CSC): the entries of a range of cells lie all over it, so each reads all indices."""

    def __init__(self, location: str, place: str, shape: tuple[int, int], lists: SparseLists) -> None:
        super().__init__(location, place, shape, lists, "csc")
        self.cells_per_tile = max(1, min(_SAMPLED_BY_GENE, self.shape[0]))

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        from median_spark.matrices.loops.sparse import choose_cells, disorder  # see above

        row_of_line = row_numbers(rows, self.shape[1])
        lengths = np.zeros(len(rows), dtype=np.int64)
        room = int(len(self._data) * (last - first) / max(1, self.shape[0]) * 1.1) + 1
        cells, counts = np.empty(room, dtype=np.int32), np.empty(room, dtype=self._data.dtype)
        filled, line = 0, 0
        for start, stop in self._stretches(0, len(self._data)):
            lines = np.searchsorted(self._indptr, [start, stop - 1], side="right") - 1
            if row_of_line[lines[0] : lines[1] + 1].min() == len(rows):
                continue
            indices = self._read_indices(start, stop)
            self._check_cells(indices, start)
            if not np.any((indices >= first) & (indices < last)):
                continue
            if filled + len(indices) > len(cells):
                room = max(filled + len(indices), len(cells) + len(cells) // 2)
                cells, counts = with_room(cells, filled, room), with_room(counts, filled, room)
            filled, line = choose_cells(
                indices, self._data.read(start, stop), start, self._indptr, line, row_of_line, len(rows), first, taken,
                filled, cells, counts, lengths,
            )  # fmt: skip
        cells, counts = cells[:filled], counts[:filled]
        disordered, repeated = disorder(lengths, cells)
        if disordered:
            order = np.lexsort((cells, np.repeat(np.arange(len(rows)), lengths)))
            cells, counts = cells[order], counts[order]
            _, repeated = disorder(lengths, cells)
        entries = Entries(lengths, cells, counts)
        return summed(entries) if repeated else entries

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows."""
        from median_spark.matrices.loops.sparse import add_cell_totals  # see above

        totals = np.zeros(last - first, dtype=np.float64)
        for start, stop in self._stretches(0, len(self._data)):
            cells = self._read_indices(start, stop)
            self._check_cells(cells, start)
            add_cell_totals(cells, self._data.read(start, stop), first, totals)
        return totals

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, as if all took the same."""
        stored = self._data.stored_bytes() + self._indices.stored_bytes()
        return int(stored * (last - first) / max(1, self.shape[0]))

    def _check_cells(self, cells: Numbers, start: int) -> None:
        if len(cells) and (cells.min() < 0 or cells.max() >= self.shape[0]):
            wrong = int(np.flatnonzero((cells < 0) | (cells >= self.shape[0]))[0])
            self._refuse_index("cell", int(cells[wrong]), start + wrong, self.shape[0])
