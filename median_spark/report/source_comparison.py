"""Do the sources go together: what ``sources.parquet`` of a result says, as rows of the page."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from median_spark.errors import TableError

_COLUMNS = (
    "source", "median_n_counts", "values_per_cell", "ratio", "ratio_q25", "ratio_q75", "factor_apart", "apart",
    "without_typical_change", "without_p95_change", "without_genes_changed",
)  # fmt: skip
_LEAST_REACH = math.log(3)  # so that sources that are all alike also look alike


@dataclass(frozen=True)
class SourceRow:
    """One source.

    Attributes
    ----------
    source : str
        Its name.
    depth : float or None
        Median total count of its cells.
    values_per_cell : float
        Genes detected in a cell, on average.
    ratio, low, high : float or None
        A gene's median in this source over its median in the corpus: at the median of genes, and the quartiles.
    place : float or None
        Of the ratio on a logarithmic track from 0 to 100, with 1 in the middle.
    factor_apart : float or None
        How many times larger or smaller than the median source's its ratio is.
    above : bool
        Whether it is larger.
    apart : bool or None
        Whether it stands apart; None where there is no verdict.
    typical_change, p95_change : float or None
        What leaving it out changes a gene's median by, as a fraction; None where that was not tried.
    genes_changed : int or None
        Genes whose median so changes by more than 10 %.
    """

    source: str
    depth: float | None
    values_per_cell: float
    ratio: float | None
    low: float | None
    high: float | None
    place: float | None
    factor_apart: float | None
    above: bool
    apart: bool | None
    typical_change: float | None
    p95_change: float | None
    genes_changed: int | None


@dataclass(frozen=True)
class Together:
    """How the sources compare.

    Attributes
    ----------
    rows : tuple of SourceRow
        Those that stand apart first, then by how far their ratio is from the corpus.
    apart : int
        How many stand apart.
    judged : bool
        Whether there were enough sources to say.
    reach : float
        The ratio at the right end of the track; its inverse stands at the left end.
    """

    rows: tuple[SourceRow, ...]
    apart: int
    judged: bool
    reach: float


def together(sources: pa.Table) -> Together:
    """Return the rows of a table of sources.

    Parameters
    ----------
    sources : pyarrow.Table
        Content of ``sources.parquet``.

    Raises
    ------
    TableError
        If it lacks a column.
    """
    missing = sorted(set(_COLUMNS) - set(sources.column_names))
    if missing:
        message = (
            f"sources.parquet: this file of a result lacks the column '{missing[0]}'; it has {sources.column_names}"
        )
        raise TableError(message)
    found = sources.select(list(_COLUMNS)).to_pylist()
    logs = [abs(math.log(row["ratio"])) for row in found if row["ratio"]]
    middle = float(np.median([row["ratio"] for row in found if row["ratio"]] or [1.0]))
    reach = max([_LEAST_REACH, *logs]) * 1.08
    rows = sorted(
        found, key=lambda row: (not row["apart"], -abs(math.log(row["ratio"])) if row["ratio"] else 0.0, row["source"])
    )
    return Together(
        rows=tuple(
            SourceRow(
                row["source"],
                row["median_n_counts"],
                row["values_per_cell"],
                row["ratio"],
                row["ratio_q25"],
                row["ratio_q75"],
                50 + 50 * math.log(row["ratio"]) / reach if row["ratio"] else None,
                row["factor_apart"],
                bool(row["ratio"] and row["ratio"] > middle),
                row["apart"],
                row["without_typical_change"],
                row["without_p95_change"],
                row["without_genes_changed"],
            )
            for row in rows
        ),
        apart=sum(1 for row in found if row["apart"]),
        judged=any(row["apart"] is not None for row in found),
        reach=math.exp(reach),
    )
