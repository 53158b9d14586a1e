"""Loom files: HDF5 with one matrix of genes by cells, in tiles, and attributes of rows and columns.

Read with h5py and not with loompy, whose `connect` costs seconds of import and opens for writing unless told.
"""

from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import BYTES_PER_ENTRY, Entries
from median_spark.matrices.hdf5.files import as_strings, naming_damage, open_hdf5
from median_spark.matrices.hdf5.grid import Grid
from median_spark.matrices.hdf5.lists import read_list
from median_spark.matrices.hdf5.members import find_member, small_attribute
from median_spark.matrices.hdf5.row_blocks import gather_entries, total_counts
from median_spark.matrices.hdf5.sizes import require_lines
from median_spark.matrices.hdf5.tiles import AxisLabels
from median_spark.matrices.integer_counts import dataset_holds_counts
from median_spark.matrices.options import AUTO_LAYER, CELL_ID_CANDIDATES, OPTIONS, REMEDIES, AttributeNames
from median_spark.options import LAYER


def open_loom(location: str, names: AttributeNames, layer: str = AUTO_LAYER) -> "LoomMatrix":
    """Open a loom file for reading.

    Parameters
    ----------
    location : str
        Canonical path or URI.
    names : AttributeNames
        Where ids, totals and the filter are kept.
    layer : str
        ``"auto"`` for its main matrix, or the name of one of its layers.

    Raises
    ------
    InputError
        If it is missing, cut off, no HDF5, or has no two-dimensional numeric ``matrix``, or no such layer.
    """
    return LoomMatrix(location, names, layer)


