"""Genes of an AnnData file by plain h5py, or zarr, and scipy, a block of cells or a column at a time.

zarr's groups and arrays are used as those of h5py are; its own differences are in `zarrs`.
"""

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark.guard import beat
from median_spark.verification.inside import by_reference, holds_in_file, take_from_file, texts

_BLOCK = 4_000_000
"""Numbers that are read at a time."""

_LOOKED_AT = 100_000
"""Numbers of a matrix that show whether it holds counts."""

_ROUNDING = 1e-6
"""By how much of itself a count may differ from a whole number and still be one."""


class H5ad:
    """An open AnnData; genes are the columns of its matrix."""

    def __init__(self, file: Any, layer: str) -> None:
        with contextlib.suppress(ImportError):  # it brings blosc and zstd
            import_module("hdf5plugin")
        place = _counts_place(file) if layer == "auto" else _place(file, layer)
        self._matrix, self._obs = take(file, place), take(file, "obs")
        self._var = take(file, "raw/var" if place == "raw/X" else "raw.var" if place == "raw.X" else "var")
        self._kind = _kind(self._matrix)
        if _is_array(self._matrix):
            self.cells, self._genes = self._matrix.shape
        else:
            shape = self._matrix.attrs["shape" if "shape" in self._matrix.attrs else "h5sparse_shape"]
            self.cells, self._genes = int(shape[0]), int(shape[1])

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called: a column of var, or its index."""
        named = name if name in _names(self._var) and name != "index" else None
        return [str(gene) for gene in (_column(self._var, named) if named else _index(self._var))]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if it has one."""
        for column in (name, "feature_type") if name == "gene_type" else (name,):
            if column in _names(self._var):
                types = [str(kind) for kind in _column(self._var, column)]
                if column == name or "protein_coding" in types:
                    return types
        return None

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell, NaN where it is missing."""
        return np.asarray(_column(self._obs, name, missing=np.nan))

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text, a number or a truth value for each cell, None where it is missing."""
        return np.asarray(_column(self._obs, name, missing=None))

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return [name for name in _names(self._obs) if not name.startswith("__")]

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        entry = take(self._obs, name) if _is_group(self._obs) else None
        if entry is not None and _is_group(entry) and holds(entry, "codes"):
            categories = texts(take(entry, "categories")[()])
            ordered = bool(entry.attrs.get("ordered", False))
            return pd.Series(pd.Categorical.from_codes(take(entry, "codes")[()], categories, ordered=ordered))
        values = _column(self._obs, name, missing=pd.NA)
        if entry is not None and _is_group(entry):
            return pd.Series(pd.array(values.tolist()))
        return pd.Series(values)

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        if self._kind == "csc":
            every = self._csc_columns(0, self._genes).tocsr()
            every.sum_duplicates()
            return np.asarray((every != 0).sum(axis=1)).ravel()
        numbers = []
        for block in self._blocks():
            block.sum_duplicates()
            numbers.append(np.asarray((block != 0).sum(axis=1)).ravel())
        return np.concatenate(numbers)

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the barcode of each cell: a column of obs, or its index."""
        cells = _index(self._obs) if name in {None, "index"} else _column(self._obs, str(name))
        return np.array([str(cell) for cell in cells])

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        if self._kind == "csc":
            columns = [self._csc_columns(int(row), int(row) + 1) for row in rows]
            return sparse.hstack(columns, format="csc") if columns else sparse.csc_matrix((self.cells, 0))
        return sparse.vstack([block[:, rows] for block in self._blocks()], format="csc")

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes."""
        if self._kind == "csc":
            totals = np.zeros(self.cells)
            for first in range(0, self._genes, 64):
                beat()
                columns = self._csc_columns(first, min(first + 64, self._genes))
                np.add.at(totals, columns.indices, columns.data)
            return totals
        # Entry by entry, as they are stored: sums of fractions differ by the order, and scipy's own goes by pairs.
        return np.concatenate([block @ np.ones(self._genes) for block in self._blocks()])

    def _list(self, name: str) -> Any:
        return take(self._matrix, name)

    def _csc_columns(self, first: int, last: int) -> sparse.csc_matrix:
        bounds = self._list("indptr")[first : last + 1].astype(np.int64)
        begin, end = int(bounds[0]), int(bounds[-1])
        counts, cells = self._list("data")[begin:end], self._list("indices")[begin:end]
        return sparse.csc_matrix((counts.astype(np.float64), cells, bounds - begin), shape=(self.cells, last - first))

    def _blocks(self) -> Iterator[sparse.csr_matrix]:
        """Yield the matrix some cells at a time."""
        if self._kind == "dense":
            step = max(1, _BLOCK // self._genes)
            for first in range(0, self.cells, step):
                beat()
                yield sparse.csr_matrix(self._matrix[first : first + step].astype(np.float64))
            return
        bounds, first = self._list("indptr")[:].astype(np.int64), 0
        while first < self.cells:
            beat()
            last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + _BLOCK, side="right")) - 1)
            begin, end = int(bounds[first]), int(bounds[last])
            counts, genes = self._list("data")[begin:end], self._list("indices")[begin:end]
            within = bounds[first : last + 1] - begin
            shape = (last - first, self._genes)
            yield sparse.csr_matrix((counts.astype(np.float64), genes, within), shape=shape)
            first = last


