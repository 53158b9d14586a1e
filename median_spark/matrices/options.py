"""What a user may choose about reading count matrices."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from median_spark.errors import UsageError
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable

DEFAULT_TARGET_SUM = 10_000.0
"""Counts that every cell is scaled to; the published procedure's figure."""


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