class LoomMatrix:
    """One loom file; satisfies `CountMatrix`."""

    cell_attribute = "column attribute"

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self.place = "the matrix" if layer == AUTO_LAYER else f"layer '{layer}'"
        self._names = names
        self._layer = layer
        self._file, self._stream = open_hdf5(location)
        try:
            self._grid = Grid(location, self._find_matrix(), AxisLabels(self.place))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.shape: tuple[int, int] = self._grid.shape

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    def gene_ids(self) -> npt.NDArray[np.str_]:
        """Ensembl id of each row, shape (rows,)."""
        return self._strings("row", "gene_id", self._names.gene_id)

    def gene_types(self) -> npt.NDArray[np.str_] | None:
        """Gene type of each row, shape (rows,), or None if the file does not tell."""
        if self._names.gene_type not in self._attributes("row"):
            return None
        return self._strings("row", "gene_type", self._names.gene_type)

    def cell_ids(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Barcodes of the cells ``first <= cell < last``; their numbers where the file has no barcodes."""
        held = self._attributes("col")
        for name in CELL_ID_CANDIDATES if self._names.cell_id is None else (self._names.cell_id,):
            if name in held or self._names.cell_id is not None:
                return self._strings("col", "cell_id", name, first, last)
        return np.arange(*slice(first, last).indices(self.shape[1])).astype(np.str_)

    def filter_pass(self) -> npt.NDArray[Any]:
        """Quality filter of each cell, numbers or strings, shape (cells,)."""
        name = self._names.filter_pass
        dataset = self._attribute("col", "filter_pass", name)
        with naming_damage(self.location, f"the type of column attribute '{name}'"):
            textual = h5py.check_string_dtype(dataset.dtype) is not None
        return self._strings("col", "filter_pass", name) if textual else self._numbers("filter_pass", name)

    def n_counts(self) -> npt.NDArray[np.float64]:
        """Total counts of each cell over all rows, shape (cells,)."""
        return self._numbers("n_counts", self._names.n_counts).astype(np.float64)

    def cell_totals(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, shape (last - first,)."""
        return total_counts(self._grid.bands(np.arange(self.shape[0]), first, last), first, last)

    def entries(self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_]) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        expected = min(int(self.stored_bytes(first, last) / BYTES_PER_ENTRY), len(rows) * int(taken.sum())) + 1
        bands = self._grid.bands(rows, first, last, taken)
        return gather_entries(bands, self._grid.dtype, rows, first, taken, expected)

    def cells_per_tile(self) -> int:
        """Cells that are decompressed together."""
        return int(self._grid.tile[1])

    def stored_bytes(self, first: int, last: int) -> int:
        """Bytes that the cells ``first <= cell < last`` take in the file, with the tiles that they reach into."""
        return self._grid.stored_bytes(1, first, last)

    def attributes(self, side: str) -> list[str]:
        """Return the names of the attributes of rows (``"row"``) or of cells (``"cell"``), ascending."""
        return self._attributes("row" if side == "row" else "col")

    def count_layers(self) -> list[str]:
        """Return the other layers that look like counts, as ``--layer`` names them."""
        return [name for name in (AUTO_LAYER, *self._layers()) if name != self._layer and self._holds_counts(name)]

    def warnings(self) -> list[str]:
        """Return nothing: of a loom nothing is chosen for the user."""
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        return [
            ("format", f"loom (specification {self._specification()})"),
            ("matrix", f"{self.shape[0]:,} rows × {self.shape[1]:,} cells, {self._grid.text}"),
            *((("layers", ", ".join(self._layers())),) if self._layers() else ()),
            ("stored bytes", f"{self.stored_bytes(0, self.shape[1]):,}"),
            ("row attributes", ", ".join(self._attributes("row")) or "none"),
            ("column attributes", ", ".join(self._attributes("col")) or "none"),
        ]

    def _find_matrix(self) -> h5py.Dataset:
        with naming_damage(self.location, "its list of contents"):
            held = list(self._file)
        matrix = find_member(self.location, self._file, "matrix")
        if not isinstance(matrix, h5py.Dataset):
            message = f"{self.location}: this HDF5 file is no loom: it has no dataset 'matrix'; it has {listed(held)}"
            raise InputError(message)
        name = "matrix"
        if self._layer != AUTO_LAYER:
            layers = self._layers()
            if self._layer not in layers:
                message = (
                    f"{self.location}: this loom has no layer '{self._layer}'; it has "
                    f"{listed(layers) or 'none'}: {LAYER.given('auto')} takes its main matrix"
                )
                raise InputError(message, kind="no such layer")
            name = f"layers/{self._layer}"
            matrix = find_member(self.location, self._file, name)
        found = "no dataset"
        if isinstance(matrix, h5py.Dataset):
            with naming_damage(self.location, f"the type of '{name}'"):
                found = f"{matrix.dtype} with {matrix.ndim}"
                sound = matrix.ndim == 2 and matrix.dtype.kind in "iufb"
        if not isinstance(matrix, h5py.Dataset) or not sound:
            message = f"{self.location}: '{name}' must be numeric with 2 dimensions, rows and cells; it is {found}"
            raise InputError(message)
        require_lines(self.location, name, matrix, matrix.shape)
        return matrix

    def _layers(self) -> list[str]:
        group = find_member(self.location, self._file, "layers")
        with naming_damage(self.location, "the group 'layers'"):
            return list(group) if isinstance(group, h5py.Group) else []

    def _holds_counts(self, layer: str) -> bool:
        """Say whether a layer that was not chosen looks like counts; one that cannot be read does not."""
        try:
            held = find_member(self.location, self._file, "matrix" if layer == AUTO_LAYER else f"layers/{layer}")
            return isinstance(held, h5py.Dataset) and held.ndim == 2 and dataset_holds_counts(self.location, held)
        except InputError:
            return False

    def _specification(self) -> str:
        stored = find_member(self.location, self._file, "attrs/LOOM_SPEC_VERSION")
        if not isinstance(stored, h5py.Dataset):
            found = small_attribute(self.location, self._file, "LOOM_SPEC_VERSION")
        else:
            with naming_damage(self.location, "'attrs/LOOM_SPEC_VERSION'"):
                found = stored[()] if stored.size == 1 else None
        words = as_strings(np.asarray(found)).tolist() if found is not None else []
        return str(words[0]) if words else "2"

    def _attributes(self, side: str) -> list[str]:
        group = find_member(self.location, self._file, f"{side}_attrs")
        with naming_damage(self.location, f"the group '{side}_attrs'"):
            return sorted(group) if isinstance(group, h5py.Group) else []

    def _attribute(self, side: str, field: str, name: str) -> h5py.Dataset:
        noun, length = ("row", self.shape[0]) if side == "row" else ("column", self.shape[1])
        dataset = find_member(self.location, self._file, f"{side}_attrs/{name}")
        if not isinstance(dataset, h5py.Dataset):
            message = (
                f"{self.location}: {noun} attribute '{name}' is missing; it has "
                f"{listed(self._attributes(side), 12) or 'none'}: {REMEDIES[field]}"
            )
            raise InputError(message, kind=f"{field} missing")
        if dataset.shape != (length,):
            message = (
                f"{self.location}: {noun} attribute '{name}' has shape {dataset.shape}, "
                f"where the matrix has {length:,} {'rows' if side == 'row' else 'cells'}"
            )
            raise InputError(message, kind=f"{field} of another length")
        return dataset

    def _strings(
        self, side: str, field: str, name: str, first: int = 0, last: int | None = None
    ) -> npt.NDArray[np.str_]:
        dataset = self._attribute(side, field, name)
        noun = "row" if side == "row" else "column"
        with naming_damage(self.location, f"attribute '{name}'"):
            what, unescape = f"{noun} attribute '{name}'", self._specification() < "3"
            return as_strings(read_list(self.location, dataset, what, first, last, unescape=unescape))

    def _numbers(self, field: str, name: str) -> npt.NDArray[Any]:
        dataset = self._attribute("col", field, name)
        with naming_damage(self.location, f"the type of column attribute '{name}'"):
            sound = dataset.dtype.kind in "iufb"
        if not sound:
            message = (
                f"{self.location}: column attribute '{name}' must be numeric, not {dataset.dtype}: "
                f"name another with {OPTIONS[field]}"
            )
            raise InputError(message, kind=f"{field} not numeric")
        with naming_damage(self.location, f"column attribute '{name}'"):
            return read_list(self.location, dataset, f"column attribute '{name}'")
