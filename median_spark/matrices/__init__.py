"""Reading count matrices into GeneValues.

A format is one module with a class that satisfies `CountMatrix`, and one line in `_FORMATS`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.gene_values import GeneValues
from median_spark.guard import beat
from median_spark.matrices import sources
from median_spark.matrices.anndata.h5ad import open_h5ad
from median_spark.matrices.contract import CountMatrix, Entries
from median_spark.matrices.equal_files import equal_contents
from median_spark.matrices.loom import open_loom
from median_spark.matrices.options import AUTO_LAYER, AttributeNames, ReadOptions
from median_spark.matrices.outline import UNIT_ENTRIES, SourceOutline, outline, plan_units
from median_spark.matrices.sources import FoundSources, SourceFile
from median_spark.matrices.units import Unit, read_unit, select_rows

_FORMATS: dict[str, Callable[[str, AttributeNames, str], CountMatrix]] = {
    ".loom": open_loom,
    ".h5ad": open_h5ad,
}

SUFFIXES = tuple(_FORMATS)
"""The endings of files that can be read."""

__all__ = [
    "SUFFIXES",
    "UNIT_ENTRIES",
    "AttributeNames",
    "CountMatrix",
    "Entries",
    "FoundSources",
    "ReadOptions",
    "SourceFile",
    "SourceOutline",
    "Unit",
    "equal_contents",
    "find_sources",
    "open_matrix",
    "outline",
    "outline_of",
    "plan_units",
    "read_unit",
    "select_rows",
    "values_of",
]


def open_matrix(location: str, names: AttributeNames, layer: str = AUTO_LAYER) -> CountMatrix:
    """Open a count matrix for reading; close it by using it as a context manager.

    Parameters
    ----------
    location : str
        Canonical path or URI; its ending tells the format.
    names : AttributeNames
        Where ids, totals and the filter are kept.
    layer : str
        Which of the file's matrices; see `ReadOptions`.

    Raises
    ------
    InputError
        If the ending is unknown, or the file is missing or not of its format, or has no such layer.
    """
    for suffix, opener in _FORMATS.items():
        if location.lower().endswith(suffix):
            return opener(location, names, layer)
    message = f"{location}: not a matrix that can be read; its name must end in {' or '.join(SUFFIXES)}"
    raise InputError(message)


def find_sources(inputs: Sequence[str]) -> FoundSources:
    """Find all matrices in files and folders; see `median_spark.matrices.sources.find_sources`."""
    return sources.find_sources(inputs, SUFFIXES)


def outline_of(location: str, options: ReadOptions, unit_entries: int = UNIT_ENTRIES) -> SourceOutline:
    """Open a matrix and outline it; see `outline`. Damaged files may hang or crash this: call it by `read_guarded`."""
    with open_matrix(location, options.names, options.layer) as matrix:
        beat()
        return outline(matrix, options, unit_entries)


def values_of(location: str, unit: Unit, options: ReadOptions) -> tuple[GeneValues, npt.NDArray[np.str_], int]:
    """Open a matrix and read a range of its cells; see `read_unit`. To be called by `read_guarded`, as `outline_of`.

    Returns
    -------
    GeneValues
        The normalised values.
    ndarray of str, shape (unit.last - unit.first,)
        The cells' ids.
    int
        Cells of the matrix.
    """
    with open_matrix(location, options.names, options.layer) as matrix:
        beat()
        selection = select_rows(matrix, options)
        beat()
        return *read_unit(matrix, selection, unit, options), matrix.shape[1]
