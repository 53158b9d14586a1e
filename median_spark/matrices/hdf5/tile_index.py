"""Where the tiles, or chunks, of an HDF5 dataset lie in their file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.hdf5.btree import CHUNK, read_chunk_index
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.sizes import require_tiles

_BEAT_CHUNKS = 1 << 16


@dataclass(frozen=True)
class TilePlaces:
    """Where some tiles lie, all of shape (rows of tiles, columns of tiles) or (tiles,).

    Attributes
    ----------
    offset, size : ndarray of int64
        Bytes from the file's beginning, and bytes; size 0 where a tile was never written.
    plain : ndarray of bool
        Whether a tile is stored as it is, because compressing made it no smaller.
    """

    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    plain: npt.NDArray[np.bool_]

    def __getitem__(self, place: Any) -> "TilePlaces":
        return TilePlaces(self.offset[place], self.size[place], self.plain[place])


class TileIndex:
    """The places of a dataset's tiles, all found at once: HDF5 takes as long to look up a few.

    A dataset of one dimension is one column of tiles, its elements the rows.
    """

    def __init__(self, location: str, dataset: h5py.Dataset, name: str = "the matrix") -> None:
        self._location = location
        self._name = name
        self._what = f"the index of {name}'s tiles"
        self._dataset = dataset
        self._tile: tuple[int, int] = (*dataset.chunks, 1)[:2]
        self._shape = tuple(-(-extent // tile) for extent, tile in zip((*dataset.shape, 1), self._tile, strict=False))
        self._all: TilePlaces | None = None

    def places(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> TilePlaces:
        """Return the places of the tiles in some rows and columns of tiles, shape (rows, columns).

        Raises
        ------
        InputError
            If the index is damaged.
        """
        if self._all is None:
            require_tiles(self._location, self._name, self._dataset)
            self._all = self._pass_over()
        return self._all[np.ix_(rows, columns)]

    def stored_bytes(self, rows: range | None = None, columns: range | None = None) -> int:
        """Return the bytes that some rows and columns of tiles take in the file, by default all."""
        chosen = [np.arange(extent)[each.start : each.stop] if each is not None else np.arange(extent)
                  for each, extent in zip((rows, columns), self._shape, strict=True)]  # fmt: skip
        return int(self.places(chosen[0], chosen[1]).size.sum())

    def _pass_over(self) -> TilePlaces:
        found = self._read_tree()
        row, column = found["row"] // self._tile[0], found["column"] // self._tile[1]
        if np.any((row >= self._shape[0]) | (column >= self._shape[1])):
            message = f"{self._location}: {self._what} names a tile outside the matrix; the file is damaged"
            raise InputError(message)
        if np.any(np.bincount((row * self._shape[1] + column).astype(np.int64)) > 1):
            message = f"{self._location}: {self._what} names a tile twice; the file is damaged"
            raise InputError(message)
        places = TilePlaces(*(np.zeros(self._shape, dtype) for dtype in (np.int64, np.int64, np.bool_)))
        places.offset[row, column] = found["address"]
        places.size[row, column] = found["size"]
        places.plain[row, column] = found["mask"] != 0
        return places

    def _open(self) -> BinaryIO:
        if storage.is_local(self._location):
            return cast("BinaryIO", Path(self._location).open("rb", buffering=0))
        return cast("BinaryIO", storage.open_random(self._location))

    def _read_tree(self) -> npt.NDArray[np.void]:
        with naming_damage(self._location, self._what), self._open() as stream:
            found = read_chunk_index(stream, self._dataset)
        if found is not None:
            return found
        told: list[Any] = []
        most = math.prod(self._shape)

        def note(chunk: Any) -> bool | None:
            """Keep a chunk; stop HDF5, which may go round in a circle, where there are more than there can be."""
            if len(told) % _BEAT_CHUNKS == 0:
                beat()
            told.append(chunk)
            return True if len(told) > most else None

        with naming_damage(self._location, self._what):
            self._dataset.id.chunk_iter(note)
        # Fields of h5py's StoreInfo: chunk_offset, filter_mask, byte_offset, size.
        rows = [(size, mask, *(*corner, 0)[:2], 0, address) for corner, mask, address, size in told]
        return np.array(rows, dtype=CHUNK)
