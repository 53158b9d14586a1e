"""What is known of a source before its counts are read: the first half of its record."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.expression.parts import CellsEntry, PartEntry
from median_spark.expression.records import SourceRecord
from median_spark.genes import RowCounts
from median_spark.matrices import AppliedLayout, SourceFile, SourceOutline, Unit
from median_spark.options import Style, worded


@dataclass(frozen=True)
class SourceHead:
    """What a source's record says that is known before its counts are read, and how its cells are cut.

    Attributes
    ----------
    rows, cells, cells_passed, median_n_counts, genes, gene_list, row_counts, warnings
        As in `SourceRecord`.
    units : tuple of Unit
        Ranges of cells, each read by one task.
    parameters : dict
        Options of reading, completed by the layout.
    layout : AppliedLayout or None
        Layout that was recognised.
    listed : ndarray or None
        Places in the list of cells of those that it has, if there is a list.
    cell_columns : tuple of (str, str)
        Names and types of the columns of its table of cells.
    """

    rows: int
    cells: int
    cells_passed: int
    median_n_counts: float | None
    genes: int
    gene_list: str
    row_counts: RowCounts
    warnings: list[str]
    units: tuple[Unit, ...]
    parameters: dict[str, Any]
    layout: AppliedLayout | None
    listed: npt.NDArray[np.int64] | None
    cell_columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, outline: SourceOutline, gene_list: str) -> "SourceHead":
        """Return what an outline tells; `gene_list` is the fingerprint of the genes that the source has values of."""
        return cls(
            outline.rows,
            outline.cells,
            outline.cells_passed,
            outline.median_n_counts,
            len(outline.genes),
            gene_list,
            outline.row_counts,
            [worded(warning, Style.FLAGS) for warning in outline.warnings],
            outline.units,
            outline.options.as_json(),
            outline.layout,
            outline.listed,
            outline.kept.types,
        )

    def record(
        self,
        source: SourceFile,
        conversion: str,
        values: int,
        parts: Iterable[PartEntry],
        cells_parts: Iterable[CellsEntry],
        software: dict[str, str],
    ) -> SourceRecord:
        """Return the record of the source once it is known what its units yielded."""
        return SourceRecord(
            source=source.name,
            input=source.file,
            conversion=conversion,
            values=values,
            parameters=self.parameters,
            layout=self.layout,
            cells_listed=None if self.listed is None else len(self.listed),
            software=software,
            parts=tuple(parts),
            cells_parts=tuple(cells_parts),
            cell_columns=self.cell_columns,
            rows=self.rows,
            cells=self.cells,
            cells_passed=self.cells_passed,
            median_n_counts=self.median_n_counts,
            genes=self.genes,
            gene_list=self.gene_list,
            row_counts=self.row_counts,
            warnings=self.warnings,
        )
