"""What a count matrix is, whatever its format, and what a user may choose about reading one."""

from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from median_spark import genes
from median_spark.errors import UsageError
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable

DEFAULT_TARGET_SUM = 10_000.0
"""Counts that every cell is scaled to; the published procedure's figure."""


BYTES_PER_ENTRY = 1.3
"""Least stored bytes an entry took in real looms (1.3 for dense plate-based ones, 3 for droplet ones)."""


@dataclass(frozen=True)
class AttributeNames:
    """Under which names a matrix keeps what is needed.

    Attributes
    ----------
    n_counts : str
        Total counts of each cell over all rows.
    filter_pass : str
        1 for cells that pass the quality filter.
    gene_id : str
        Ensembl id of each row.
    gene_type : str
        Gene type of each row; a matrix may lack it where a gene table supplies it.
    cell_id : str or None
        Barcode of each cell; None takes the first of `CELL_ID_CANDIDATES` that is there, else the cell's number.
    """

    n_counts: str = "n_counts"
    filter_pass: str = "filter_pass"
    gene_id: str = "ensembl_id"
    gene_type: str = "gene_type"
    cell_id: str | None = None


AUTO_LAYER = "auto"
"""The layer that holds counts, found by looking."""

OPTIONS = {
    "n_counts": "--n-counts-attr",
    "filter_pass": "--filter-attr",
    "gene_id": "--gene-id-attr",
    "gene_type": "--gene-type-attr",
    "cell_id": "--cell-id-attr",
}
"""By which option of the command line each of `AttributeNames` is given."""

REMEDIES = {field: f"name it with {option}" for field, option in OPTIONS.items()} | {
    "filter_pass": "name it with --filter-attr, or take every cell with --no-cell-filter",
    "n_counts": "name it with --n-counts-attr, or sum them from the matrix with --compute-n-counts",
}
"""What to do about each of `AttributeNames` that a matrix lacks."""

CELL_ID_CANDIDATES = ("cell_id", "CellID", "obs_names")
"""Names under which cell barcodes are commonly kept."""


@dataclass(frozen=True)
class ReadOptions:
    """Everything that decides what values a matrix yields.

    Attributes
    ----------
    target_sum : float
        Counts that every cell is scaled to.
    gene_types : tuple of str
        The chosen gene types.
    gene_table : GeneTable or None
        The corpus's genes.
    gene_map : GeneMap or None
        Under which id each row counts, by what the matrix calls it.
    strip_version : bool
        Whether the versions of Ensembl ids are taken off first, also in the gene table.
    names : AttributeNames
        Attribute names.
    cell_filter : bool
        Whether only cells that pass the filter are taken.
    filter_values : tuple of str
        Values of the filter that cells pass with, as text; numbers are compared as numbers. If empty, cells pass
        with the number 1 or True.
    compute_n_counts : bool
        Whether totals are summed from the matrix instead of read from it.
    layer : str
        Where in a file the counts are: ``"X"``, ``"raw.X"`` or a layer's name; ``"auto"`` takes the main matrix, or
        what holds counts where only that does.
    allow_non_integer : bool
        Whether counts may be other than whole numbers.
    """

    target_sum: float = DEFAULT_TARGET_SUM
    gene_types: tuple[str, ...] = DEFAULT_GENE_TYPES
    gene_table: GeneTable | None = None
    gene_map: GeneMap | None = None
    strip_version: bool = False
    names: AttributeNames = field(default_factory=AttributeNames)
    cell_filter: bool = True
    filter_values: tuple[str, ...] = ()
    compute_n_counts: bool = False
    layer: str = AUTO_LAYER
    allow_non_integer: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.target_sum) and self.target_sum > 0):
            message = f"--target-sum must be a number above 0, not {self.target_sum}"
            raise UsageError(message)
        if self.filter_values and not self.cell_filter:
            message = "--filter-value and --no-cell-filter contradict each other: give one of them"
            raise UsageError(message)
        if self.strip_version and self.gene_table is not None:
            object.__setattr__(self, "gene_table", self.gene_table.without_versions)

    def as_json(self) -> dict[str, Any]:
        """Return the options as plain JSON; a gene table and a gene map by their content's fingerprints.

        The filter's values are in it only if there are any: tables that were converted before this option existed keep
        their fingerprints.
        """
        values = {"filter_values": sorted(set(self.filter_values))} if self.filter_values else {}
        return {
            "target_sum": self.target_sum,
            "gene_types": sorted(set(self.gene_types)),
            "gene_table": self.gene_table.fingerprint() if self.gene_table else None,
            "gene_map": self.gene_map.fingerprint() if self.gene_map else None,
            "strip_version": self.strip_version,
            "names": asdict(self.names),
            "cell_filter": self.cell_filter,
            **values,
            "compute_n_counts": self.compute_n_counts,
            "layer": self.layer,
            "allow_non_integer": self.allow_non_integer,
        }


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
