"""Loom files: HDF5 with one matrix of genes by cells, in tiles, and attributes of rows and columns.

Read with h5py and not with loompy, whose `connect` costs seconds of import and opens for writing unless told.
"""

from typing import Any

import h5py
import numpy as np

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import BYTES_PER_ENTRY, Entries, Flags, Floats, Ints, Numbers, Texts, brief
from median_spark.matrices.hdf5.arrays import AxisLabels, Grid
from median_spark.matrices.hdf5.files import naming_damage, open_hdf5
from median_spark.matrices.hdf5.lists import Hdf5Table, odd_kind
from median_spark.matrices.hdf5.members import find_member, small_attribute
from median_spark.matrices.hdf5.row_blocks import gather_entries, total_counts
from median_spark.matrices.hdf5.sizes import require_lines
from median_spark.matrices.integer_counts import dataset_holds_counts
from median_spark.matrices.options import AUTO_LAYER, CELL_ID_CANDIDATES, AttributeNames
from median_spark.matrices.tables import STRINGS, TabledMatrix, Values, as_strings
from median_spark.options import LAYER

_SPECIFICATION = "LOOM_SPEC_VERSION"


class _Attributes(Hdf5Table):
    """The attributes of a loom's rows or cells."""

    def __init__(self, location: str, file: h5py.File, side: str, axis: str, length: int) -> None:
        self.location, self.noun, self.axis, self.length = location, f"{side} attribute", axis, length
        self._file = file
        self._group = "row_attrs" if side == "row" else "col_attrs"

    @property
    def columns(self) -> list[str]:
        """Return the names of the attributes, ascending."""
        group = find_member(self.location, self._file, self._group)
        with naming_damage(self.location, f"the group '{self._group}'"):
            return sorted(group) if isinstance(group, h5py.Group) else []

    def has(self, column: str) -> bool:
        """Say whether there is such an attribute."""
        return isinstance(self._find(column), h5py.Dataset)

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the entries ``first <= entry < last`` of an attribute, by default all."""
        dataset = self._find(column)
        with naming_damage(self.location, self.place(column)):
            self._check(column, dataset)
            unescape = dataset.dtype.kind in "OS" and _specification(self.location, self._file) < "3"
            return self._read(column, dataset, first, last, unescape=unescape), None

    def numbers(self, column: str, first: int = 0, last: int | None = None) -> Numbers | None:
        """Return some numbers or truth values of an attribute; None if it holds something else."""
        return super().numbers(column, first, last) if self._dtype(column).kind in "iufb" else None

    def kind(self, column: str) -> str:
        """Return what an attribute holds, for messages."""
        dtype = self._dtype(column)
        return STRINGS if h5py.check_string_dtype(dtype) is not None else brief(dtype)

    def _dtype(self, column: str) -> np.dtype[Any]:
        with naming_damage(self.location, f"the type of {self.place(column)}"):
            dtype: np.dtype[Any] = self._find(column).dtype
            return dtype

    def _find(self, column: str) -> Any:
        return find_member(self.location, self._file, f"{self._group}/{column}")


class LoomMatrix(TabledMatrix):
    """One loom file; its layers are ``"auto"``, the main matrix, and those that it names.

    InputError if it is missing, cut off, no HDF5, or has no two-dimensional numeric ``matrix``, or no such layer.
    """

    cell_attribute = "column attribute"

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self.place = "the matrix" if layer == AUTO_LAYER else f"layer '{brief(layer)}'"
        self._names = names
        self._layer = layer
        self._file, self._stream = open_hdf5(location)
        try:
            self._grid = Grid(location, self._find_matrix(), AxisLabels(self.place))
        except BaseException:
            self.close()
            raise
        self.shape = self._grid.shape
        self._rows = _Attributes(location, self._file, "row", "rows", self.shape[0])
        self._cells = _Attributes(location, self._file, "column", "cells", self.shape[1])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row."""
        return self._strings(self._rows, "gene_id", self._names.gene_id)

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the barcodes of some cells; their numbers where the file has no barcodes."""
        name, held = self._names.cell_id, self._cells.columns
        if name is None:
            name = next((candidate for candidate in CELL_ID_CANDIDATES if candidate in held), None)
        if name is None:
            return np.arange(*slice(first, last).indices(self.shape[1])).astype(np.str_)
        return self._strings(self._cells, "cell_id", name, first, last)

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each of some cells over all rows."""
        return total_counts(self._grid.row_blocks(np.arange(self.shape[0]), first, last), first, last)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for the `taken` of the cells ``first <= cell < last``."""
        expected = min(int(self.stored_bytes(first, last) / BYTES_PER_ENTRY), len(rows) * int(taken.sum())) + 1
        blocks = self._grid.row_blocks(rows, first, last, taken)
        return gather_entries(blocks, self._grid.dtype, rows, first, taken, expected)

    def cells_per_tile(self) -> int:
        """Return how many cells are decompressed together."""
        return int(self._grid.tile[1])

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, with the tiles that they reach into."""
        return self._grid.stored_bytes(1, first, last)

    def file_attributes(self) -> list[str]:
        """Return the names of the global attributes, which were attributes of HDF5's root before specification 3."""
        group = find_member(self.location, self._file, "attrs")
        with naming_damage(self.location, "its global attributes"):
            return sorted({*(group if isinstance(group, h5py.Group) else ()), *self._file.attrs})

    def layers(self) -> list[str]:
        """Return the names of all layers."""
        return [AUTO_LAYER, *self._layers()]

    def count_layers(self) -> list[str]:
        """Return the other layers that look like counts."""
        return [name for name in (AUTO_LAYER, *self._layers()) if name != self._layer and self._holds_counts(name)]

    def warnings(self) -> list[str]:
        """Return nothing: of a loom nothing is chosen for the user."""
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        try:
            specification = f"specification {brief(_specification(self.location, self._file))}"
        except InputError as error:
            specification = str(error).removeprefix(f"{self.location}: ")
        layers = [brief(layer) for layer in self._layers()]
        return [
            ("format", f"loom ({specification})"),
            ("matrix", f"{self.shape[0]:,} rows × {self.shape[1]:,} cells, {self._grid.text}"),
            *((("layers", ", ".join(layers)),) if layers else ()),
            ("stored bytes", f"{self.stored_bytes(0, self.shape[1]):,}"),
            ("row attributes", ", ".join(map(brief, self._rows.columns)) or "none"),
            ("column attributes", ", ".join(map(brief, self._cells.columns)) or "none"),
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
        kind, sound = "no dataset", False
        if isinstance(matrix, h5py.Dataset):
            with naming_damage(self.location, f"the type of '{brief(name)}'"):
                kind = f"{brief(matrix.dtype)} with {matrix.ndim}"
                sound = matrix.ndim == 2 and matrix.dtype.kind in "iufb"
        if not isinstance(matrix, h5py.Dataset) or not sound:
            message = (
                f"{self.location}: '{brief(name)}' must be numeric with 2 dimensions, rows and cells; it is {kind}"
            )
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


def _specification(location: str, file: h5py.File) -> str:
    """Return the version of the format; ``"2"`` where the file has none, as files before 3 did."""
    stored: Any = find_member(location, file, f"attrs/{_SPECIFICATION}")
    with naming_damage(location, f"'attrs/{_SPECIFICATION}'"):
        if isinstance(stored, h5py.Dataset):
            odd = odd_kind(stored.dtype) if stored.size == 1 else None
            value = stored[()] if stored.size == 1 and odd is None else None
        else:
            value = small_attribute(location, file, _SPECIFICATION)
            odd = odd_kind(np.asarray(value).dtype) if value is not None else None
        if odd is None:
            versions = as_strings(np.asarray([] if value is None else value))
            return str(versions[0]) if len(versions) else "2"
    message = f"{location}: '{_SPECIFICATION}' must be a word; it holds {odd}"
    raise InputError(message)
