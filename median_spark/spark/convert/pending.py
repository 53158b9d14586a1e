"""Sources on their way into an expression table: what is known of each before, and while, its counts are read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.expression import UnitRecord
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
        What was recognised.
    listed : ndarray or None
        Places in the list of cells of those that it has, if there is a list.
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
        )


@dataclass
class PendingSource:
    """A source on its way into the table; what its units yielded gathers here.

    Attributes
    ----------
    source : SourceFile
        Its name and file.
    conversion : str
        Fingerprint of file and parameters.
    head : SourceHead
        What is known before its counts are read.
    done : dict of int to UnitRecord
        What each unit yielded, by its number.
    """

    source: SourceFile
    conversion: str
    head: SourceHead
    done: dict[int, UnitRecord] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """Why it cannot be converted, by its first unit that failed."""
        return next((record.error for _, record in sorted(self.done.items()) if record.error), None)

    @property
    def complete(self) -> bool:
        """Whether all its units are done."""
        return len(self.done) == len(self.head.units)

    @property
    def units_left(self) -> list[Unit]:
        """Units that are not done."""
        return [unit for unit in self.head.units if unit.number not in self.done]
