"""HDF5 datasets of numbers in one or two dimensions: their tiles are inflated here where they can be, else by h5py."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import Flags, Ints, Numbers, brief, computable
from median_spark.matrices.hdf5.files import compression_of, naming_damage, require_filters
from median_spark.matrices.hdf5.row_blocks import RowBlock, block_bounds
from median_spark.matrices.hdf5.sizes import most_bytes, require_whole_chunks
from median_spark.matrices.hdf5.tiles import (
    MOST_INFLATED_BYTES,
    DamagedTileError,
    TileIndex,
    can_be_inflated,
    open_bytes,
    read_tiles,
)


@dataclass(frozen=True)
class AxisLabels:
    """What a dataset and its two axes are called in messages."""

    name: str
    rows: str = "rows"
    columns: str = "cells"

    def place(self, start: int, stop: int, first: int, last: int) -> str:
        """Return ``"the matrix at rows 0 to 64, cells 64 to 128"``."""
        return f"{self.name} at {self.rows} {start:,} to {stop:,}, {self.columns} {first:,} to {last:,}"


class Grid:
    """A dataset of two dimensions, read as blocks of rows.

    Its numbers are `stored` as one dtype and read as another, `dtype`; `tile` has the rows and columns that are
    decompressed together, 1 where it does not matter; `inflated` says that this is done here and not by h5py.
    """

    def __init__(self, location: str, dataset: h5py.Dataset, labels: AxisLabels) -> None:
        require_filters(location, dataset)
        self._location = location
        self._dataset = dataset
        self._labels = labels
        self.shape: tuple[int, int] = dataset.shape
        self.stored: np.dtype[Any] = dataset.dtype
        self.dtype = computable(dataset.dtype)
        self.tile: tuple[int, int] = dataset.chunks or (1, 1)
        across = -(-self.shape[1] // self.tile[1]) * self.tile[1]
        self.inflated = can_be_inflated(dataset) and across * self.tile[0] * self.stored.itemsize <= min(
            MOST_INFLATED_BYTES, most_bytes(dataset)
        )
        self._index = TileIndex(location, dataset, labels.name) if self.inflated else None
        self._checked = self.inflated

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        tiles = f"tiles of {self.tile[0]} × {self.tile[1]}" if self._dataset.chunks else "contiguous"
        return f"{self.stored}, {tiles}, {compression_of(self._dataset)}"

    def row_blocks(self, rows: Ints, first: int, last: int, taken: Flags | None = None) -> Iterator[RowBlock]:
        """Read the rows of tiles that hold some ascending rows, for the columns ``first <= column < last``.

        Tiles with none of the `taken` columns, shape (last - first,), may be left out; InputError if it is damaged.
        """
        if self._index is None:
            yield from self._slices(rows, first, last)
            return
        height, width = self.tile
        first_tile, last_tile = first // width, -(-last // width)
        wanted = np.zeros((last_tile - first_tile) * width, dtype=np.bool_)
        wanted[first - first_tile * width : last - first_tile * width] = True if taken is None else taken
        columns = first_tile + np.flatnonzero(np.logical_or.reduce(wanted.reshape(-1, width), axis=1))
        tile_rows = np.unique(rows // height)
        if not len(tile_rows) or not len(columns):
            return
        places = self._index.places(tile_rows, columns)
        tiles = np.zeros((len(columns), height, width), dtype=self.stored)
        with open_bytes(self._location) as stream:
            for number, start in enumerate((tile_rows * height).tolist()):
                stop = min(start + height, self.shape[0])
                beat()
                try:
                    read_tiles(stream, places[number], tiles)
                except DamagedTileError as error:
                    column = int(columns[error.number]) * width
                    place = self._labels.place(start, stop, column, min(column + width, self.shape[1]))
                    message = f"{self._location}: {place} cannot be read; the file is damaged ({error})"
                    raise InputError(message) from error
                yield RowBlock(start, stop, tiles, columns * width)

    def stored_bytes(self, axis: int, first: int, last: int) -> int:
        """Return the bytes of rows (axis 0) or columns (axis 1), with the tiles that they reach into."""
        if self._index is not None:
            return self._index.stored_bytes(axis, range(first // self.tile[axis], -(-last // self.tile[axis])))
        with naming_damage(self._location, f"the index of {self._labels.name}'s tiles"):
            return int(self._dataset.id.get_storage_size() * (last - first) / max(1, self.shape[axis]))

    def _slices(self, rows: Ints, first: int, last: int) -> Iterator[RowBlock]:
        """Read blocks of rows with h5py."""
        if not self._checked:
            with naming_damage(self._location, f"the index of {self._labels.name}'s tiles"):
                require_whole_chunks(self._location, self._labels.name, self._dataset)
            self._checked = True
        row = (last - first) * self.stored.itemsize
        for start, stop in block_bounds(rows, self.shape[0], self.tile[0], row, most_bytes(self._dataset)):
            with naming_damage(self._location, self._labels.place(start, stop, first, last)):
                counts = np.asarray(self._dataset[start:stop, first:last])
            yield RowBlock(start, stop, counts.astype(self.dtype, copy=False)[np.newaxis], np.array([first]))


class Vector:
    """A long list of numbers, read by range; they are read as `dtype`, and `chunk` of them decompressed together."""

    def __init__(self, location: str, dataset: h5py.Dataset) -> None:
        require_filters(location, dataset)
        self._location = location
        self._dataset = dataset
        self._name = f"'{brief(dataset.name.lstrip('/'))}'"
        self.dtype = computable(dataset.dtype)
        self.chunk: int = dataset.chunks[0] if dataset.chunks else 1
        self._index = TileIndex(location, dataset, self._name) if can_be_inflated(dataset) else None
        self._stream: Any = None
        self._checked = self._index is not None

    def __len__(self) -> int:
        return int(self._dataset.shape[0])

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        return f"{self._dataset.dtype}, {compression_of(self._dataset)}"

    def stored_bytes(self) -> int:
        """Return the bytes that all of it takes in the file."""
        with naming_damage(self._location, f"the index of {self._name}s tiles"):
            return int(self._dataset.id.get_storage_size())

    def read(self, start: int, stop: int) -> Numbers:
        """Return the numbers ``start <= place < stop``; InputError if the file is damaged."""
        if self._index is None or stop <= start:
            with naming_damage(self._location, f"{self._name} from {start:,} to {stop:,}"):
                if not self._checked:
                    require_whole_chunks(self._location, self._name, self._dataset)
                    self._checked = True
                return np.asarray(self._dataset[start:stop]).astype(self.dtype, copy=False)
        first, last = start // self.chunk, -(-stop // self.chunk)
        tiles = np.empty((last - first, self.chunk), dtype=self.dtype)
        places = self._index.places(np.arange(first, last), np.zeros(1, dtype=np.int64))[:, 0]
        if self._stream is None:
            self._stream = open_bytes(self._location)
        try:
            read_tiles(self._stream, places, tiles)
        except DamagedTileError as error:
            begin = (first + error.number) * self.chunk
            message = (
                f"{self._location}: {self._name} from {begin:,} to {min(begin + self.chunk, len(self)):,} "
                f"cannot be read; the file is damaged ({error})"
            )
            raise InputError(message) from error
        return tiles.reshape(-1)[start - first * self.chunk : stop - first * self.chunk]

    def close(self) -> None:
        """Close what reading has opened."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
