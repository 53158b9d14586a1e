"""Options of reading count matrices, as Python has them; `median_spark.options` declares how others name them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from median_spark.errors import UsageError
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable, read_gene_map, read_gene_table
from median_spark.options import (
    COMPUTE_N_COUNTS,
    FILTER_ATTR,
    FILTER_VALUE,
    N_COUNTS_ATTR,
    NO_CELL_FILTER,
    READING,
    TARGET_SUM,
    Takes,
)

DEFAULT_TARGET_SUM = 10_000.0
"""Counts that every cell is scaled to; the published procedure's figure."""


@dataclass(frozen=True)
class AttributeNames:
    """Names of the attributes (loom) or columns (h5ad) that a matrix keeps its annotations under.

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

    Examples
    --------
    >>> import median_spark
    >>> median_spark.AttributeNames(n_counts="nCount_RNA").n_counts
    'nCount_RNA'
    """

    n_counts: str = "n_counts"
    filter_pass: str = "filter_pass"
    gene_id: str = "ensembl_id"
    gene_type: str = "gene_type"
    cell_id: str | None = None


AUTO_LAYER = "auto"
"""The layer that holds counts, found by looking."""

OPTIONS = {option.field: option for option in READING if option.owner == "AttributeNames"}
"""The option that gives each of `AttributeNames`."""

REMEDIES = {field: f"name it with {option}" for field, option in OPTIONS.items()} | {
    "filter_pass": f"name it with {FILTER_ATTR}, or take every cell with {NO_CELL_FILTER}",
    "n_counts": f"name it with {N_COUNTS_ATTR}, or sum them from the matrix with {COMPUTE_N_COUNTS}",
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
        Ensembl ID that each row counts for, by its name in the matrix.
    strip_version : bool
        Take the versions of Ensembl ids off first, also in the gene table.
    names : AttributeNames
        Attribute names.
    cell_filter : bool
        Take only cells that pass the filter.
    filter_values : tuple of str
        Values of the filter that cells pass with, as text; numbers are compared as numbers. If empty, cells pass
        with the number 1 or True.
    compute_n_counts : bool
        Sum totals from the matrix instead of reading them.
    layer : str
        Place of the counts in a file: ``"X"``, ``"raw.X"`` or a layer's name; ``"auto"`` takes the main matrix, or
        what holds counts where only that does.
    allow_non_integer : bool
        Accept counts that are not whole numbers.

    Raises
    ------
    UsageError
        If the target sum is no number above 0, or a filter has values but is not used.

    Examples
    --------
    >>> import median_spark
    >>> names = median_spark.AttributeNames(n_counts="nCount_RNA")
    >>> median_spark.ReadOptions(names=names, cell_filter=False).target_sum
    10000.0
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
            message = f"{TARGET_SUM:name} must be a number above 0, not {self.target_sum}"
            raise UsageError(message)
        if self.filter_values and not self.cell_filter:
            message = f"{FILTER_VALUE} and {NO_CELL_FILTER} contradict each other: give one of them"
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


def read_options_of(values: Mapping[str, Any]) -> ReadOptions:
    """Return options by their names in `READING`, None for what is not given; gene table and gene map are read."""
    fields: dict[str, Any] = {}
    names: dict[str, Any] = {}
    for option in READING:
        value = values.get(option.name)
        if value is None:
            continue
        if option.takes is Takes.NOTHING:
            value = option.sets if value else not option.sets
        elif option.takes is Takes.GENE_TABLE:
            value = read_gene_table(value)
        elif option.takes is Takes.GENE_MAP:
            value = read_gene_map(value)
        (names if option.owner == "AttributeNames" else fields)[option.field] = value
    return ReadOptions(names=AttributeNames(**names), **fields)
