"""What a count matrix is, whatever its format."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from median_spark import genes

BYTES_PER_ENTRY = 1.3
"""Least stored bytes an entry took in real looms (1.3 for dense plate-based ones, 3 for droplet ones)."""


@dataclass(frozen=True)
class Entries:
    """The entries other than zero of some rows and cells of a matrix, by row and then by cell.

    Attributes
    ----------
    lengths : ndarray of int64, shape (rows asked for,)
        Entries of each row, in the order of the rows asked for.
    cells : ndarray of int32, shape (entries,)
        Cell numbers, counted from the first cell asked for, ascending within a row.
    counts : ndarray, shape (entries,)
        Counts as stored, in the matrix's own dtype; NaN and negative ones included.
    """

    lengths: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    counts: npt.NDArray[Any]


class CountMatrix(Protocol):
    """A matrix of counts, genes by cells, open for reading.

    Attributes
    ----------
    location : str
        Path or URI, for messages.
    shape : tuple of int
        Rows (genes) and cells.
    place : str
        Where in the file the counts are, for messages: ``"the matrix"``, ``"raw.X"``.
    cell_attribute : str
        What the format calls a property of cells, for messages: ``"column attribute"``, ``"obs column"``.
    """

    location: str
    shape: tuple[int, int]
    place: str
    cell_attribute: str

    def gene_ids(self) -> npt.NDArray[np.str_]:
        """Ensembl id of each row, shape (rows,)."""

    def gene_types(self) -> npt.NDArray[np.str_] | None:
        """Gene type of each row, shape (rows,), or None if the matrix does not tell."""

    def cell_ids(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Barcodes of the cells ``first <= cell < last``, by default of all."""

    def filter_pass(self) -> npt.NDArray[Any]:
        """Quality filter of each cell, shape (cells,): numbers, NaN where missing; or texts, None where missing."""

    def n_counts(self) -> npt.NDArray[np.float64]:
        """Total counts of each cell over all rows, shape (cells,)."""

    def cell_totals(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, shape (last - first,)."""

    def entries(self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_]) -> Entries:
        """Return the entries of ascending rows, for the `taken` of the cells ``first <= cell < last``."""

    def cells_per_tile(self) -> int:
        """Cells that are stored, and so decompressed, together; 1 where it does not matter."""

    def stored_bytes(self, first: int, last: int) -> int:
        """Bytes that the cells ``first <= cell < last`` take in the file, with the tiles that they reach into."""

    def attributes(self, side: str) -> list[str]:
        """Return the names of the properties of rows (``"row"``) or of cells (``"cell"``) that the file has."""

    def count_layers(self) -> list[str]:
        """Return the other layers of the file that look like counts, as ``--layer`` names them."""

    def warnings(self) -> list[str]:
        """Return what was chosen of the file without being asked for, for people."""

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def like_ensembl(ids: npt.NDArray[np.str_]) -> bool:
    """Say whether most of some ids are Ensembl's, of whatever species, in any case, also with a prefix."""
    return bool(len(ids)) and sum(map(genes.like_ensembl, ids.tolist())) * 2 > len(ids)
