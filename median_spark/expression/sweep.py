"""Walk down the genes of several parts side by side, so that all their values of a gene come together.

A sweep holds one row group of each part in memory. Genes ascend within a part and no gene reaches over two of its row
groups, so that every gene up to the first row group's end that still has a successor is complete. Who can do with the
values of a gene one part after the other has them without their being brought together.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark import storage
from median_spark.errors import TableError
from median_spark.expression.cell_groups import CellGroups, Int32s
from median_spark.expression.parts import PartReader
from median_spark.expression.plan import SweepPlan
from median_spark.gene_values import Floats, GeneValues, Ints, Names, distinct_in_runs
from median_spark.guard import end_reader

STEP_ROWS = 4_000_000
"""Rows per block of a sweep: 32 MB, enough to make the cost of a step small."""

_Value = TypeVar("_Value", np.float64, np.int32)

_READ_AT_ONCE = 16
"""Parts that are read at once from a store, where nearly all of the time is spent waiting."""


@dataclass(frozen=True)
class GeneBlock:
    """All values that the parts of a sweep have of some consecutive genes."""

    gene_values: GeneValues  # without cells; the values of a gene by part; with groups if the plan has them
    sources: pa.BinaryArray  # of each gene: the numbers of the sources that have a value of it, ascending int32
    runs: tuple[Int32s, Ints] | None = None  # source, and number of values, of each run of values from one part


@dataclass(frozen=True)
class PartBlock:
    """Values that one part of a sweep has of some of its genes; gene i has ``values[offsets[i]:offsets[i + 1]]``."""

    genes: Ints  # numbers in the plan's universe, ascending
    offsets: Ints
    values: Floats
    groups: Int32s | None = None  # of each value, if the plan has them


def sweep(plan: SweepPlan, number: int, step_rows: int = STEP_ROWS) -> Iterator[GeneBlock]:
    """Read all values of a sweep's genes, ascending; genes without a value are left out.

    A block has at least ``step_rows / 2`` rows, but for the last, and at most ``3 / 2 * step_rows``, but for a gene
    that has more. Raises `TableError` if a part is missing, damaged, or not what its record says.
    """
    end = int(plan.end[number])
    with _cursors(plan, number) as (cursors, readers):
        gathered = _Gathered()
        while cursors := list(_filled(cursors, readers)):
            complete = min((cursor.last_gene for cursor in cursors if cursor.has_more), default=end)
            complete = _limited(cursors, complete, step_rows)
            for cursor in cursors:
                cursor.move_to(gathered, complete)
            if gathered.rows >= step_rows // 2:
                yield gathered.block(plan)
                gathered = _Gathered()
        if gathered.rows:
            yield gathered.block(plan)


def sweep_parts(plan: SweepPlan, number: int) -> Iterator[PartBlock]:
    """Read the same values a row group at a time, in an order that is that of the genes within a part only.

    Raises `TableError` as `sweep` does.
    """
    with _cursors(plan, number) as (cursors, readers):
        while cursors:
            left = []
            for cursor in _filled(cursors, readers):
                yield cursor.rest()
                left.append(cursor)
            cursors = left


@contextmanager
def _cursors(plan: SweepPlan, number: int) -> Iterator[tuple[list["_PartCursor"], Executor | None]]:
    """Open the parts of a sweep; give their cursors, and what reads side by side where they lie on a store."""
    end_reader()  # a worker that has read matrices before must not hold its memory twice
    bundle = plan.bundle_of_sweep[number]
    begin, end = int(plan.begin[number]), int(plan.end[number])
    with ExitStack() as stack:
        far = not all(map(storage.is_local, plan.parts))
        readers = stack.enter_context(ThreadPoolExecutor(_READ_AT_ONCE)) if far else None
        parts = range(plan.parts_of_bundle[bundle], plan.parts_of_bundle[bundle + 1])
        yield [_PartCursor(plan, part, begin, end, stack) for part in parts], readers


def _filled(cursors: list["_PartCursor"], readers: Executor | None) -> Iterator["_PartCursor"]:
    """Read the next row groups where needed, side by side from a store; yield the cursors with anything left."""
    filled: Iterable[bool] = (readers.map if readers else map)(_PartCursor.fill, cursors)
    yield from (cursor for cursor, left in zip(cursors, filled, strict=True) if left)


def _limited(cursors: list["_PartCursor"], complete: int, step_rows: int) -> int:
    """Return the last gene, at most `complete`, of a step of at most `step_rows` rows, or of a single gene."""
    least = min(cursor.next_gene for cursor in cursors)
    while complete > least and sum(cursor.rows_up_to(complete) for cursor in cursors) > step_rows:
        complete = (least + complete) // 2
    return complete


class _Gathered:
    """The values of a block in the making, by cursor and then by gene; one run per gene that a cursor has."""

    def __init__(self) -> None:
        self.rows = 0
        self._genes: list[Ints] = []
        self._lengths: list[Ints] = []
        self._sources: list[Int32s] = []
        self._values: list[Floats] = []
        self._groups: list[Int32s] = []

    def add(self, source: int, genes: Ints, offsets: Ints, values: Floats, groups: Int32s | None) -> None:
        """Add some genes of a part; gene i has ``values[offsets[i]:offsets[i + 1]]``, and so `groups`, if any."""
        rows = slice(int(offsets[0]), int(offsets[-1]))
        self.rows += rows.stop - rows.start
        self._genes.append(genes)
        self._lengths.append(np.diff(offsets))
        self._sources.append(np.full(len(genes), source, dtype="<i4"))
        self._values.append(values[rows])
        if groups is not None:
            self._groups.append(groups[rows])

    def block(self, plan: SweepPlan) -> GeneBlock:
        """Bring the values of each gene together."""
        genes, lengths = np.concatenate(self._genes), np.concatenate(self._lengths)
        # A cursor yields ascending genes, and cursors come in the order of parts: a stable sort keeps both.
        order = np.argsort(genes, kind="stable")
        values = runs_in_order(self._values, self._lengths, order)
        groups = runs_in_order(self._groups, self._lengths, order) if self._groups else None
        genes, lengths, sources = genes[order], lengths[order], np.concatenate(self._sources)[order]
        starts = np.flatnonzero(np.diff(genes, prepend=-1))
        offsets = np.append(0, np.cumsum(np.add.reduceat(lengths, starts)))
        # Cursors come in the order of their sources, and so do the runs of a gene.
        present, _, bounds = distinct_in_runs(sources, np.append(starts, len(genes)))
        return GeneBlock(
            GeneValues(plan.genes[genes[starts]], offsets, values, None, groups),
            binary_array(present, bounds),
            (sources, lengths),
        )


def runs_in_order(held: Sequence[npt.NDArray[_Value]], lengths: Sequence[Ints], order: Ints) -> npt.NDArray[_Value]:
    """Copy the runs of several arrays into one, in another order.

    Parameters
    ----------
    held
        Arrays of runs that lie one after the other.
    lengths
        Lengths of the runs of each array.
    order
        Numbers of all runs, counted through the arrays.
    """
    from median_spark.expression.loops import place_runs  # numba takes half a second: only who sweeps waits

    every = np.concatenate(lengths)
    targets = np.empty(len(order), dtype=np.int64)
    targets[order] = np.cumsum(every[order]) - every[order]
    placed = np.empty(int(every.sum()), dtype=held[0].dtype)
    run = 0
    for values, of_array in zip(held, lengths, strict=True):
        place_runs(values, of_array, targets[run : run + len(of_array)], placed)
        run += len(of_array)
    return placed


def binary_array(numbers: npt.NDArray[np.generic], offsets: Ints) -> pa.BinaryArray:
    """Return the bytes of runs of numbers; run i has ``numbers[offsets[i]:offsets[i + 1]]``, and all less than 2 GB."""
    begins = (offsets * numbers.itemsize).astype("<i4")
    return pa.Array.from_buffers(
        pa.binary(), len(begins) - 1, [None, pa.py_buffer(begins), pa.py_buffer(np.ascontiguousarray(numbers))]
    )


class _PartCursor:
    """One part of a sweep, and the rest of its current row group."""

    def __init__(self, plan: SweepPlan, part: int, begin: int, end: int, stack: ExitStack) -> None:
        groups = np.arange(plan.groups_of_part[part], plan.groups_of_part[part + 1])
        within = (plan.last_gene[groups] >= begin) & (plan.first_gene[groups] < end)
        self._plan = plan
        self._part = part
        self._row_groups: list[int] = groups[within].tolist()[::-1]
        self._begin, self._end = begin, end
        self._reader: PartReader | None = None
        stack.callback(self._close)
        self._at, self._stop = 0, 0
        self.last_gene = -1

    @property
    def has_more(self) -> bool:
        """Whether there are row groups after this one."""
        return bool(self._row_groups)

    @property
    def next_gene(self) -> int:
        """The first gene that is left."""
        return int(self._genes[self._at])

    def rows_up_to(self, complete: int) -> int:
        """Return the rows that are left of all genes up to one."""
        return int(self._offsets[self._after(complete)] - self._offsets[self._at])

    def fill(self) -> bool:
        """Read the next row group if nothing is left of this one; return whether there is anything left."""
        groups = self._plan.groups_of_cells(self._part)
        while self._at == self._stop and self._row_groups:
            group = self._row_groups.pop()
            if self._reader is None:
                self._reader = PartReader(
                    self._plan.parts[self._part], groups if isinstance(groups, CellGroups) else None
                )
            values = self._reader.read(int(self._plan.number[group]), int(self._plan.rows[group]))
            self._genes = self._numbered(values.genes)
            if len(self._genes) and self._genes[0] <= self.last_gene:
                message = f"{self._reader.location}: genes do not ascend between row groups; convert the source again"
                raise TableError(message)
            # Where cells were left out, the row group's last gene may be one that has no value any more.
            self.last_gene = max(int(self._plan.last_gene[group]), *self._genes[-1:].tolist(), -1)
            self._offsets, self._values = values.offsets, values.values
            self._groups = values.groups if self._plan.by_group else None
            if self._plan.by_group and isinstance(groups, int):
                self._groups = np.full(len(values.values), groups, dtype=np.int32)
            self._at, self._stop = np.searchsorted(self._genes, [self._begin, self._end]).tolist()
        if not self._row_groups:  # a bundle may have more parts than a process may open files
            self._close()
        return self._at < self._stop

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def move_to(self, gathered: _Gathered, complete: int) -> None:
        """Hand over the values of all genes up to one."""
        at, to = self._at, self._after(complete)
        if to > at:
            self._at = to
            source = int(self._plan.source_of_part[self._part])
            gathered.add(source, self._genes[at:to], self._offsets[at : to + 1], self._values, self._groups)

    def rest(self) -> PartBlock:
        """Hand over what is left of this row group."""
        at, stop, values, groups = self._at, self._stop, self._values, self._groups
        self._at, self._values, self._groups = stop, values[:0].copy(), None  # so that one row group is held at a time
        rows = slice(int(self._offsets[at]), int(self._offsets[stop]))
        return PartBlock(
            self._genes[at:stop],
            self._offsets[at : stop + 1] - rows.start,
            values[rows],
            groups[rows] if groups is not None else None,
        )

    def _after(self, complete: int) -> int:
        """Return the place after the last gene, of those that are left, up to one."""
        return max(min(int(np.searchsorted(self._genes, complete, side="right")), self._stop), self._at)

    def _numbered(self, names: Names) -> Ints:
        universe = self._plan.genes
        places = np.minimum(np.searchsorted(universe, names), len(universe) - 1)
        if np.any(universe[places] != names):
            unknown = names[universe[places] != names][0]
            message = (
                f"{self._plan.parts[self._part]}: gene '{unknown}' is not in its source's list of genes; "
                "convert the source again"
            )
            raise TableError(message)
        return places
