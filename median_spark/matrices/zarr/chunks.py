"""The files of one zarr array: which are there, what they take, and whether they can hold what the array declares.

zarr returns fill values for a chunk without a file, whether its writer left it out or somebody lost it: see
`Unstored` for what is made of that. Within a shard, which is one file, its own index says what was left out.
"""

import contextlib
import lzma
import math
import warnings
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import NoReturn

import numpy as np
import zarr

from median_spark.errors import InputError, counted
from median_spark.matrices.contract import Ints, brief
from median_spark.matrices.zarr.store import ListedStore

_FLOOR = 64 << 20
"""Bytes that any array may declare."""

_LEAST_LINES = 2_000_000
"""Cells, and genes, that any matrix may declare; more than the store has bytes it cannot have beyond that."""

_LEAST_CHUNKS = 4_000_000
"""Chunks that any array may declare."""

_DENSEST = 1032
"""Bytes that one byte of a store may stand for; as in HDF5 files."""

_INDEX_ENTRY = 16
"""Bytes per chunk of a shard's index."""

_DAMAGE = (
    OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, EOFError,
    SystemError, lzma.LZMAError, zlib.error,
)  # fmt: skip
"""What zarr and its codecs raise over damaged stores."""


@contextlib.contextmanager
def naming_damage(location: str, what: str) -> Iterator[None]:
    """Turn whatever zarr raises while reading something into an InputError that names store and place."""
    try:
        with warnings.catch_warnings():  # of types of strings that zarr has not specified for good
            warnings.simplefilter("ignore")
            yield
    except _DAMAGE as error:
        message = f"{location}: {what} cannot be read; the store is damaged ({brief(error)})"
        raise InputError(message) from error


def most_bytes(store: ListedStore) -> int:
    """Return the most bytes that values which are read together may take in memory."""
    return max(_FLOOR, _DENSEST * store.bytes)


def require_lines(store: ListedStore, name: str, lines: tuple[int, ...]) -> None:
    """Reject more cells or genes than the store has bytes."""
    if max(lines, default=0) > max(_LEAST_LINES, store.bytes):
        extents = " × ".join(f"{extent:,}" for extent in lines)
        _refuse(store, name, f"be {extents}")


def _refuse(store: ListedStore, name: str, declared: str) -> NoReturn:
    message = (
        f"{store.location}: '{brief(name)}' is declared to {declared}, where the store has {store.bytes:,} bytes; it "
        "is damaged, or was never finished"
    )
    raise InputError(message)


class Chunks:
    """The files of an array; each is a chunk, or a shard of several. `tile` is what is decompressed together."""

    def __init__(self, store: ListedStore, path: str, array: zarr.Array) -> None:
        self._store = store
        self._path = path
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.tile: tuple[int, ...] = array.chunks
        self.sharded = array.shards is not None
        self.file_shape: tuple[int, ...] = array.shards or array.chunks
        self._check_sizes()

    @cached_property
    def sizes(self) -> Ints:
        """The bytes of each file by its place in the grid of files, -1 where there is none."""
        extents = [-(-extent // max(1, size)) for extent, size in zip(self.shape, self.file_shape, strict=True)]
        sizes = np.full(extents, -1, dtype=np.int64)
        for place in np.ndindex(*extents):
            key = f"{self._path}/{self._array.metadata.encode_chunk_key(place)}".lstrip("/")
            sizes[place] = self._store.sizes.get(key, -1)
        return sizes

    @property
    def stored(self) -> int:
        """The bytes of all files."""
        return int(np.maximum(self.sizes, 0).sum())

    def missing(self, first: int, last: int) -> int:
        """Return how many files are missing of those with the rows ``first <= row < last``."""
        if last <= first:
            return 0
        height = self.file_shape[0]
        return int(np.count_nonzero(self.sizes[first // height : -(-last // height)] < 0))

    def require_stored(self, what: str, first: int, last: int) -> None:
        """Reject a list of which some files are missing."""
        missing = self.missing(first, last)
        if missing:
            absent = int(np.flatnonzero(self.sizes < 0)[0])
            message = (
                f"{self._store.location}: {what} lacks {counted(missing, 'chunk')} of {self.sizes.size:,} "
                f"('{brief(self._key(absent))}'), which zarr would read as {self._filled}: copy the store "
                "again from where it came, or, if its writer left out chunks of only that, write it again with "
                "zarr.config.set({'array.write_empty_chunks': True})"
            )
            raise InputError(message, kind="missing chunks")

    def assumption(self, what: str) -> str | None:
        """Return a sentence on files that are missing and taken for fill values, None if there are none."""
        missing = self.missing(0, self.shape[0])
        if not missing:
            return None
        return (
            f"{what}: {counted(missing, 'chunk')} of {self.sizes.size:,} {'is' if missing == 1 else 'are'} not in the "
            f"store and {'was' if missing == 1 else 'were'} read as {self._filled}, for zarr leaves out "
            "chunks of only that; if files were lost, copy the store again"
        )

    def share(self, first: int, last: int) -> int:
        """Return the bytes of the rows ``first <= row < last``, with the tiles that they reach into."""
        tile, height = self.tile[0], self.file_shape[0]
        begin, end = first // tile * tile, min(-(-last // tile) * tile, self.shape[0])
        if end <= begin:
            return 0
        rows = np.arange(begin // height, -(-end // height))
        stored = np.maximum(self.sizes[rows[0] : rows[-1] + 1], 0).reshape(len(rows), -1).sum(axis=1)
        starts = rows * height
        stops = np.minimum(starts + height, self.shape[0])
        overlap = np.minimum(stops, end) - np.maximum(starts, begin)
        return int((stored * (overlap / (stops - starts))).sum())

    @property
    def _filled(self) -> str:
        return repr(np.asarray(self._array.fill_value).item())

    def _key(self, file: int) -> str:
        place = tuple(int(number) for number in np.unravel_index(file, self.sizes.shape))
        return f"{self._path}/{self._array.metadata.encode_chunk_key(place)}".lstrip("/")

    def _check_sizes(self) -> None:
        store, item = self._store, max(1, self._array.dtype.itemsize)
        tile = math.prod(self.tile) * item
        if tile > most_bytes(store):
            _refuse(store, self._path, f"have chunks of {tile:,} bytes")
        files = math.prod(-(-extent // max(1, size)) for extent, size in zip(self.shape, self.file_shape, strict=True))
        if files > max(_LEAST_CHUNKS, store.bytes):
            _refuse(store, self._path, f"have {files:,} chunks")
        within = math.prod(self.file_shape) // max(1, math.prod(self.tile))
        if within * _INDEX_ENTRY > max(_FLOOR, store.bytes):
            _refuse(store, self._path, f"have shards of {within:,} chunks")
