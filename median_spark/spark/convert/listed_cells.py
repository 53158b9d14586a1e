"""How many cells of a list the sources of a conversion have."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.expression import SourceRecord
from median_spark.matrices import CellList


@dataclass(frozen=True)
class CellListUse:
    """What became of a list of cells.

    Attributes
    ----------
    path : str
        Location of the list.
    cells : int
        Cells in it.
    missing : int
        Cells that no source in the table has.
    repeated : int
        Cells that several sources have, all of which were taken; 0 if the list names sources.
    """

    path: str
    cells: int
    missing: int
    repeated: int


class ListedCells:
    """Counts, for each cell of a list without sources, the newly converted sources that have it."""

    def __init__(self, cells: CellList | None) -> None:
        self._cells = cells
        by_place = cells is not None and cells.sources is None
        self._counts = np.zeros(len(cells) if cells is not None and by_place else 0, dtype=np.int32)

    def add(self, places: npt.NDArray[np.int64] | None) -> None:
        """Take in the places in the list of the cells that one source has, each once."""
        if places is not None and len(self._counts):
            self._counts[places] += 1

    def used(self, records: Iterable[SourceRecord]) -> CellListUse | None:
        """Return what became of the list; `records` are those of all sources, also of unchanged ones."""
        if self._cells is None:
            return None
        # A cell of an unchanged source is known by its number only, so that a cell of two such sources counts twice.
        found = sum(record.cells_listed or 0 for record in records) - int(np.maximum(self._counts - 1, 0).sum())
        missing = max(0, len(self._cells) - found)
        return CellListUse(self._cells.path, len(self._cells), missing, int((self._counts > 1).sum()))
