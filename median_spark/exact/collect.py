"""On one sweep's values: count what lies below each bracket, and collect what lies inside, or count it in a grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.errors import MedianSparkError
from median_spark.exact.queries import Queries, Query
from median_spark.expression import SweepPlan, sweep
from median_spark.gene_values import GeneValues

FINDINGS_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("query", pa.int32()),
        ("below", pa.int64()),
        ("estimate_below", pa.int64()),
        ("estimate_up_to", pa.int64()),
        ("values", pa.binary()),
        ("counts", pa.binary()),
        ("grid", pa.binary()),
        ("error", pa.string()),
    ]
)
"""What one sweep found for one query. `values` are the distinct ones inside the bracket, ascending float64, and
`counts` how often each occurs, int64, or nothing if each occurs once; or else `grid` has the counts of `GRID_BINS`
cells."""

GRID_BINS = 256
"""Cells into which a bracket is cut when it holds too many values: each round of counting narrows it so much."""

MOST_VALUES = 262_144
"""Distinct values inside a bracket that a sweep hands over, 2 MB; more are counted in the grid instead."""


@dataclass(frozen=True)
class Grid:
    """A bracket cut into cells of equally many float64 numbers each.

    Positive float64 numbers have the order of their bits read as an integer, so that cells are ranges of such integers:
    any bracket comes down to single numbers in at most 8 rounds.

    Attributes
    ----------
    first : int
        The bits of the bracket's lower end.
    width : int
        Numbers in a cell.
    """

    first: int
    width: int

    @classmethod
    def over(cls, query: Query) -> "Grid":
        """Cut the bracket of a query."""
        first, last = np.array([query.low, query.high]).view(np.int64).tolist()
        return cls(first, (last - first) // GRID_BINS + 1)

    def count(
        self, values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.int64]:
        """Count values by cell, each as often as `counts` says; shape (GRID_BINS,)."""
        cells = (values.view(np.int64) - self.first) // self.width
        found = np.bincount(cells, weights=counts, minlength=GRID_BINS)
        return found.astype(np.int64)

    def ends(self, cell: int, query: Query) -> tuple[float, float]:
        """Return the smallest and the largest number of a cell."""
        begin = self.first + cell * self.width
        low, high = np.array([begin, begin + self.width - 1], dtype=np.int64).view(np.float64).tolist()
        return low, min(high, query.high)


def collect_sweep(plan: SweepPlan, number: int, queries: Queries) -> Iterator[pa.RecordBatch]:
    """Read one sweep, and answer what its values can of every query.

    Yields
    ------
    pyarrow.RecordBatch
        Of `FINDINGS_SCHEMA`; one row with an error if a part cannot be read.
    """
    try:
        for block in sweep(plan, number):
            yield pa.RecordBatch.from_pylist(list(collect_values(block.runs, queries)), schema=FINDINGS_SCHEMA)
    except MedianSparkError as error:
        yield pa.RecordBatch.from_pylist([{"gene": "", "query": 0, "error": error.text}], schema=FINDINGS_SCHEMA)


def collect_values(runs: GeneValues, queries: Queries, most_values: int = MOST_VALUES) -> Iterator[dict[str, Any]]:
    """Answer what some runs can of every query.

    Parameters
    ----------
    runs : GeneValues
        Some of the corpus's values.
    queries : Queries
        What is sought.
    most_values : int
        Distinct values to hand over for a query; more are counted in a grid.

    Yields
    ------
    dict
        A row of `FINDINGS_SCHEMA`, one a gene and query that `runs` has values of.
    """
    begins = np.searchsorted(queries.genes, runs.genes, side="left").tolist()
    ends = np.searchsorted(queries.genes, runs.genes, side="right").tolist()
    for index, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        for number in range(begin, end):
            yield _answer(runs.run(index), number, queries, most_values)


def _answer(values: npt.NDArray[np.float64], number: int, queries: Queries, most_values: int) -> dict[str, Any]:
    low, high, estimate = queries.low[number], queries.high[number], queries.estimate[number]
    at_least = values >= low
    below = len(values) - int(np.count_nonzero(at_least))
    inside = values[at_least & (values <= high)]
    row: dict[str, Any] = {
        "gene": str(queries.genes[number]),
        "query": number,
        "below": below,
        # An estimate lies within its bracket, so that the values inside tell its rank.
        "estimate_below": below + int(np.count_nonzero(inside < estimate)),
        "estimate_up_to": below + int(np.count_nonzero(inside <= estimate)),
    }
    distinct, counts = np.unique(inside, return_counts=True)
    if len(distinct) > most_values:
        row["grid"] = Grid.over(queries[number]).count(distinct, counts).tobytes()
    else:
        row["values"] = distinct.tobytes()
        row["counts"] = b"" if len(distinct) == len(inside) else counts.astype(np.int64).tobytes()
    return row
