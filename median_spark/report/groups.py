"""Are the groups comparable: ``groups.parquet`` as rows of the page, and each gene's medians across groups."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.errors import TableError, counted
from median_spark.results import Result, group_columns, group_runs, name_of, read_medians_of_groups

MOST_DRAWN = 40
"""Groups whose medians of a gene are embedded in the page, at most."""

_MOST_EMBEDDED = 400_000
"""Medians of genes in groups that are embedded, at most: three bytes each."""

_LEAST_REACH = math.log(3)  # so that groups that are all alike also look alike

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroupRow:
    """One group; all but the first and the last two fields are columns of ``groups.parquet``."""

    names: tuple[str | None, ...]  # one per column that the cells are grouped by
    sources: int
    cells: int
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
    above: bool  # the ratio is larger than the median group's

    @property
    def label(self) -> str:
        """The group's names in one text."""
        return name_of(self.names)


@dataclass(frozen=True)
class ComparedGroups:
    """How the groups compare."""

    by: tuple[str, ...]  # the columns that cells are grouped by
    rows: tuple[GroupRow, ...]  # those that stand apart first, then by how far their ratio is from the corpus
    apart: int  # groups that stand apart
    judged: bool  # there were enough groups to say
    reach: float  # the ratio at the right end of the track; its inverse is at the left end

    @property
    def noun(self) -> str:
        """What a group is called."""
        return "source" if self.by == ("source",) else "group"

    def counted(self, number: int) -> str:
        """Return a number of groups in words."""
        return counted(number, self.noun)

    def largest(self, genes: int) -> list[GroupRow]:
        """Return the groups whose medians of so many genes fit into the page, those with most cells first."""
        number = min(MOST_DRAWN, _MOST_EMBEDDED // max(genes, 1))
        return sorted(self.rows, key=lambda row: -row.cells)[:number]


@dataclass(frozen=True)
class GeneAcrossGroups:
    """The medians of every gene in some groups."""

    groups: list[GroupRow]
    median: FloatArray  # shape (genes, groups); NaN where the gene is not detected
    n_cells: npt.NDArray[np.int64]  # shape (genes, groups); cells with a value


def compared_groups(groups: pa.Table) -> ComparedGroups:
    """Return the rows of a table of groups, see `median_spark.results.GROUPS_SCHEMA`."""
    by = tuple(group_columns(groups))
    columns = [name for name in GroupRow.__dataclass_fields__ if name not in {"names", "place", "above"}]
    named = zip(*(groups[name].to_pylist() for name in by), strict=True)
    rows: list[tuple[tuple[str | None, ...], dict[str, Any]]] = list(
        zip(named, groups.select(columns).to_pylist(), strict=True)
    )
    ratios = [row["ratio"] for _, row in rows if row["ratio"]]
    middle = float(np.median(ratios or [1.0]))
    reach = max([_LEAST_REACH, *(abs(math.log(ratio)) for ratio in ratios)]) * 1.08
    # Sorting is stable, and the table ascends by group.
    rows.sort(key=lambda pair: (not pair[1]["apart"], -abs(math.log(pair[1]["ratio"])) if pair[1]["ratio"] else 0.0))
    return ComparedGroups(
        by=by,
        rows=tuple(
            GroupRow(
                names=names,
                **row,
                place=50 + 50 * math.log(row["ratio"]) / reach if row["ratio"] else None,
                above=bool(row["ratio"] and row["ratio"] > middle),
            )
            for names, row in rows
        ),
        apart=sum(1 for _, row in rows if row["apart"]),
        judged=any(row["apart"] is not None for _, row in rows),
        reach=math.exp(reach),
    )


def across_groups(result: Result, groups: ComparedGroups, genes: list[str], detected: int) -> GeneAcrossGroups | None:
    """Return the medians of all genes, of which some are detected, in the largest groups; None if not one would fit.

    Raises TableError if the file with them cannot be read.
    """
    largest = groups.largest(detected)
    if result.by_group is None or not largest:
        return None
    columns = ["gene", "n_cells", "median"]
    table = read_medians_of_groups(result.by_group, groups.by, {group.names for group in largest}, columns)
    named = table["gene"].combine_chunks()
    place_of = pc.index_in(named.dictionary, value_set=pa.array(genes, pa.string()))
    if place_of.null_count:
        message = f"{result.by_group}: this file has genes that the medians lack, and so is of another result"
        raise TableError(message)
    places = place_of.take(named.indices).to_numpy()
    median = np.full((len(genes), len(largest)), np.nan)
    n_cells = np.zeros((len(genes), len(largest)), dtype=np.int64)
    number_of = {group.names: number for number, group in enumerate(largest)}
    for names, begin, end in group_runs(table, groups.by):
        rows = places[begin:end], number_of[names]
        median[rows] = table["median"][begin:end].to_numpy()
        n_cells[rows] = table["n_cells"][begin:end].to_numpy()
    return GeneAcrossGroups(largest, median, n_cells)