def _kind(matrix: Any) -> str:
    if _is_array(matrix):
        return "dense"
    kind = matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format"))
    return str(kind.decode() if isinstance(kind, bytes) else kind)[:3]


def _place(file: Any, layer: str) -> str:
    """Return where a layer is by its name; anndata wrote raw.X at the root before version 0.7."""
    if layer == "raw.X":
        return "raw/X" if holds(file, "raw/X") else "raw.X"
    return "X" if layer == "X" else f"layers/{layer}"


def _counts_place(file: Any) -> str:
    """Return where the counts are: in X, unless only raw.X or a layer called counts holds whole numbers."""
    present = [place for place in ("X", "raw/X", "raw.X", "layers/counts") if _is_there(file, place)]
    return next((place for place in present if _holds_integers(take(file, place))), present[0])


def _is_there(file: Any, place: str) -> bool:
    """Say whether there is a matrix; an X that is None is an array without extent, or that says so."""
    if not holds(file, place):
        return False
    entry = take(file, place)
    if not _is_array(entry):
        return True
    return entry.shape is not None and entry.attrs.get("encoding-type") != "null"


def _holds_integers(matrix: Any) -> bool:
    if not _is_array(matrix):
        some = take(matrix, "data")[:_LOOKED_AT]
    else:
        some = matrix[: max(1, _LOOKED_AT // matrix.shape[1])]
    some = np.asarray(some, dtype=np.float64)
    if not np.isfinite(some).all():
        return False
    return bool(np.all(np.abs(some - np.rint(some)) <= _ROUNDING * np.maximum(np.abs(some), 1)) and np.all(some >= 0))


def _names(frame: Any) -> list[str]:
    """Return the names of columns: those that the frame lists, or all, also its index, without a list."""
    if _is_array(frame):
        return list(frame.dtype.names)
    if "column-order" not in frame.attrs:
        return list(frame)
    listed = frame.attrs["column-order"]
    names = [] if isinstance(listed, h5py.Empty) else np.atleast_1d(np.asarray(listed, dtype=object)).tolist()
    names = [name.decode(errors="backslashreplace") if isinstance(name, bytes) else name for name in names]
    return [name for name in frame if name in names]


def _index(frame: Any) -> npt.NDArray[Any]:
    if _is_array(frame):
        return _column(frame, frame.dtype.names[0])
    named = frame.attrs.get("_index", "_index" if holds(frame, "_index") else "index")
    return _column(frame, named.decode() if isinstance(named, bytes) else named)


def _column(frame: Any, name: str, missing: object = "") -> npt.NDArray[Any]:
    """Return a column of a data frame: an array, categories and codes, or values and a mask."""
    entry = frame[name] if _is_array(frame) else take(frame, name)
    if _is_group(entry) and holds(entry, "mask"):
        values, mask = texts(take(entry, "values")[()]), take(entry, "mask")[()]
        return np.array([missing if gap else value for gap, value in zip(mask, values, strict=True)])
    if _is_group(entry):
        codes, categories = take(entry, "codes")[()], texts(take(entry, "categories")[()])
    else:
        codes, categories = np.asarray(entry if _is_array(frame) else entry[()]), None
        if _is_array(frame) and holds(frame.file, f"uns/{name}_categories"):
            categories = texts(take(frame.file, f"uns/{name}_categories")[()])
        elif not _is_array(frame) and "categories" in entry.attrs:
            categories = texts(_old_categories(frame, entry.attrs["categories"])[()])
    if categories is None:
        return texts(codes)
    return np.array([categories[code] if code >= 0 else missing for code in codes.tolist()])


def _old_categories(frame: Any, said: Any) -> Any:
    """Return what anndata 0.7 said where categories are: by a reference, or in zarr by a path from the root."""
    return frame[f"__categories/{said.rpartition('/')[2]}"] if isinstance(said, str) else by_reference(frame, said)


def _is_array(entry: Any) -> bool:
    return hasattr(entry, "dtype")


def _is_group(entry: Any) -> bool:
    return not _is_array(entry)


def take(group: Any, path: str) -> Any:
    """Return what is at a path from a group; KeyError if there is nothing."""
    return take_from_file(group, path) if isinstance(group, (h5py.Group, h5py.Dataset)) else group[path]


def holds(group: Any, path: str) -> bool:
    """Say whether there is something at a path."""
    return holds_in_file(group, path) if isinstance(group, (h5py.Group, h5py.Dataset)) else path in group
