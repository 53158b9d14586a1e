"""Tiles, or chunks, of a compressed HDF5 dataset: found in the file, read by byte range and inflated with libdeflate.

This is three times as fast as HDF5's own way. It serves datasets of plain numbers whose only filter is gzip, as most
writers make them. Whatever else there is, other filters, other layouts, goes through h5py.

The package `deflate` carries libdeflate and inflates one block a call, each into memory of its own. Where its library
shows libdeflate's functions, one compiled loop calls them for all tiles, straight into place; elsewhere the package's
own function is called tile by tile. The bytes are the same.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
import numpy.typing as npt
from deflate import _deflate
from h5py import h5d, h5t, h5z

from median_spark import storage
from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import Bytes, Flags, Ints, Numbers
from median_spark.matrices.hdf5.btree import CHUNK, read_chunk_index
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.sizes import require_tiles

MOST_INFLATED_BYTES = 256 << 20
"""Most bytes of tiles to inflate at once; h5py reads larger rows of tiles, as in a matrix stored by column."""

_GAP_BYTES = 64 << 10
"""Bytes between two tiles that are read and thrown away rather than starting another read."""

_BEAT_CHUNKS = 1 << 16

_REASON = "it does not inflate to the size of a tile"

_ITEM_BYTES = {"i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (4, 8)}


class DamagedTileError(Exception):
    """A tile that cannot be inflated, by its `number` among those that were to be."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def can_be_inflated(dataset: h5py.Dataset) -> bool:
    """Say whether a dataset's tiles are plain numbers, compressed by gzip and nothing else, of a size to be held."""
    properties = dataset.id.get_create_plist()
    dtype = dataset.dtype
    # A file may have types that numpy lacks: fewer bits than its bytes hold, other exponents. h5py converts those.
    plain = (
        dtype.kind in "iuf"
        and dtype.itemsize in _ITEM_BYTES[dtype.kind]
        and dtype.isnative
        and dataset.id.get_type() == h5t.py_create(dtype)
    )
    return bool(
        plain
        and properties.get_layout() == h5d.CHUNKED
        and properties.get_nfilters() == 1
        and properties.get_filter(0)[0] == h5z.FILTER_DEFLATE
        and dataset.fillvalue == 0
        and not dataset.file.userblock_size
        and math.prod(dataset.chunks) * dtype.itemsize <= MOST_INFLATED_BYTES
    )


@dataclass(frozen=True)
class TilePlaces:
    """Where some tiles lie, all of shape (rows of tiles, columns of tiles) or (tiles,).

    `offset` and `size` (int64) are bytes from the file's beginning and bytes, 0 where a tile was never written; `plain`
    says that a tile is stored as it is, because compressing made it no smaller.
    """

    offset: Ints
    size: Ints
    plain: Flags

    def __getitem__(self, place: Any) -> "TilePlaces":
        return TilePlaces(self.offset[place], self.size[place], self.plain[place])


