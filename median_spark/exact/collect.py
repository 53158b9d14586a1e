"""On one sweep's values: count those below each bracket, and collect those inside, or count them in bins."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.digests import GroupsOfSweep, GroupWork
from median_spark.errors import MedianSparkError
from median_spark.exact.queries import Queries, Query
from median_spark.expression import SweepPlan, binary_array, runs_in_order, sweep_parts
from median_spark.gene_values import Floats, Ints, distinct_in_runs

FINDINGS_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("query", pa.int32()),
        ("below", pa.int64()),
        ("estimate_below", pa.int64()),
        ("estimate_up_to", pa.int64()),
        ("values", pa.binary()),
        ("counts", pa.binary()),
        ("bins", pa.binary()),
        ("error", pa.string()),
    ]
)
"""One sweep's findings for one query. `values` are the distinct ones inside the bracket, ascending float64, and
`counts` how often each occurs, int64, or nothing if each occurs once; or else `bins` has the counts of `BINS` bins. All
columns may be null."""

BINS = 256
"""Bins that a bracket is cut into when it holds too many values: each round of counting narrows it by this factor."""

MOST_VALUES = 262_144
"""Most distinct values inside a bracket that a sweep yields, 2 MB; more are counted in bins instead."""

_MOST_HELD = 4_000_000
"""Values inside brackets that a sweep holds at most before it yields them, 32 MB, but for those of one row group."""

_NO_BYTES = pa.scalar(None, pa.binary())


class BracketBins:
    """The bracket of a query, cut into bins of equally many float64 numbers each.

    Positive float64 numbers have the order of their bits read as an integer, so that bins are ranges of such integers:
    any bracket is narrowed to single numbers in at most 8 rounds.
    """

    def __init__(self, query: Query) -> None:
        self._first, last = np.array([query.low, query.high]).view(np.int64).tolist()
        self._width = (last - self._first) // BINS + 1
        self._high = query.high

    def count(self, values: Floats, counts: Ints | None = None) -> Ints:
        """Count values by bin, each as often as `counts` says; shape (BINS,)."""
        bins = (values.view(np.int64) - self._first) // self._width
        return np.bincount(bins, weights=counts, minlength=BINS).astype(np.int64)

    def ends(self) -> list[tuple[float, float]]:
        """Return the smallest and the largest number of each bin."""
        begin = self._first + np.arange(BINS) * self._width
        low, high = begin.view(np.float64), (begin + self._width - 1).view(np.float64)
        return list(zip(low.tolist(), np.minimum(high, self._high).tolist(), strict=True))


def collect_sweep(
    plan: SweepPlan, number: int, queries: Queries, work: GroupWork | None = None
) -> Iterator[pa.RecordBatch]:
    """Read one sweep; yield batches of `FINDINGS_SCHEMA`, or a row with an error if a part cannot be read.

    With `work`, groups that were digested are looked at, too; see `median_spark.digests.key_of`.
    """
    groups = GroupsOfSweep(work, plan) if work is not None else None
    findings = Findings(queries)
    first, asked = queries.of_genes(plan.genes)
    try:
        for block in sweep_parts(plan, number):
            findings.add(block.offsets, block.values, first[block.genes], asked[block.genes])
            keyed = groups.digested(block) if groups is not None else None
            if keyed is not None:
                findings.add(keyed.offsets, keyed.values, *queries.of_genes(keyed.genes))
            if findings.held > _MOST_HELD:
                yield findings.taken()
        yield findings.taken()
    except MedianSparkError as error:
        yield pa.RecordBatch.from_pylist([{"gene": "", "query": 0, "error": error.text}], schema=FINDINGS_SCHEMA)


class Findings:
    """What is found for queries among values that are added bit by bit.

    Attributes
    ----------
    held : int
        Values inside brackets that are held.
    """

    def __init__(self, queries: Queries, most_values: int = MOST_VALUES) -> None:
        self._queries, self._most_values = queries, most_values
        self._clear()

    def _clear(self) -> None:
        self.held = 0
        self._counts = np.zeros((4, len(self._queries)), dtype=np.int64)
        self._seen = np.zeros(len(self._queries), dtype=np.bool_)
        self._numbers: list[Ints] = []
        self._lengths: list[Ints] = []
        self._values: list[Floats] = []

    def add(self, offsets: Ints, values: Floats, first: Ints, asked: Ints) -> None:
        """Look at the values of some genes; gene i has ``values[offsets[i]:offsets[i + 1]]``.

        Its queries are the ``asked[i]`` ones from number ``first[i]``, see `Queries.of_genes`.
        """
        from median_spark.exact.loops import collect_inside  # numba takes half a second: only who sweeps waits

        queries = self._queries
        rows = int(asked.sum())
        number = np.arange(rows) + np.repeat(first - (np.cumsum(asked) - asked), asked)
        begins, ends = (np.repeat(edges, asked) for edges in (offsets[:-1], offsets[1:]))
        found = np.empty((4, rows), dtype=np.int64)
        inside = np.empty(int((ends - begins).sum()) + 1, dtype=np.float64)
        brackets = (queries.low[number], queries.high[number], queries.estimate[number])
        held = collect_inside(values, begins, ends, *brackets, found, inside)
        self._counts[:, number] += found
        self._seen[number] = True
        self._numbers.append(number)
        self._lengths.append(found[1])
        self._values.append(inside[:held].copy())
        self.held += held

    def taken(self) -> pa.RecordBatch:
        """Return a row of `FINDINGS_SCHEMA` for each query of a gene that had values, and begin again."""
        number = np.flatnonzero(self._seen)
        below, inside, estimate_below, estimate_up_to = self._counts[:, number]
        numbers = np.concatenate([number[:0], *self._numbers])
        order = np.argsort(numbers, kind="stable")
        values = runs_in_order(self._values, self._lengths, order) if len(order) else np.zeros(0)
        self._clear()
        offsets = np.append(0, np.cumsum(inside))
        for begin, end in pairwise(offsets.tolist()):
            values[begin:end].sort()
        distinct, counts, runs = distinct_in_runs(values, offsets)
        sizes = np.diff(runs)
        few = sizes <= self._most_values
        bins = [
            None if held else BracketBins(self._queries[query]).count(distinct[begin:end], counts[begin:end]).tobytes()
            for held, query, (begin, end) in zip(few.tolist(), number.tolist(), pairwise(runs.tolist()), strict=True)
        ]
        return pa.RecordBatch.from_pydict(
            {
                "gene": self._queries.genes[number],
                "query": number,
                "below": below,
                "estimate_below": estimate_below,
                "estimate_up_to": estimate_up_to,
                "values": pc.if_else(few, _runs_of(distinct, sizes, few), _NO_BYTES),
                "counts": pc.if_else(few, _runs_of(counts, sizes, few & (sizes < inside)), _NO_BYTES),
                "bins": bins,
                "error": pa.nulls(len(number), pa.string()),
            },
            schema=FINDINGS_SCHEMA,
        )


def _runs_of(numbers: npt.NDArray[np.generic], sizes: Ints, chosen: npt.NDArray[np.bool_]) -> pa.BinaryArray:
    """Return the bytes of the chosen ones of runs with these sizes, and none of the others."""
    return binary_array(numbers[np.repeat(chosen, sizes)], np.append(0, np.cumsum(np.where(chosen, sizes, 0))))
