"""The formats that can be read: each is one module or folder with a `CountMatrix`, and one line in `_FORMATS`."""

from collections.abc import Callable

from median_spark.errors import InputError
from median_spark.matrices.anndata.h5ad import H5adMatrix
from median_spark.matrices.contract import CountMatrix
from median_spark.matrices.loom import LoomMatrix
from median_spark.matrices.options import AUTO_LAYER, AttributeNames

_FORMATS: dict[str, Callable[[str, AttributeNames, str], CountMatrix]] = {
    ".loom": LoomMatrix,
    ".h5ad": H5adMatrix,
    ".loom.gz": LoomMatrix,
    ".h5ad.gz": H5adMatrix,
}

SUFFIXES = tuple(_FORMATS)
"""The endings of files that can be read."""


def open_matrix(location: str, names: AttributeNames, layer: str = AUTO_LAYER) -> CountMatrix:
    """Open a count matrix, a path or URI whose ending tells the format; close it by using it as a context manager.

    InputError if the ending is unknown, or the file is missing or not of its format, or has no such layer.
    """
    for suffix, opener in _FORMATS.items():
        if location.lower().endswith(suffix):
            return opener(location, names, layer)
    message = f"{location}: not a matrix that can be read; its name must end in {' or '.join(SUFFIXES)}"
    raise InputError(message)
