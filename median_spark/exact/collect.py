"""On one sweep's values: count those below each bracket, and collect those inside, or count them in bins."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests import GroupsOfSweep, GroupWork
from median_spark.errors import MedianSparkError
from median_spark.exact.queries import Queries, Query
from median_spark.expression import SweepPlan, sweep
from median_spark.gene_values import Floats, GeneValues, Ints

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
    try:
        for block in sweep(plan, number):
            grouped = groups.digested(block) if groups is not None else None
            for values in (block.gene_values, *([grouped.gene_values] if grouped is not None else [])):
                yield pa.RecordBatch.from_pylist(list(collect_values(values, queries)), schema=FINDINGS_SCHEMA)
    except MedianSparkError as error:
        yield pa.RecordBatch.from_pylist([{"gene": "", "query": 0, "error": error.text}], schema=FINDINGS_SCHEMA)


def collect_values(
    gene_values: GeneValues, queries: Queries, most_values: int = MOST_VALUES
) -> Iterator[dict[str, Any]]:
    """Yield a row of `FINDINGS_SCHEMA` for each gene with values and each of its queries."""
    begins = np.searchsorted(queries.genes, gene_values.genes, side="left").tolist()
    ends = np.searchsorted(queries.genes, gene_values.genes, side="right").tolist()
    for index, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        for number in range(begin, end):
            yield _findings(gene_values.of_gene(index), number, queries, most_values)


def _findings(values: Floats, number: int, queries: Queries, most_values: int) -> dict[str, Any]:
    low, high, estimate = queries.low[number], queries.high[number], queries.estimate[number]
    at_least = values >= low
    below = len(values) - int(np.count_nonzero(at_least))
    inside = values[at_least & (values <= high)]
    row: dict[str, Any] = {
        "gene": str(queries.genes[number]),
        "query": number,
        "below": below,
        # An estimate lies within its bracket, so that the values inside determine its rank.
        "estimate_below": below + int(np.count_nonzero(inside < estimate)),
        "estimate_up_to": below + int(np.count_nonzero(inside <= estimate)),
    }
    distinct, counts = np.unique(inside, return_counts=True)
    if len(distinct) > most_values:
        row["bins"] = BracketBins(queries[number]).count(distinct, counts).tobytes()
    else:
        row["values"] = distinct.tobytes()
        row["counts"] = b"" if len(distinct) == len(inside) else counts.astype(np.int64).tobytes()
    return row
