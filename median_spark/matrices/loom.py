"""Loom files: HDF5 with one matrix of genes by cells, in tiles, and attributes of rows and columns.

Read with h5py and not with loompy, whose `connect` costs seconds of import and opens for writing unless told.
"""

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import BYTES_PER_ENTRY, CountMatrix, Entries, brief
from median_spark.matrices.hdf5.arrays import AxisLabels, Grid
from median_spark.matrices.hdf5.files import naming_damage, open_hdf5
from median_spark.matrices.hdf5.lists import as_strings, odd_kind, read_list
from median_spark.matrices.hdf5.members import find_member, small_attribute
from median_spark.matrices.hdf5.row_blocks import gather_entries, total_counts
from median_spark.matrices.hdf5.sizes import require_lines
from median_spark.matrices.integer_counts import dataset_holds_counts
from median_spark.matrices.options import AUTO_LAYER, CELL_ID_CANDIDATES, OPTIONS, REMEDIES, AttributeNames
from median_spark.options import LAYER

_SPECIFICATION = "LOOM_SPEC_VERSION"


class LoomMatrix(CountMatrix):
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

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    def gene_ids(self) -> npt.NDArray[np.str_]:
        """Return the Ensembl id of each row."""
        return self._strings("row", "gene_id", self._names.gene_id)

    def gene_types(self) -> npt.NDArray[np.str_] | None:
        """Return the gene type of each row, or None if the file has none."""
        name = self._names.gene_type
        return self._strings("row", "gene_type", name) if name in self._attributes("row") else None

    def cell_ids(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Return the barcodes of some cells; their numbers where the file has no barcodes."""
        held, chosen = self._attributes("col"), self._names.cell_id
        name = next((name for name in CELL_ID_CANDIDATES if name in held), None) if chosen is None else chosen
        if name is None:
            return np.arange(*slice(first, last).indices(self.shape[1])).astype(np.str_)
        return self._strings("col", "cell_id", name, first, last)

    def filter_pass(self) -> npt.NDArray[Any]:
        """Return the quality filter of each cell, numbers or texts."""
        name = self._names.filter_pass
        dataset = self._attribute("col", "filter_pass", name)
        with naming_damage(self.location, f"the type of column attribute '{name}'"):
            textual = h5py.check_string_dtype(dataset.dtype) is not None
        return self._strings("col", "filter_pass", name) if textual else self._numbers("filter_pass", name)

    def n_counts(self) -> npt.NDArray[np.float64]:
        """Return the total counts of each cell over all rows."""
        return self._numbers("n_counts", self._names.n_counts).astype(np.float64)

    def cell_totals(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Sum the counts of each of some cells over all rows."""
        return total_counts(self._grid.row_blocks(np.arange(self.shape[0]), first, last), first, last)

    def entries(self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_]) -> Entries:
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

    def attributes(self, side: str) -> list[str]:
        """Return the names of the attributes of rows (``"row"``) or of cells (``"cell"``), ascending."""
        return self._attributes("row" if side == "row" else "col")

    def count_layers(self) -> list[str]:
        """Return the other layers that look like counts."""
        return [name for name in (AUTO_LAYER, *self._layers()) if name != self._layer and self._holds_counts(name)]

    def warnings(self) -> list[str]:
        """Return nothing: of a loom nothing is chosen for the user."""
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        try:
            specification = f"specification {brief(self._specification())}"
        except InputError as error:
            specification = str(error).removeprefix(f"{self.location}: ")
        layers = [brief(layer) for layer in self._layers()]
        return [
            ("format", f"loom ({specification})"),
            ("matrix", f"{self.shape[0]:,} rows × {self.shape[1]:,} cells, {self._grid.text}"),
            *((("layers", ", ".join(layers)),) if layers else ()),
            ("stored bytes", f"{self.stored_bytes(0, self.shape[1]):,}"),
            ("row attributes", ", ".join(map(brief, self._attributes("row"))) or "none"),
            ("column attributes", ", ".join(map(brief, self._attributes("col"))) or "none"),
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

    def _specification(self) -> str:
        """Return the version of the format; ``"2"`` where the file has none, as files before 3 did."""
        stored: Any = find_member(self.location, self._file, f"attrs/{_SPECIFICATION}")
        with naming_damage(self.location, f"'attrs/{_SPECIFICATION}'"):
            if isinstance(stored, h5py.Dataset):
                odd = odd_kind(stored.dtype) if stored.size == 1 else None
                value = stored[()] if stored.size == 1 and odd is None else None
            else:
                value = small_attribute(self.location, self._file, _SPECIFICATION)
                odd = odd_kind(np.asarray(value).dtype) if value is not None else None
            if odd is None:
                versions = as_strings(np.asarray([] if value is None else value))
                return str(versions[0]) if len(versions) else "2"
        message = f"{self.location}: '{_SPECIFICATION}' must be a word; it holds {odd}"
        raise InputError(message)

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
        noun = f"{'row' if side == 'row' else 'column'} attribute '{name}'"
        unescape = self._specification() < "3"
        with naming_damage(self.location, f"attribute '{name}'"):
            return as_strings(read_list(self.location, dataset, noun, first, last, unescape=unescape))

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
