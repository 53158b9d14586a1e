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

_REASON = "it does not inflate to the size of a tile"


class DamagedTileError(Exception):
    """A tile that cannot be inflated, by its `number` among those that were to be."""

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
