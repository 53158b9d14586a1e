"""Two-dimensional HDF5 datasets, read as bands of rows: by tiles where they can be inflated here, else by h5py."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.guard import beat
from median_spark.matrices.hdf5.files import compression_of, naming_damage, require_filters
from median_spark.matrices.hdf5.row_blocks import RowBlock
from median_spark.matrices.hdf5.sizes import most_bytes
from median_spark.matrices.hdf5.tiles import AxisLabels, tiles_of

_BAND_BYTES = 64 << 20
"""A band of rows is read at once: large enough to amortise the call, small enough for any worker."""


class Grid:
    """One dataset of numbers.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    stored : numpy.dtype
        As it is in the file.
    dtype : numpy.dtype
        As it is read.
    tile : tuple of int
        Rows and columns that are decompressed together; 1 where it does not matter.
    """

    def __init__(self, location: str, dataset: h5py.Dataset, words: AxisLabels | None = None) -> None:
        self._location = location
        self._dataset = dataset
        self._words = words or AxisLabels()
        require_filters(location, dataset)
        self._tiles = tiles_of(location, dataset, self._words)
        self.shape: tuple[int, int] = dataset.shape
        self.stored: np.dtype[Any] = dataset.dtype
        self.dtype = computable(dataset.dtype)
        self.tile: tuple[int, int] = dataset.chunks or (1, 1)

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        dataset = self._dataset
        tiles = f"tiles of {dataset.chunks[0]} × {dataset.chunks[1]}" if dataset.chunks else "contiguous"
        return f"{self.stored}, {tiles}, {compression_of(dataset)}"

    def bands(
        self, rows: npt.NDArray[np.int64], first: int, last: int, taken: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[RowBlock]:
        """Read the rows of tiles that hold some rows, for the columns ``first <= column < last``.

        Parameters
        ----------
        rows : ndarray of int64
            Ascending.
        first, last : int
            The columns.
        taken : ndarray of bool, shape (last - first,), optional
            Which of them are needed; tiles with none of these may be left out.

        Raises
        ------
        InputError
            If it is damaged.
        """
        if self._tiles is None:
            yield from self._slices(rows, first, last)
            return
        width = self.tile[1]
        first_tile, last_tile = first // width, -(-last // width)
        wanted = np.zeros((last_tile - first_tile) * width, dtype=np.bool_)
        wanted[first - first_tile * width : last - first_tile * width] = True if taken is None else taken
        yield from self._tiles.bands(
            rows, first_tile, last_tile, np.logical_or.reduce(wanted.reshape(-1, width), axis=1)
        )

    def stored_bytes(self, axis: int, first: int, last: int) -> int:
        """Return the bytes of rows (axis 0) or columns (axis 1), with the tiles that they reach into."""
        if self._tiles is not None:
            width = self.tile[axis]
            chosen = range(first // width, -(-last // width))
            return self._tiles.stored_bytes(chosen if axis == 0 else None, chosen if axis == 1 else None)
        with naming_damage(self._location, f"the index of {self._words.name}'s tiles"):
            return int(self._dataset.id.get_storage_size() * (last - first) / max(1, self.shape[axis]))

    def _slices(self, rows: npt.NDArray[np.int64], first: int, last: int) -> Iterator[RowBlock]:
        """Read bands of rows with h5py: whole rows of tiles, each band of about `_BAND_BYTES`."""
        tile, row = self.tile[0], max(1, (last - first) * self.stored.itemsize)
        # Tiles are decompressed at once where the file can fill them, however wide they are.
        height = max(tile, _BAND_BYTES // row // tile * tile)
        if height * row > most_bytes(self._dataset):
            height = max(1, _BAND_BYTES // row)
        for number in np.unique(rows // height).tolist():
            start, stop = number * height, min((number + 1) * height, self.shape[0])
            beat()
            with naming_damage(self._location, self._words.place(start, stop, first, last)):
                counts = np.asarray(self._dataset[start:stop, first:last])
            yield RowBlock(
                start, stop, counts.astype(self.dtype, copy=False)[np.newaxis], np.array([first], dtype=np.int64)
            )


def computable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what counts are read as: compiled loops take the machine's own numbers of up to 8 bytes only."""
    native = dtype.newbyteorder("=")
    if native.kind == "f" and native.itemsize > 8:
        return np.dtype(np.float64)
    others: dict[str, np.dtype[Any]] = {"b1": np.dtype(np.uint8), "f2": np.dtype(np.float32)}
    return others.get(native.str[1:], native)
