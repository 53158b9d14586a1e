"""Options of reading count matrices, as Python has them; `median_spark.options` declares how others name them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from median_spark.errors import UsageError, listed
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable, read_gene_map, read_gene_table
from median_spark.matrices.cell_list import CellList, read_cell_list
from median_spark.matrices.cell_query import CellQuery
from median_spark.matrices.known_layouts import AUTO_LAYOUT, LAYOUT_NAMES
from median_spark.options import (
    CELL_LIST,
    CELLS,
    COMPUTE_N_COUNTS,
    FILTER_ATTR,
    FILTER_VALUE,
    LAYOUT,
    N_COUNTS_ATTR,
    NO_CELL_FILTER,
    READING,
    TARGET_SUM,
    Takes,
)

DEFAULT_TARGET_SUM = 10_000.0
"""Counts that every cell is scaled to; the published procedure's figure."""


_UNSET: Any = None
"""What a field is if it is not given: the default, unless the layout of a source says otherwise."""


def _take_defaults(options: Any, defaults: Mapping[str, Any]) -> None:
    """Give the fields that are None their defaults, and note in `given` which were given, or differ from the default.

    `given` is handed on by `dataclasses.replace`, and None where options are new.
    """
    values = {name: getattr(options, name) for name in defaults}
    new = options.given is None
    given = {name for name, value in values.items() if value is not None and (new or value != defaults[name])}
    object.__setattr__(options, "given", frozenset(given | (options.given or set())))
    for name, value in values.items():
        if value is None:
            object.__setattr__(options, name, defaults[name])


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
    given : frozenset of str
        Fields that were given, also with their defaults: the layout of a source changes only the others.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.AttributeNames(n_counts="nCount_RNA").n_counts
    'nCount_RNA'
    """

    n_counts: str = _UNSET
    filter_pass: str = _UNSET
    gene_id: str = _UNSET
    gene_type: str = _UNSET
    cell_id: str | None = None
    given: frozenset[str] = field(default=_UNSET, compare=False, repr=False)

    def __post_init__(self) -> None:
        _take_defaults(self, _NAME_DEFAULTS)

    def as_json(self) -> dict[str, str | None]:
        """Return the names as plain JSON."""
        return {name: getattr(self, name) for name in (*_NAME_DEFAULTS, "cell_id")}


_NAME_DEFAULTS = {
    "n_counts": "n_counts",
    "filter_pass": "filter_pass",
    "gene_id": "ensembl_id",
    "gene_type": "gene_type",
}


DEFAULT_NAMES = AttributeNames()
"""The names where none are given."""

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
    layout : str
        Name of the layout that every source must have, ``"auto"`` to recognise that of each, or ``"none"``. A layout
        decides what is not given here; see docs/layouts.md.
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
    cells : CellQuery or None
        Query of cells, or its text: those are taken for which it is true. It replaces the filter, unless `cell_filter`
        is given as True.
    cell_list : CellList or None
        List of cells to take. It replaces the filter likewise.
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
    given : frozenset of str
        Fields that were given, also with their defaults: the layout of a source changes only the others.

    Raises
    ------
    UsageError
        If the target sum is no number above 0, a filter is described but not used, the query cannot be read, or there
        is no layout of that name.

    Examples
    --------
    >>> import median_spark
    >>> names = median_spark.AttributeNames(n_counts="nCount_RNA")
    >>> median_spark.ReadOptions(names=names, cell_filter=False).target_sum
    10000.0
    """

    layout: str = AUTO_LAYOUT
    target_sum: float = DEFAULT_TARGET_SUM
    gene_types: tuple[str, ...] = DEFAULT_GENE_TYPES
    gene_table: GeneTable | None = None
    gene_map: GeneMap | None = None
    strip_version: bool = _UNSET
    names: AttributeNames = field(default_factory=AttributeNames)
    cells: CellQuery | None = None
    cell_list: CellList | None = None
    cell_filter: bool = _UNSET
    filter_values: tuple[str, ...] = _UNSET
    compute_n_counts: bool = _UNSET
    layer: str = _UNSET
    allow_non_integer: bool = _UNSET
    given: frozenset[str] = field(default=_UNSET, compare=False, repr=False)

    def __post_init__(self) -> None:
        _take_defaults(self, _DEFAULTS)
        query: object = self.cells
        if isinstance(query, str):
            object.__setattr__(self, "cells", CellQuery(query))
        if not (np.isfinite(self.target_sum) and self.target_sum > 0):
            message = f"{TARGET_SUM:name} must be a number above 0, not {self.target_sum}"
            raise UsageError(message)
        if self.layout not in LAYOUT_NAMES:
            message = (
                f"{LAYOUT:name} must be one of {listed(list(LAYOUT_NAMES), len(LAYOUT_NAMES))}, not '{self.layout}'"
            )
            raise UsageError(message)
        self._check_filter()
        # What a layout says of its ids is no reason to read the table otherwise for one source than for another.
        if "strip_version" in self.given and self.strip_version and self.gene_table is not None:
            object.__setattr__(self, "gene_table", self.gene_table.without_versions)

    def _check_filter(self) -> None:
        """Let a query or a list replace the filter, and reject what contradicts itself."""
        chosen = [option for option, value in ((CELLS, self.cells), (CELL_LIST, self.cell_list)) if value is not None]
        if chosen and "cell_filter" not in self.given:
            object.__setattr__(self, "cell_filter", False)
        if self.cell_filter:
            return
        described = FILTER_VALUE if self.filter_values else FILTER_ATTR if "filter_pass" in self.names.given else None
        if described is FILTER_VALUE or (described is not None and chosen):
            message = f"{described} and {(*chosen, NO_CELL_FILTER)[0]} contradict each other: give one of them"
            raise UsageError(message)

    def as_json(self) -> dict[str, Any]:
        """Return the options as plain JSON; a gene table, a gene map and a cell list by their content's fingerprints.

        Newer options are in it only if they are used: tables that were converted before these options existed keep
        their fingerprints.
        """
        newer = {
            "layout": self.layout if self.layout != AUTO_LAYOUT else None,
            "filter_values": sorted(set(self.filter_values)) or None,
            "cells": self.cells.text if self.cells else None,
            "cell_list": self.cell_list.fingerprint if self.cell_list else None,
        }
        return {
            "target_sum": self.target_sum,
            "gene_types": sorted(set(self.gene_types)),
            "gene_table": self.gene_table.fingerprint() if self.gene_table else None,
            "gene_map": self.gene_map.fingerprint() if self.gene_map else None,
            "strip_version": self.strip_version,
            "names": self.names.as_json(),
            "cell_filter": self.cell_filter,
            **{name: value for name, value in newer.items() if value is not None},
            "compute_n_counts": self.compute_n_counts,
            "layer": self.layer,
            "allow_non_integer": self.allow_non_integer,
        }

    def of_source(self, name: str) -> "ReadOptions":
        """Return the options for one source: of a list that names sources, only its own cells."""
        if self.cell_list is None or self.cell_list.sources is None:
            return self
        return replace(self, cell_list=self.cell_list.of_source(name))


_DEFAULTS = {
    "strip_version": False,
    "cell_filter": True,
    "filter_values": (),
    "compute_n_counts": False,
    "layer": AUTO_LAYER,
    "allow_non_integer": False,
}


def read_options_of(values: Mapping[str, Any]) -> ReadOptions:
    """Return options by their names in `READING`, None for what is not given; the files that they name are read."""
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
        elif option.takes is Takes.CELL_LIST:
            value = read_cell_list(value)
        (names if option.owner == "AttributeNames" else fields)[option.field] = value
    return ReadOptions(names=AttributeNames(**names), **fields)
