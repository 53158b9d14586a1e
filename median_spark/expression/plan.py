"""Cutting the row groups of an expression table into digest tasks, the same whatever the cluster's size."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.expression.records import SourceRecord
from median_spark.expression.table import part_location

TASK_ROWS = 8_000_000
"""Rows a digest task holds in memory: 64 MB of values, and as much again while they are sorted."""


@dataclass(frozen=True)
class DigestPlan:
    """Which task reads which row groups; flat arrays, so that it travels cheaply to every worker.

    Attributes
    ----------
    parts : tuple of str
        Locations of the parts, in the order of sources and names.
    source_of_part : ndarray of int32, shape (parts,)
        Number of each part's source.
    offsets : ndarray of int64, shape (tasks + 1,)
        Task i has the row groups ``offsets[i]:offsets[i + 1]``.
    part_of_group, group_in_part : ndarray of int32, shape (row groups,)
        The part of each row group, and its number in it.
    rows : ndarray of int64, shape (row groups,)
        Rows of each row group.
    """

    parts: tuple[str, ...]
    source_of_part: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    part_of_group: npt.NDArray[np.int32]
    group_in_part: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return len(self.offsets) - 1

    def task(self, number: int) -> Iterator[tuple[str, int, list[int], int]]:
        """Yield part location, source number, row groups and their rows for one task, by part."""
        chosen = slice(self.offsets[number], self.offsets[number + 1])
        parts, groups, rows = self.part_of_group[chosen], self.group_in_part[chosen], self.rows[chosen]
        for part in np.unique(parts):
            of_part = parts == part
            yield (
                self.parts[part],
                int(self.source_of_part[part]),
                np.sort(groups[of_part]).tolist(),
                int(rows[of_part].sum()),
            )


def plan_digests(
    values_folder: str,
    records: Sequence[SourceRecord],
    task_rows: int = TASK_ROWS,
    genes: Sequence[str] | None = None,
) -> DigestPlan:
    """Order row groups by (first gene, source, part, row group) and cut them every `task_rows` rows.

    Parameters
    ----------
    values_folder : str
        The table's ``values`` folder.
    records : sequence of SourceRecord
        The sources, ascending by name.
    task_rows : int
        Rows a task should have.
    genes : sequence of str, optional
        Genes of interest, ascending: row groups that can have none of them are left out. By default all are taken.

    Returns
    -------
    DigestPlan
        A task sees a narrow range of genes over many sources.
    """
    parts: list[str] = []
    source_of_part, part_of_group, group_in_part, rows, first_genes = [], [], [], [], []
    for source, record in enumerate(records):
        for part in record.parts:
            for number, group in enumerate(part.row_groups):
                if genes is not None and bisect_left(genes, group.gene_min) == bisect_right(genes, group.gene_max):
                    continue
                part_of_group.append(len(parts))
                group_in_part.append(number)
                rows.append(group.rows)
                first_genes.append(group.gene_min)
            parts.append(part_location(values_folder, record.source, part.name))
            source_of_part.append(source)
    order = np.lexsort(
        (
            np.array(group_in_part, dtype=np.int32),
            np.array(part_of_group, dtype=np.int32),  # parts are numbered by source and name
            np.array(first_genes, dtype=np.str_),
        )
    )
    ordered_rows = np.array(rows, dtype=np.int64)[order]
    before = np.cumsum(ordered_rows) - ordered_rows
    cuts = np.flatnonzero(np.diff(before // task_rows)) + 1
    return DigestPlan(
        parts=tuple(parts),
        source_of_part=np.array(source_of_part, dtype=np.int32),
        offsets=np.concatenate([[0], cuts, [len(order)]] if len(order) else [[0]]).astype(np.int64),
        part_of_group=np.array(part_of_group, dtype=np.int32)[order],
        group_in_part=np.array(group_in_part, dtype=np.int32)[order],
        rows=ordered_rows,
    )
