"""Merge all sweeps' findings of a query: pick the ranks that are sought, or say where to look next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.exact.collect import BINS, BracketBins
from median_spark.exact.queries import Queries, Query
from median_spark.gene_values import Floats, Ints

OUTCOME_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("first_rank", pa.int64()),
        ("last_rank", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("resolved", pa.bool_()),
        ("estimate_below", pa.int64()),
        ("estimate_up_to", pa.int64()),
        ("error", pa.string()),
    ]
)
"""Some ranks of a gene after a round: if `resolved`, their value, which `low` and `high` both are; else the bracket to
look in next. All columns may be null."""

MOST_MERGED_VALUES = 4_194_304
"""Most distinct values of one query that are held while findings are merged, 64 MB with their counts; more are counted
in bins."""

_MERGED_ROWS = 2_000


@dataclass
class _Merged:
    """The merged findings of one query: distinct values with their counts, or else `bins`, the counts by bin."""

    query: Query
    most_values: int
    below: int = 0
    estimate_below: int = 0
    estimate_up_to: int = 0
    held: int = 0
    bins: Ints | None = None
    values: list[Floats] = field(default_factory=list)
    counts: list[Ints] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        self.below += row["below"]
        self.estimate_below += row["estimate_below"]
        self.estimate_up_to += row["estimate_up_to"]
        if row["bins"] is not None:
            self.bins = self._in_bins() + np.frombuffer(row["bins"], dtype=np.int64)
            return
        values = np.frombuffer(row["values"], dtype=np.float64)
        counts = np.frombuffer(row["counts"], dtype=np.int64) if row["counts"] else np.ones(len(values), dtype=np.int64)
        self.values.append(values)
        self.counts.append(counts)
        self.held += len(values)
        if self.bins is not None or self.held > self.most_values:
            self.bins = self._in_bins()

    def _in_bins(self) -> Ints:
        """Return the counts by bin of all values so far, and release the values."""
        cut = BracketBins(self.query)
        bins = np.zeros(BINS, dtype=np.int64) if self.bins is None else self.bins
        for values, counts in zip(self.values, self.counts, strict=True):
            bins = bins + cut.count(values, counts)
        self.values, self.counts, self.held = [], [], 0
        return bins

    def outcome_rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows of `OUTCOME_SCHEMA`."""
        if self.bins is not None:
            outcomes = resolve(self.query, self.below, self.bins, BracketBins(self.query).ends())
        else:
            values = np.concatenate([np.zeros(0), *self.values])
            counts = np.concatenate([np.zeros(0, dtype=np.int64), *self.counts])
            order = np.argsort(values, kind="stable")
            ends = [(value, value) for value in values[order].tolist()]
            outcomes = resolve(self.query, self.below, counts[order], ends)
        for query, resolved in outcomes:
            ranks = {"estimate_below": self.estimate_below, "estimate_up_to": self.estimate_up_to}
            yield vars(query) | ranks | {"resolved": resolved}


def resolve(query: Query, below: int, counts: Ints, ends: Sequence[tuple[float, float]]) -> list[tuple[Query, bool]]:
    """Find the ranks of a query among the ascending bins of its bracket, of which `counts` has the values in each.

    `below` values are below the bracket. `ends` has the smallest and the largest number of each bin, which are equal if
    the bin is a single value. Returns one or two queries that seek the same ranks in narrower brackets, and for each
    whether it is resolved: its bracket is the value. A rank that is not in the bracket is sought on the side where it
    must be.
    """
    upper = below + np.cumsum(counts)
    outcomes: list[tuple[Query, bool]] = []
    for rank in sorted({query.first_rank, query.last_rank}):
        if rank < below:
            low, high, resolved = query.floor, float(np.nextafter(query.low, -np.inf)), False
        elif not len(upper) or rank >= upper[-1]:
            low, high, resolved = float(np.nextafter(query.high, np.inf)), query.ceiling, False
        else:
            low, high = ends[int(np.searchsorted(upper, rank, side="right"))]
            resolved = low == high
        if outcomes and (outcomes[-1][0].low, outcomes[-1][0].high) == (low, high):
            outcomes[-1] = (replace(outcomes[-1][0], last_rank=rank), resolved)
        else:
            narrowed = replace(query, first_rank=rank, last_rank=rank, low=low, high=high, estimate=float("nan"))
            outcomes.append((narrowed, resolved))
    return outcomes


def merge_findings(
    batches: Iterator[pa.RecordBatch], queries: Queries, most_values: int = MOST_MERGED_VALUES
) -> Iterator[pa.RecordBatch]:
    """Merge the findings of each query: batches of `FINDINGS_SCHEMA` in, batches of `OUTCOME_SCHEMA` out.

    All rows of a query come together, in any order; rows with an error pass through. `most_values` are the distinct
    values of a query to hold at once.
    """
    merged: list[dict[str, Any]] = []

    def without_errors() -> Iterator[dict[str, Any]]:
        for batch in batches:
            for row in batch.to_pylist():
                if row["error"] is None:
                    yield row
                else:
                    merged.append(row)

    for number, rows in groupby(without_errors(), key=itemgetter("query")):
        of_query = _Merged(queries[number], most_values)
        for row in rows:
            of_query.add(row)
        merged.extend(of_query.outcome_rows())
        if len(merged) >= _MERGED_ROWS:
            yield pa.RecordBatch.from_pylist(merged, schema=OUTCOME_SCHEMA)
            merged.clear()
    if merged:
        yield pa.RecordBatch.from_pylist(merged, schema=OUTCOME_SCHEMA)
