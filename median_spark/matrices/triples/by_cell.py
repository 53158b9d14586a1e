"""Entries in any order, put in the order of cells in scratch space, so that a range of cells can be read by itself.

The file in scratch space has the row of each entry (int32), then its count, both by cell and in the order of the
original within a cell, then where each cell begins (int64), and last a footer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from median_spark import storage
from median_spark.guard import beat
from median_spark.matrices.anndata.sparse import SparseLists
from median_spark.matrices.contract import Int32s, Ints, Numbers

SORTED_AT_ONCE = 1 << 22
"""Entries to put in order at once: 40 bytes each."""

_STAGED = np.dtype([("cell", np.int32), ("row", np.int32), ("count", np.float64)])

_FOOTER = np.dtype([("counts_at", np.int64), ("cells", np.int64), ("count", "S8")])


@dataclass(frozen=True)
class CellEntries:
    """Some entries, as they come: cells (ascending or not), rows (int32), counts."""

    cells: Int32s
    rows: Int32s
    counts: Numbers


class _Disorder(Exception):  # noqa: N818 (not an error: the entries are read again)
    """Entries do not come by cell."""


def write_by_cell(
    scratch: storage.ScratchWriter, location: str, cells: int, most: int, read: Callable[[], Iterator[CellEntries]]
) -> None:
    """Write entries by cell.

    `read` yields them from the beginning each time it is called, at most `most` of them; it is called twice if they do
    not come by cell. InputError if scratch space has no room.
    """
    try:
        _write_ordered(scratch, cells, most, read())
    except _Disorder:
        with storage.scratch_writer(location) as staged, storage.scratch_writer(location) as grouped:
            lengths, dtype = _stage(staged, cells, read())
            groups = _cut(lengths)
            if len(groups) > 2:
                _distribute(staged, grouped, lengths, groups)
            _write_groups(scratch, grouped if len(groups) > 2 else staged, lengths, groups, dtype)


def _write_ordered(scratch: storage.ScratchWriter, cells: int, most: int, entries: Iterator[CellEntries]) -> None:
    """Write entries that come by cell; _Disorder if they do not."""
    lengths, written, last, dtype = np.zeros(cells, dtype=np.int64), 0, 0, np.dtype(np.float64)
    for some in entries:
        if not len(some.cells):
            continue
        if some.cells[0] < last or np.any(some.cells[1:] < some.cells[:-1]):
            raise _Disorder
        last, dtype = int(some.cells[-1]), some.counts.dtype
        scratch.write_at(some.rows, 4 * written)
        scratch.write_at(some.counts, 4 * most + dtype.itemsize * written)
        _count(lengths, some.cells)
        written += len(some.cells)
    _finish(scratch, lengths, dtype, 4 * most)


def _stage(staged: storage.ScratchWriter, cells: int, entries: Iterator[CellEntries]) -> tuple[Ints, np.dtype[Any]]:
    """Write entries as they come; return how many each cell has, and the type of counts."""
    lengths, dtype = np.zeros(cells, dtype=np.int64), np.dtype(np.float64)
    for some in entries:
        records = np.empty(len(some.cells), dtype=_STAGED)
        records["cell"], records["row"], records["count"] = some.cells, some.rows, some.counts
        staged.append(records)
        dtype = some.counts.dtype
        _count(lengths, some.cells)
    return lengths, dtype


def _cut(lengths: Ints) -> Ints:
    """Cut the cells into groups of at most `SORTED_AT_ONCE` entries, or of one cell; return the bounds of groups."""
    ends, bounds = np.cumsum(lengths), [0]
    while bounds[-1] < len(lengths):
        before = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, before + SORTED_AT_ONCE, side="right"))))
    return np.array(bounds, dtype=np.int64)


def _distribute(staged: storage.ScratchWriter, grouped: storage.ScratchWriter, lengths: Ints, groups: Ints) -> None:
    """Write entries group by group, in their order within a group."""
    next_place = np.concatenate([[0], np.cumsum(lengths)])[groups[:-1]]
    for records in _records(staged, 0, int(lengths.sum())):
        group = np.searchsorted(groups, records["cell"], side="right") - 1
        order = np.argsort(group, kind="stable")
        present, first = np.unique(group[order], return_index=True)
        for number, part in zip(present.tolist(), np.split(records[order], first[1:]), strict=True):
            grouped.write_at(part, int(next_place[number]) * _STAGED.itemsize)
            next_place[number] += len(part)


def _write_groups(
    scratch: storage.ScratchWriter, grouped: storage.ScratchWriter, lengths: Ints, groups: Ints, dtype: np.dtype[Any]
) -> None:
    """Put each group in the order of cells."""
    ends, counts_at = np.concatenate([[0], np.cumsum(lengths)]), 4 * int(lengths.sum())
    for first, last in zip(groups[:-1].tolist(), groups[1:].tolist(), strict=True):
        begin = int(ends[first])
        # One cell alone may have more entries than are put in order at once; it is in order.
        for records in _records(grouped, begin, int(ends[last]), SORTED_AT_ONCE):
            order = np.argsort(records["cell"], kind="stable")
            scratch.write_at(records["row"][order], 4 * begin)
            scratch.write_at(records["count"][order].astype(dtype), counts_at + dtype.itemsize * begin)
            begin += len(records)
    _finish(scratch, lengths, dtype, counts_at)


def _records(scratch: storage.ScratchWriter, begin: int, end: int, most: int = SORTED_AT_ONCE) -> Iterator[Any]:
    for start in range(begin, end, most):
        beat()
        records = np.empty(min(most, end - start), dtype=_STAGED)
        scratch.read_into(records.view(np.uint8), start * _STAGED.itemsize)
        yield records


def _count(lengths: Ints, cells: Int32s) -> None:
    """Add some entries to the number of entries of each cell."""
    if len(cells):
        first = int(cells.min())
        numbers = np.bincount(cells - first)
        lengths[first : first + len(numbers)] += numbers


def _finish(scratch: storage.ScratchWriter, lengths: Ints, dtype: np.dtype[Any], counts_at: int) -> None:
    scratch.append(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    scratch.append(np.array([(counts_at, len(lengths), dtype.str)], dtype=_FOOTER).view(np.uint8))


class _ScratchNumbers:
    """A list of numbers in a converted file."""

    chunk = 1

    def __init__(
        self, file: storage.ScratchFile[Any], offset: int, length: int, dtype: np.dtype[Any], stored: int
    ) -> None:
        self.dtype = dtype
        self.text = str(dtype)
        self._file, self._offset, self._length, self._stored = file, offset, length, stored

    def __len__(self) -> int:
        return self._length

    def stored_bytes(self) -> int:
        """Return the bytes that all of it takes in the original."""
        return self._stored

    def read(self, start: int, stop: int) -> Numbers:
        """Return the numbers ``start <= place < stop``."""
        size = self.dtype.itemsize
        content = self._file.read_at((stop - start) * size, self._offset + start * size)
        return np.frombuffer(content, dtype=self.dtype)

    def close(self) -> None:
        """Nothing stays open but the file."""


def lists_of(file: storage.ScratchFile[Any], stored: int) -> SparseLists:
    """Return the lists of a file that `write_by_cell` wrote; the original has so many bytes."""
    footer = np.frombuffer(file.read_at(_FOOTER.itemsize, file.size() - _FOOTER.itemsize), dtype=_FOOTER)[0]
    size = 8 * (int(footer["cells"]) + 1)
    indptr = np.frombuffer(file.read_at(size, file.size() - _FOOTER.itemsize - size), dtype=np.int64)
    entries, dtype = int(indptr[-1]), np.dtype(footer["count"].decode())
    rows = _ScratchNumbers(file, 0, entries, np.dtype(np.int32), stored // 2)
    counts = _ScratchNumbers(file, int(footer["counts_at"]), entries, dtype, stored - stored // 2)
    return SparseLists(counts, rows, indptr)