class TileIndex:
    """The places of a dataset's tiles, all found at once: HDF5 takes as long to look up a few.

    A dataset of one dimension is one column of tiles, its elements the rows. `name` is for messages.
    """

    def __init__(self, location: str, dataset: h5py.Dataset, name: str) -> None:
        self._location = location
        self._name = name
        self._what = f"the index of {name}'s tiles"
        self._dataset = dataset
        self._tile: tuple[int, int] = (*dataset.chunks, 1)[:2]
        self._shape = tuple(-(-extent // tile) for extent, tile in zip((*dataset.shape, 1), self._tile, strict=False))
        self._all: TilePlaces | None = None

    def places(self, rows: Ints, columns: Ints) -> TilePlaces:
        """Return the places of the tiles in some rows and columns of tiles; InputError if the index is damaged."""
        if self._all is None:
            require_tiles(self._location, self._name, self._dataset)
            self._all = self._read()
        return self._all[np.ix_(rows, columns)]

    def stored_bytes(self, axis: int, chosen: range) -> int:
        """Return the bytes in the file of some rows (axis 0) or columns (axis 1) of tiles."""
        numbers = [np.arange(extent) for extent in self._shape]
        numbers[axis] = numbers[axis][chosen.start : chosen.stop]
        return int(self.places(numbers[0], numbers[1]).size.sum())

    def _read(self) -> TilePlaces:
        with naming_damage(self._location, self._what):
            with self._open() as stream:
                chunks = read_chunk_index(stream, self._dataset)
            if chunks is None:
                chunks = self._ask_hdf5()
        row, column = chunks["row"] // self._tile[0], chunks["column"] // self._tile[1]
        if np.any((row >= self._shape[0]) | (column >= self._shape[1])):
            message = f"{self._location}: {self._what} names a tile outside the matrix; the file is damaged"
            raise InputError(message)
        if np.any(np.bincount((row * self._shape[1] + column).astype(np.int64)) > 1):
            message = f"{self._location}: {self._what} names a tile twice; the file is damaged"
            raise InputError(message)
        places = TilePlaces(*(np.zeros(self._shape, dtype) for dtype in (np.int64, np.int64, np.bool_)))
        places.offset[row, column] = chunks["address"]
        places.size[row, column] = chunks["size"]
        places.plain[row, column] = chunks["mask"] != 0
        return places

    def _open(self) -> Any:
        """Open the file; the index is thousands of small reads, for which Python's own local files are the fastest."""
        local = storage.is_plain_file(self._location)
        return Path(self._location).open("rb", buffering=0) if local else storage.open_random(self._location)

    def _ask_hdf5(self) -> npt.NDArray[np.void]:
        infos: list[Any] = []
        most = math.prod(self._shape)

        def note(chunk: Any) -> bool | None:
            """Keep a chunk; stop HDF5, which may go round in a circle, where there are more than there can be."""
            if len(infos) % _BEAT_CHUNKS == 0:
                beat()
            infos.append(chunk)
            return True if len(infos) > most else None

        self._dataset.id.chunk_iter(note)
        # Fields of h5py's StoreInfo: chunk_offset, filter_mask, byte_offset, size.
        rows = [(size, mask, *(*corner, 0)[:2], 0, address) for corner, mask, address, size in infos]
        return np.array(rows, dtype=CHUNK)


def open_bytes(location: str) -> Any:
    """Open a file for reading by byte range."""
    with naming_damage(location, "the matrix"):
        return storage.open_random(location)


def inflate_tiles(stored: Bytes, offsets: Ints, sizes: Ints, slots: Ints, tiles: Bytes) -> None:
    """Inflate zlib streams, each to its slot.

    Stream i is ``stored[offsets[i] : offsets[i] + sizes[i]]``, within its bounds, and must fill ``tiles[slots[i]]``.
    The shape of `tiles` is (slots, bytes of a tile). DamagedTileError if one is damaged, or not exactly as long as a
    tile.
    """
    library = _library()
    if library is None:
        for number, (offset, size, slot) in enumerate(
            zip(offsets.tolist(), sizes.tolist(), slots.tolist(), strict=True)
        ):
            try:
                inflated = deflate.zlib_decompress(stored.data[offset : offset + size], tiles.shape[1])
            except deflate.DeflateError as error:
                raise DamagedTileError(number, _REASON) from error
            if len(inflated) != tiles.shape[1]:
                raise DamagedTileError(number, _REASON)
            tiles[slot] = np.frombuffer(inflated, dtype=np.uint8)
        return
    from median_spark.matrices.loops.dense import inflate_all  # numba takes half a second: only readers of counts wait

    failed = inflate_all(*library, stored, offsets, sizes, slots, tiles)
    if failed >= 0:
        raise DamagedTileError(failed, _REASON)


@cache
def _library() -> tuple[int, int] | None:
    """Return the address of libdeflate's function and of a decompressor, which this process keeps, or None."""
    try:
        library = ctypes.CDLL(_deflate.__file__)
        allocate, function = library.libdeflate_alloc_decompressor, library.libdeflate_zlib_decompress
    except (OSError, AttributeError):
        return None
    allocate.restype = ctypes.c_void_p
    address = ctypes.cast(function, ctypes.c_void_p).value
    decompressor = allocate()
    return (address, decompressor) if address and decompressor else None


def read_tiles(stream: Any, places: TilePlaces, tiles: Numbers) -> None:
    """Read and inflate some tiles, each to its slot of `tiles`; those that lie close together are read at once.

    The stream is from `open_bytes`. DamagedTileError if a tile is missing from the file or damaged.
    """
    room = tiles.reshape(len(tiles), -1).view(np.uint8)
    room[places.size == 0] = 0
    end = places.offset + places.size
    beyond = np.flatnonzero((end > stream.size()) | (places.offset < 0))
    if len(beyond):
        raise DamagedTileError(int(beyond[0]), f"it ends beyond the file's {stream.size():,} bytes")
    order = np.argsort(places.offset, kind="stable")
    order = order[places.size[order] > 0]
    breaks = np.flatnonzero(places.offset[order][1:] > end[order][:-1] + _GAP_BYTES) + 1
    for adjacent in np.split(order, breaks) if len(order) else []:
        begin = int(places.offset[adjacent[0]])
        try:
            stored = np.frombuffer(stream.read_at(int(end[adjacent].max()) - begin, begin), dtype=np.uint8)
        except OSError as error:
            raise DamagedTileError(int(adjacent[0]), str(error)) from error
        plain = places.plain[adjacent]
        for slot in adjacent[plain].tolist():
            offset, size = int(places.offset[slot]) - begin, int(places.size[slot])
            if size != room.shape[1]:
                raise DamagedTileError(slot, f"it has {size:,} bytes, where a tile has {room.shape[1]:,}")
            room[slot] = stored[offset : offset + size]
        packed = adjacent[~plain]
        try:
            inflate_tiles(stored, places.offset[packed] - begin, places.size[packed], packed, room)
        except DamagedTileError as error:
            raise DamagedTileError(int(packed[error.number]), str(error)) from error
