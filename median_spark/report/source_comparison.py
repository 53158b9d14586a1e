"""Are the sources comparable: what ``sources.parquet`` of a result says, as rows of the page."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from median_spark.results import group_columns, name_of

_LEAST_REACH = math.log(3)  # so that sources that are all alike also look alike


@dataclass(frozen=True)
class SourceRow:
    """One source; all but the last two fields are columns of `median_spark.results.SOURCES_SCHEMA`."""

    source: str
    median_n_counts: float | None
    values_per_cell: float
    ratio: float | None
    ratio_q25: float | None
    ratio_q75: float | None
    factor_apart: float | None
    apart: bool | None
    without_typical_change: float | None
    without_p95_change: float | None
    without_genes_changed: int | None
    place: float | None  # of the ratio on a logarithmic track from 0 to 100, with 1 in the middle
    above: bool  # the ratio is larger than the median source's


@dataclass(frozen=True)
class ComparedSources:
    """How the sources compare."""

    rows: tuple[SourceRow, ...]  # those that stand apart first, then by how far their ratio is from the corpus
    apart: int  # sources that stand apart
    judged: bool  # there were enough sources to say
    reach: float  # the ratio at the right end of the track; its inverse is at the left end


def compared_sources(sources: pa.Table) -> ComparedSources:
    """Return the rows of a table of sources."""
    columns = [name for name in SourceRow.__dataclass_fields__ if name not in {"source", "place", "above"}]
    made_by = group_columns(sources)
    rows = [
        {name: row[name] for name in columns} | {"source": name_of(tuple(row[name] for name in made_by))}
        for row in sources.to_pylist()
    ]
    ratios = [row["ratio"] for row in rows if row["ratio"]]
    middle = float(np.median(ratios or [1.0]))
    reach = max([_LEAST_REACH, *(abs(math.log(ratio)) for ratio in ratios)]) * 1.08
    rows.sort(key=lambda row: (not row["apart"], -abs(math.log(row["ratio"])) if row["ratio"] else 0.0, row["source"]))
    return ComparedSources(
        rows=tuple(
            SourceRow(
                **row,
                place=50 + 50 * math.log(row["ratio"]) / reach if row["ratio"] else None,
                above=bool(row["ratio"] and row["ratio"] > middle),
            )
            for row in rows
        ),
        apart=sum(1 for row in rows if row["apart"]),
        judged=any(row["apart"] is not None for row in rows),
        reach=math.exp(reach),
    )
