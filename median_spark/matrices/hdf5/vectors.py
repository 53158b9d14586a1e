"""One-dimensional HDF5 datasets of numbers, read by range: inflated here where they can be, else by h5py."""

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.matrices.hdf5.files import compression_of, naming_damage, require_filters
from median_spark.matrices.hdf5.grid import computable
from median_spark.matrices.hdf5.inflate import DamagedTileError
from median_spark.matrices.hdf5.tile_index import TileIndex
from median_spark.matrices.hdf5.tiles import can_be_inflated, open_bytes, read_tiles


class Vector:
    """A long list of numbers in a file.

    Attributes
    ----------
    name : str
        Its path in the file.
    dtype : numpy.dtype
        As it is read.
    chunk : int
        Numbers that are decompressed together.
    """

    def __init__(self, location: str, dataset: h5py.Dataset) -> None:
        self._location = location
        self._dataset = dataset
        require_filters(location, dataset)
        self.name = dataset.name.lstrip("/")
        self.dtype = computable(dataset.dtype)
        self.chunk: int = dataset.chunks[0] if dataset.chunks else 1
        self._index = TileIndex(location, dataset, f"'{self.name}'") if can_be_inflated(dataset) else None
        self._stream: Any = None

    def __len__(self) -> int:
        return int(self._dataset.shape[0])

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        return f"{self._dataset.dtype}, {compression_of(self._dataset)}"

    def stored_bytes(self) -> int:
        """Return the bytes that all of it takes in the file."""
        with naming_damage(self._location, f"the index of '{self.name}'s tiles"):
            return int(self._dataset.id.get_storage_size())

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return the numbers ``start <= place < stop``.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if self._index is None or stop <= start:
            with naming_damage(self._location, f"'{self.name}' from {start:,} to {stop:,}"):
                return np.asarray(self._dataset[start:stop]).astype(self.dtype, copy=False)
        first, last = start // self.chunk, -(-stop // self.chunk)
        room = np.empty((last - first, self.chunk), dtype=self.dtype)
        places = self._index.places(np.arange(first, last), np.zeros(1, dtype=np.int64))[:, 0]
        if self._stream is None:
            self._stream = open_bytes(self._location)
        try:
            read_tiles(self._stream, places, room)
        except DamagedTileError as error:
            begin = (first + error.number) * self.chunk
            message = (
                f"{self._location}: '{self.name}' from {begin:,} to {min(begin + self.chunk, len(self)):,} "
                f"cannot be read; the file is damaged ({error})"
            )
            raise InputError(message) from error
        return room.reshape(-1)[start - first * self.chunk : stop - first * self.chunk]

    def close(self) -> None:
        """Close what reading has opened."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
