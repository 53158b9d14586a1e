"""Rows of a loom by plain h5py, whole at a time."""

import html
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark.guard import beat
from median_spark.verification.inside import holds_in_file, take_from_file, texts


class Loom:
    """An open loom; genes are its rows."""

    def __init__(self, file: h5py.File, layer: str) -> None:
        self._rows, self._columns = take_from_file(file, "row_attrs"), take_from_file(file, "col_attrs")
        self._matrix = take_from_file(file, "matrix" if layer == "auto" else f"layers/{layer}")
        self.cells: int = self._matrix.shape[1]

    def ids(self, name: str) -> list[str]:
        """Return what each row is called."""
        return self._strings(take_from_file(self._rows, name))

    def types(self, name: str) -> list[str] | None:
        """Return the gene type of each row, if it has one."""
        return self._strings(take_from_file(self._rows, name)) if holds_in_file(self._rows, name) else None

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell."""
        return np.asarray(take_from_file(self._columns, name)[:])

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text, a number or a truth value for each cell."""
        dataset = self._columns[name]
        if h5py.check_string_dtype(dataset.dtype):
            return np.array(self._strings(dataset), dtype=object)
        return np.asarray(dataset[:])

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return list(self._columns)

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return pd.Series(self.labels(name))

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many rows have a count in each cell."""
        detected = np.zeros(self.cells, dtype=np.int64)
        for row in range(self._matrix.shape[0]):
            beat()
            detected += self._matrix[row] != 0
        return detected

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the barcode of each cell."""
        known = ("cell_id", "CellID", "obs_names")
        label = name or next((label for label in known if holds_in_file(self._columns, label)), None)
        return (
            np.array(self._strings(take_from_file(self._columns, label)))
            if label
            else np.arange(self.cells).astype(np.str_)
        )

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some rows, cells by rows."""
        columns = [sparse.csc_matrix(self._matrix[row].astype(np.float64)[:, np.newaxis]) for row in rows]
        return sparse.hstack(columns, format="csc") if columns else sparse.csc_matrix((self.cells, 0))

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all rows."""
        totals = np.zeros(self.cells)
        for row in range(self._matrix.shape[0]):
            beat()
            totals += self._matrix[row]
        return totals

    def _strings(self, dataset: h5py.Dataset) -> list[str]:
        """Return strings; before specification 3, XML entities stand for characters."""
        strings = [str(text) for text in texts(dataset[()])]
        return (
            strings
            if holds_in_file(dataset.file, "attrs/LOOM_SPEC_VERSION")
            else [html.unescape(text) for text in strings]
        )
