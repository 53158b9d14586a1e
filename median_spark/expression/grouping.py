"""Cells of an expression table that are taken, and the groups that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from median_spark.expression.cell_groups import CellGroups
from median_spark.expression.records import SourceRecord

Group = tuple[str | None, ...]
"""The values of the grouping columns; None for cells that have none."""


@dataclass(frozen=True)
class GroupFigures:
    """What is known of the cells of a group."""

    sources: int
    cells: int
    values: int
    median_n_counts: float | None  # None where totals were not read


@dataclass(frozen=True)
class Grouping:
    """Cells of some sources of a table, and their groups.

    Attributes
    ----------
    columns : tuple of str
        Attributes of cells whose values make the groups; empty if all cells that are taken are one group.
    groups : tuple of Group
        The groups, ascending, cells without a value last.
    figures : tuple of GroupFigures
        Figures of each group.
    records : tuple of SourceRecord
        The sources that have such cells, ascending, as if they had no others; parts without such a cell are left out.
    cells : dict
        By source and part, the groups of the part's cells, or the one group of all of them; empty if all cells of all
        sources are taken and are one group.
    notes : tuple of str
        Notes for the user.
    """

    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    figures: tuple[GroupFigures, ...]
    records: tuple[SourceRecord, ...]
    cells: Mapping[tuple[str, str], CellGroups | int]
    notes: tuple[str, ...] = ()

    def of_source(self, record: SourceRecord) -> "Grouping":
        """Return the cells of one source alone, as one group."""
        return replace(self, columns=(), groups=((),), figures=(), records=(record,))

    def only(self, kept: npt.NDArray[np.bool_]) -> "Grouping":
        """Return the same with the cells of some groups, shape (groups,), alone, and without figures of any kind."""
        numbers = np.where(np.append(kept, False), np.arange(len(kept) + 1), -1).astype(np.int32)
        cells: dict[tuple[str, str], CellGroups | int] = {}
        records = []
        for record in self.records:
            left = []
            for part in record.parts:
                own = self.cells[record.source, part.name]
                held = int(numbers[own]) if isinstance(own, int) else own.numbered(numbers)
                if held is not None and held != -1:
                    cells[record.source, part.name] = held
                    left.append(part)
            if left:
                records.append(replace(record, parts=tuple(left)))
        return Grouping(self.columns, self.groups, (), tuple(records), cells)


def all_cells(records: Sequence[SourceRecord]) -> Grouping:
    """Return all cells of some sources, as one group; nothing is read."""
    return Grouping((), ((),), (), tuple(records), {})


def by_source(records: Sequence[SourceRecord], by: Sequence[str]) -> Grouping:
    """Return all cells of some sources, grouped by source; nothing is read."""
    groups = [(record.source,) * len(by) for record in records]
    cells = {(record.source, part.name): number for number, record in enumerate(records) for part in record.parts}
    figures = [GroupFigures(1, each.cells_passed, each.values, each.median_n_counts) for each in records]
    return Grouping(tuple(by), tuple(groups), tuple(figures), tuple(records), cells)
