"""Loom files: HDF5 with one matrix of genes by cells, in tiles, and attributes of rows and columns.

Read with h5py and not with loompy, whose `connect` costs seconds of import and opens for writing unless told.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, listed
from median_spark.matrices.bands import Band, gather_entries, total_counts
from median_spark.matrices.counts import BYTES_PER_ENTRY, CELL_ID_CANDIDATES, AttributeNames, Entries
from median_spark.matrices.hdf5 import naming_damage, open_hdf5, read_strings
from median_spark.matrices.tiles import tiles_of

_BAND_BYTES = 64 << 20
"""A band of rows is read at once: large enough to amortise the call, small enough for any worker."""

_OPTION = {"n_counts": "--n-counts-attr", "filter_pass": "--filter-attr", "gene_id": "--gene-id-attr",
           "gene_type": "--gene-type-attr", "cell_id": "--cell-id-attr"}  # fmt: skip


def open_loom(location: str, names: AttributeNames) -> "LoomMatrix":
    """Open a loom file for reading.

    Raises
    ------
    InputError
        If it is missing, cut off, no HDF5, or has no two-dimensional numeric ``matrix``.
    """
    return LoomMatrix(location, names)


class LoomMatrix:
    """One loom file; satisfies `CountMatrix`."""

    def __init__(self, location: str, names: AttributeNames) -> None:
        self.location = location
        self._names = names
        self._file, self._stream = open_hdf5(location)
        try:
            self._matrix = self._find_matrix()
            self._tiles = tiles_of(location, self._matrix)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.shape: tuple[int, int] = self._matrix.shape

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

    def cell_ids(self) -> npt.NDArray[np.str_]:
        """Barcode of each cell, shape (cells,); its number where the file has no barcodes."""
        chosen = self._names.cell_id
        if chosen is not None:
            return self._strings("col", "cell_id", chosen)
        for candidate in CELL_ID_CANDIDATES:
            if candidate in self._attributes("col"):
                return self._strings("col", "cell_id", candidate)
        return np.arange(self.shape[1]).astype(np.str_)

    def filter_pass(self) -> npt.NDArray[Any]:
        """Quality filter of each cell, numeric, shape (cells,)."""
        return self._numbers("filter_pass", self._names.filter_pass)

    def n_counts(self) -> npt.NDArray[np.float64]:
        """Total counts of each cell over all rows, shape (cells,)."""
        return self._numbers("n_counts", self._names.n_counts).astype(np.float64)

    def cell_totals(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, shape (last - first,)."""
        return total_counts(self._bands(np.arange(self.shape[0]), first, last), first, last)

    def entries(self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_]) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        dtype = _computable(self._matrix.dtype)
        expected = min(int(self.stored_bytes(first, last) / BYTES_PER_ENTRY), len(rows) * int(taken.sum())) + 1
        return gather_entries(self._bands(rows, first, last, taken), dtype, rows, first, taken, expected)

    def cells_per_tile(self) -> int:
        """Cells that are decompressed together."""
        return int(self._matrix.chunks[1]) if self._matrix.chunks else 1

    def stored_bytes(self, first: int, last: int) -> int:
        """Bytes that the cells ``first <= cell < last`` take in the file, with the tiles that they reach into."""
        if self._tiles is not None:
            width = self.cells_per_tile()
            return self._tiles.stored_bytes(first // width, -(-last // width))
        with naming_damage(self.location, "the index of the matrix's tiles"):
            return int(self._matrix.id.get_storage_size() * (last - first) / max(1, self.shape[1]))

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        matrix = self._matrix
        stored = matrix.compression or "uncompressed"
        tiles = f"tiles of {matrix.chunks[0]} × {matrix.chunks[1]}" if matrix.chunks else "contiguous"
        return [
            ("format", f"loom (specification {self._specification()})"),
            (
                "matrix",
                f"{self.shape[0]:,} rows × {self.shape[1]:,} cells, {matrix.dtype}, {tiles}, {stored}",
            ),
            ("stored bytes", f"{self.stored_bytes(0, self.shape[1]):,}"),
            ("row attributes", ", ".join(self._attributes("row")) or "none"),
            ("column attributes", ", ".join(self._attributes("col")) or "none"),
        ]

    def _find_matrix(self) -> h5py.Dataset:
        with naming_damage(self.location, "its list of contents"):
            held = list(self._file)
            matrix = self._file.get("matrix")
        if not isinstance(matrix, h5py.Dataset):
            message = f"{self.location}: this HDF5 file is no loom: it has no dataset 'matrix'; it has {listed(held)}"
            raise InputError(message)
        with naming_damage(self.location, "the type of 'matrix'"):
            sound = matrix.ndim == 2 and matrix.dtype.kind in "iufb"
        if not sound:
            message = (
                f"{self.location}: 'matrix' must be numeric with 2 dimensions, rows and cells; "
                f"it is {matrix.dtype} with {matrix.ndim}"
            )
            raise InputError(message)
        return matrix

    def _specification(self) -> str:
        with naming_damage(self.location, "'LOOM_SPEC_VERSION'"):
            stored = self._file.get("attrs/LOOM_SPEC_VERSION")
            found = stored[()] if stored is not None else self._file.attrs.get("LOOM_SPEC_VERSION", "2")
        if isinstance(found, np.ndarray):
            found = found.ravel()[0] if found.size else "2"
        return found.decode(errors="replace") if isinstance(found, bytes) else str(found)

    def _attributes(self, side: str) -> list[str]:
        with naming_damage(self.location, f"the group '{side}_attrs'"):
            group = self._file.get(f"{side}_attrs")
            return sorted(group) if isinstance(group, h5py.Group) else []

    def _attribute(self, side: str, field: str, name: str) -> h5py.Dataset:
        noun, length = ("row", self.shape[0]) if side == "row" else ("column", self.shape[1])
        with naming_damage(self.location, f"{noun} attribute '{name}'"):
            dataset = self._file.get(f"{side}_attrs/{name}")
        if not isinstance(dataset, h5py.Dataset):
            remedy = {"filter_pass": ", or take every cell with --no-cell-filter",
                      "n_counts": ", or sum them from the matrix with --compute-n-counts"}.get(field, "")  # fmt: skip
            message = (
                f"{self.location}: {noun} attribute '{name}' is missing; it has "
                f"{listed(self._attributes(side), 12) or 'none'}: name it with {_OPTION[field]}{remedy}"
            )
            raise InputError(message)
        if dataset.shape != (length,):
            message = (
                f"{self.location}: {noun} attribute '{name}' has shape {dataset.shape}, "
                f"where the matrix has {length:,} {'rows' if side == 'row' else 'cells'}"
            )
            raise InputError(message)
        return dataset

    def _strings(self, side: str, field: str, name: str) -> npt.NDArray[np.str_]:
        dataset = self._attribute(side, field, name)
        with naming_damage(self.location, f"attribute '{name}'"):
            return read_strings(dataset, unescape=self._specification() < "3")

    def _numbers(self, field: str, name: str) -> npt.NDArray[Any]:
        dataset = self._attribute("col", field, name)
        with naming_damage(self.location, f"the type of column attribute '{name}'"):
            sound = dataset.dtype.kind in "iufb"
        if not sound:
            message = (
                f"{self.location}: column attribute '{name}' must be numeric, not {dataset.dtype}: "
                f"name another with {_OPTION[field]}"
            )
            raise InputError(message)
        with naming_damage(self.location, f"column attribute '{name}'"):
            return np.asarray(dataset[()])

    def _bands(
        self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[Band]:
        """Read the rows of tiles that hold some rows, for the cells ``first <= cell < last``."""
        if self._tiles is None:
            yield from self._slices(rows, first, last)
            return
        width = self.cells_per_tile()
        first_column, last_column = first // width, -(-last // width)
        wanted = np.zeros((last_column - first_column) * width, dtype=np.bool_)
        wanted[first - first_column * width : last - first_column * width] = True if taken is None else taken
        columns = np.logical_or.reduce(wanted.reshape(-1, width), axis=1)
        yield from self._tiles.bands(rows, first_column, last_column, columns)

    def _slices(self, rows: npt.NDArray[np.int64], first: int, last: int) -> Iterator[Band]:
        """Read bands of rows with h5py: whole rows of tiles, each band of about `_BAND_BYTES`."""
        tile = int(self._matrix.chunks[0]) if self._matrix.chunks else 1
        fitting = _BAND_BYTES // max(1, (last - first) * self._matrix.dtype.itemsize)
        height = max(tile, fitting // tile * tile)
        for number in np.unique(rows // height).tolist():
            start, stop = number * height, min((number + 1) * height, self.shape[0])
            with naming_damage(self.location, f"the matrix at rows {start:,} to {stop:,}, cells {first:,} to {last:,}"):
                counts = np.asarray(self._matrix[start:stop, first:last])
            computable = counts.astype(_computable(counts.dtype), copy=False)
            yield Band(start, stop, computable[np.newaxis], np.array([first], dtype=np.int64))


def _computable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what counts are read as: compiled loops take the machine's own numbers of up to 8 bytes only."""
    native = dtype.newbyteorder("=")
    if native.kind == "f" and native.itemsize > 8:
        return np.dtype(np.float64)
    others: dict[str, np.dtype[Any]] = {"b1": np.dtype(np.uint8), "f2": np.dtype(np.float32)}
    return others.get(native.str[1:], native)
