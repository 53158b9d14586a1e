"""Walking down the genes of several parts side by side: all values that they have of a gene come together.

A sweep holds one row group of each part in memory. Genes ascend within a part and no gene reaches over two of its row
groups, so that every gene up to the first row group's end that still has a successor is complete.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import TableError
from median_spark.expression.parts import PartReader
from median_spark.expression.plan import SweepPlan
from median_spark.gene_values import GeneValues
from median_spark.guard import end_reader

STEP_ROWS = 4_000_000
"""Rows that a sweep hands over at once: 32 MB, enough to make little of what a step costs."""

_READ_AT_ONCE = 16
"""Parts that are read at once from a store, where nearly all of the time is spent waiting."""


@dataclass(frozen=True)
class GeneBlock:
    """All values that the parts of a sweep have of some consecutive genes.

    Attributes
    ----------
    runs : GeneValues
        Without cells; the values of a gene by part.
    sources : list of bytes, one a gene
        The numbers of the sources that have a value of it, ascending int32.
    """

    runs: GeneValues
    sources: list[bytes]


@dataclass(frozen=True)
class _Piece:
    """Some consecutive runs of one part."""

    source: int
    genes: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def sweep(plan: SweepPlan, number: int, step_rows: int = STEP_ROWS) -> Iterator[GeneBlock]:
    """Read all values of a sweep's genes.

    Parameters
    ----------
    plan : SweepPlan
        All sweeps.
    number : int
        Which one.
    step_rows : int
        Rows that a block has: at least half as many, but for the last, and at most half as many again, but for a gene
        that has more.

    Yields
    ------
    GeneBlock
        Genes ascend from one to the next; genes without a value are left out.

    Raises
    ------
    TableError
        If a part is missing, damaged, or not what its record says.
    """
    end_reader()  # a worker that has read matrices before must not hold its memory twice
    bundle = plan.bundle_of_sweep[number]
    begin, end = int(plan.begin[number]), int(plan.end[number])
    with ExitStack() as stack:
        far = not all(map(storage.is_local, plan.parts))
        readers = stack.enter_context(ThreadPoolExecutor(_READ_AT_ONCE)) if far else None
        lanes = [
            _PartCursor(plan, part, begin, end, stack)
            for part in range(plan.parts_of_bundle[bundle], plan.parts_of_bundle[bundle + 1])
        ]
        gathered: list[_Piece] = []
        held = 0
        while True:
            lanes = _filled(lanes, readers)
            if not lanes:
                break
            complete = min((lane.last_gene for lane in lanes if lane.has_more), default=end)
            complete = _limited(lanes, complete, step_rows)
            for lane in lanes:
                piece = lane.take(complete)
                if piece is not None:
                    gathered.append(piece)
                    held += len(piece.values)
            if held >= step_rows // 2:
                yield _joined(plan, gathered)
                gathered, held = [], 0
        if gathered:
            yield _joined(plan, gathered)


def _filled(lanes: list["_PartCursor"], readers: Executor | None) -> list["_PartCursor"]:
    """Return the lanes that have anything left, having read on where need be: side by side from a store."""
    found: Iterable[bool] = map(_PartCursor.fill, lanes) if readers is None else readers.map(_PartCursor.fill, lanes)
    return [lane for lane, filled in zip(lanes, found, strict=True) if filled]


def _limited(lanes: list["_PartCursor"], complete: int, step_rows: int) -> int:
    """Return the last gene of a step of at most so many rows, or of one gene; at most `complete`."""
    least = min(lane.next_gene for lane in lanes)
    while complete > least and sum(lane.rows_up_to(complete) for lane in lanes) > step_rows:
        complete = (least + complete) // 2
    return complete


class _PartCursor:
    """One part of a sweep, and what is left of the row group that it is at."""

    def __init__(self, plan: SweepPlan, part: int, begin: int, end: int, stack: ExitStack) -> None:
        groups = np.arange(plan.groups_of_part[part], plan.groups_of_part[part + 1])
        within = (plan.last_gene[groups] >= begin) & (plan.first_gene[groups] < end)
        self._plan = plan
        self._part = part
        self._groups: list[int] = groups[within].tolist()[::-1]
        self._begin, self._end = begin, end
        self._stack = stack
        self._reader: PartReader | None = None
        self._at, self._stop = 0, 0
        self.last_gene = -1

    @property
    def has_more(self) -> bool:
        """Whether there are row groups after this one."""
        return bool(self._groups)

    @property
    def next_gene(self) -> int:
        """The first gene that is left."""
        return int(self._genes[self._at])

    def rows_up_to(self, complete: int) -> int:
        """Return the rows that are left of all genes up to one."""
        to = min(int(np.searchsorted(self._genes, complete, side="right")), self._stop)
        return int(self._offsets[max(to, self._at)] - self._offsets[self._at])

    def fill(self) -> bool:
        """Read the next row group where nothing is left of this one; return whether there is anything left."""
        while self._at == self._stop and self._groups:
            group = self._groups.pop()
            if self._reader is None:
                self._reader = self._stack.enter_context(PartReader(self._plan.parts[self._part]))
            runs = self._reader.read(int(self._plan.number[group]), int(self._plan.rows[group]))
            self._genes = self._numbered(runs.genes)
            if self._genes[0] <= self.last_gene:
                message = f"{self._reader.location}: genes do not ascend between row groups; convert the source again"
                raise TableError(message)
            self.last_gene = int(self._genes[-1])
            self._offsets, self._values = runs.offsets, runs.values
            self._at, self._stop = np.searchsorted(self._genes, [self._begin, self._end]).tolist()
        if self._at == self._stop and self._reader is not None:
            self._reader.close()
        return self._at < self._stop

    def take(self, complete: int) -> _Piece | None:
        """Take the runs of all genes up to one."""
        at, to = self._at, min(int(np.searchsorted(self._genes, complete, side="right")), self._stop)
        if to == at:
            return None
        self._at = to
        low, high = self._offsets[at], self._offsets[to]
        source = int(self._plan.source_of_part[self._part])
        return _Piece(source, self._genes[at:to], self._offsets[at : to + 1] - low, self._values[low:high])

    def _numbered(self, names: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
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


def _joined(plan: SweepPlan, pieces: list[_Piece]) -> GeneBlock:
    """Bring the runs of each gene together."""
    gene = np.concatenate([piece.genes for piece in pieces])
    source = np.repeat([piece.source for piece in pieces], [len(piece.genes) for piece in pieces])
    # Pieces of one lane follow each other by gene, and lanes come in the order of parts: a stable sort keeps both.
    order = np.argsort(gene, kind="stable")
    runs = [
        piece.values[low:high]
        for piece in pieces
        for low, high in zip(piece.offsets[:-1].tolist(), piece.offsets[1:].tolist(), strict=True)
    ]
    values = np.concatenate([runs[place] for place in order.tolist()])
    ordered = gene[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])[order]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.add.reduceat(lengths, starts))])
    numbers = source[order].astype("<i4")
    bounds = [*starts.tolist(), len(ordered)]
    sources = [np.unique(numbers[a:b]).tobytes() for a, b in pairwise(bounds)]
    return GeneBlock(GeneValues(plan.genes[ordered[starts]], offsets, values), sources)
