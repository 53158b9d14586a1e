"""Inflating many tiles at once with libdeflate.

The package `deflate` carries libdeflate and inflates one block a call, each into memory of its own. Where its library
shows libdeflate's functions, one compiled loop calls them for all tiles, straight into place; elsewhere the package's
own function is called tile by tile. What comes out is the same.
"""

import ctypes
from functools import cache

import deflate
import numpy as np
import numpy.typing as npt
from deflate import _deflate


class DamagedTileError(Exception):
    """A tile that cannot be inflated; its number among those that were to be."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def inflate_tiles(
    stored: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int64],
    tiles: npt.NDArray[np.uint8],
) -> None:
    """Inflate zlib streams, each to its slot.

    Parameters
    ----------
    stored : ndarray of uint8
        What was read of a file.
    offsets, sizes : ndarray of int64, shape (streams,)
        Where in it each stream is, within its bounds.
    slots : ndarray of int64, shape (streams,)
        Row of `tiles` that receives each.
    tiles : ndarray of uint8, shape (slots, bytes of a tile)
        Each stream must fill its row.

    Raises
    ------
    DamagedTileError
        If a stream is damaged, or is not exactly as long as a tile.
    """
    found = _library()
    if found is None:
        _inflate_one_by_one(stored, offsets, sizes, slots, tiles)
        return
    from median_spark.matrices.loops.dense import inflate_all  # numba takes half a second: only who reads counts waits

    failed = inflate_all(found[0], found[1], stored, offsets, sizes, slots, tiles)
    if failed >= 0:
        raise DamagedTileError(failed, _REASON)


_REASON = "it does not inflate to the size of a tile"


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


def _inflate_one_by_one(
    stored: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int64],
    tiles: npt.NDArray[np.uint8],
) -> None:
    content = stored.data
    size = tiles.shape[1]
    for number, (offset, length, slot) in enumerate(zip(offsets.tolist(), sizes.tolist(), slots.tolist(), strict=True)):
        try:
            found = deflate.zlib_decompress(content[offset : offset + length], size)
        except deflate.DeflateError as error:
            raise DamagedTileError(number, _REASON) from error
        if len(found) != size:
            raise DamagedTileError(number, _REASON)
        tiles[slot] = np.frombuffer(found, dtype=np.uint8)
