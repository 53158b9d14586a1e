"""Over all tasks' findings of a query: pick the ranks that are sought, or say where to look next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.exact.collect import GRID_BINS, Grid
from median_spark.exact.queries import Queries, Query

OUTCOME_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("first_rank", pa.int64()),
        ("last_rank", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("found", pa.bool_()),
        ("estimate_below", pa.int64()),
        ("estimate_up_to", pa.int64()),
        ("error", pa.string()),
    ]
)
"""What is known of some ranks of a gene after a round: their value, `low` and `high` alike, if `found`; else the
bracket to look in next."""

MOST_MERGED_VALUES = 4_194_304
"""Distinct values of one query that are held when findings are merged, 64 MB with their counts; more are counted."""


@dataclass
class _Gathered:
    """The findings of one query, as they come in."""

    query: Query
    most_values: int
    below: int = 0
    estimate_below: int = 0
    estimate_up_to: int = 0
    held: int = 0
    grid: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self.values: list[npt.NDArray[np.float64]] = []
        self.counts: list[npt.NDArray[np.int64]] = []

    def add(self, row: dict[str, Any]) -> None:
        self.below += row["below"]
        self.estimate_below += row["estimate_below"]
        self.estimate_up_to += row["estimate_up_to"]
        if row["grid"] is not None:
            self.grid = self._to_grid() + np.frombuffer(row["grid"], dtype=np.int64)
            return
        values = np.frombuffer(row["values"], dtype=np.float64)
        counts = np.frombuffer(row["counts"], dtype=np.int64) if row["counts"] else np.ones(len(values), dtype=np.int64)
        self.values.append(values)
        self.counts.append(counts)
        self.held += len(values)
        if self.grid is not None or self.held > self.most_values:
            self.grid = self._to_grid()

    def _to_grid(self) -> npt.NDArray[np.int64]:
        """Return the counts by cell of all there is so far, and hold the values no longer."""
        grid = Grid.over(self.query)
        counted = np.zeros(GRID_BINS, dtype=np.int64) if self.grid is None else self.grid
        for values, counts in zip(self.values, self.counts, strict=True):
            counted = counted + grid.count(values, counts)
        self.values, self.counts, self.held = [], [], 0
        return counted

    def outcomes(self) -> list[tuple[Query, bool]]:
        if self.grid is not None:
            grid = Grid.over(self.query)
            ends = [grid.ends(cell, self.query) for cell in range(GRID_BINS)]
            return resolve(self.query, self.below, self.grid, ends)
        values = np.concatenate([np.zeros(0), *self.values])
        counts = np.concatenate([np.zeros(0, dtype=np.int64), *self.counts])
        order = np.argsort(values, kind="stable")
        return resolve(self.query, self.below, counts[order], [(value, value) for value in values[order].tolist()])


def resolve(
    query: Query, below: int, counts: npt.NDArray[np.int64], ends: Sequence[tuple[float, float]]
) -> list[tuple[Query, bool]]:
    """Find the ranks of a query among ascending cells whose counts are known.

    Parameters
    ----------
    query : Query
        What is sought.
    below : int
        Values below its bracket.
    counts : ndarray of int64, shape (cells,)
        Values in each cell of the bracket.
    ends : sequence of tuple of float
        The smallest and the largest number of each cell; alike where a cell is a single value.

    Returns
    -------
    list of (Query, bool)
        One or two queries that seek the same ranks in narrower brackets, and whether each is answered: its bracket is
        the value. A rank that is not in the bracket is sought on the side where it must be.
    """
    upper = below + np.cumsum(counts)
    outcomes: list[tuple[Query, bool]] = []
    for rank in sorted({query.first_rank, query.last_rank}):
        if rank < below:
            low, high, found = query.floor, float(np.nextafter(query.low, -np.inf)), False
        elif not len(upper) or rank >= upper[-1]:
            low, high, found = float(np.nextafter(query.high, np.inf)), query.ceiling, False
        else:
            low, high = ends[int(np.searchsorted(upper, rank, side="right"))]
            found = low == high
        if outcomes and (outcomes[-1][0].low, outcomes[-1][0].high) == (low, high):
            outcomes[-1] = (replace(outcomes[-1][0], last_rank=rank), found)
        else:
            outcomes.append(
                (replace(query, first_rank=rank, last_rank=rank, low=low, high=high, estimate=float("nan")), found)
            )
    return outcomes


def merge_findings(
    batches: Iterator[pa.RecordBatch], queries: Queries, most_values: int = MOST_MERGED_VALUES
) -> Iterator[pa.RecordBatch]:
    """Merge the findings of each query.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Of `FINDINGS_SCHEMA`, all rows of a query together, in any order among themselves.
    queries : Queries
        What is sought.
    most_values : int
        Distinct values of a query to hold at once.

    Yields
    ------
    pyarrow.RecordBatch
        Of `OUTCOME_SCHEMA`; rows with an error pass through.
    """
    gathered: _Gathered | None = None
    number = -1
    for batch in batches:
        rows: list[dict[str, Any]] = []
        for row in batch.to_pylist():
            if row["error"] is not None:
                rows.append({"gene": row["gene"], "error": row["error"]})
                continue
            if row["query"] != number:
                if gathered is not None:
                    rows.extend(_outcome_rows(gathered))
                number = row["query"]
                gathered = _Gathered(queries[number], most_values)
            if gathered is not None:
                gathered.add(row)
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=OUTCOME_SCHEMA)
    if gathered is not None:
        yield pa.RecordBatch.from_pylist(list(_outcome_rows(gathered)), schema=OUTCOME_SCHEMA)


def _outcome_rows(gathered: _Gathered) -> Iterator[dict[str, Any]]:
    for query, found in gathered.outcomes():
        yield {
            "gene": query.gene,
            "first_rank": query.first_rank,
            "last_rank": query.last_rank,
            "low": query.low,
            "high": query.high,
            "found": found,
            "estimate_below": gathered.estimate_below,
            "estimate_up_to": gathered.estimate_up_to,
        }
