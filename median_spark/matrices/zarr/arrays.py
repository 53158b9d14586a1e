"""zarr arrays of numbers in one or two dimensions, read by range."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from median_spark.errors import InputError
from median_spark.matrices.anndata.nodes import Unstored
from median_spark.matrices.contract import Flags, Ints, Numbers, computable
from median_spark.matrices.hdf5.row_blocks import RowBlock, block_bounds
from median_spark.matrices.zarr.chunks import Chunks, most_bytes, naming_damage
from median_spark.matrices.zarr.store import ListedStore

_SHARD_STRETCH = 1 << 20
"""Numbers to read at once from a shard: zarr reads and checks its index for every read."""


class ZarrVector:
    """A long list of numbers; they are read as `dtype`, best by stretches of a `chunk`."""

    def __init__(self, store: ListedStore, array: zarr.Array, chunks: Chunks, what: str, unstored: Unstored) -> None:
        self._location = store.location
        self._array = array
        self._chunks = chunks
        self._what = what
        self._unstored = unstored
        self._checked = False
        self.dtype: np.dtype[Any] = computable(array.dtype)
        self._tile = chunks.tile[0]
        self.chunk: int = self._tile * max(1, _SHARD_STRETCH // self._tile if chunks.sharded else 1)
        self._held = (0, np.empty(0, dtype=self.dtype))

    def __len__(self) -> int:
        return int(self._chunks.shape[0])

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        return f"{self._array.dtype}, {storage_text(self._array)}"

    def stored_bytes(self) -> int:
        """Return the bytes that all of it takes in the store."""
        return self._chunks.stored

    def read(self, start: int, stop: int) -> Numbers:
        """Return the numbers ``start <= place < stop``; InputError if the store is damaged."""
        if not self._checked:
            if self._unstored is Unstored.DAMAGE:
                self._chunks.require_stored(self._what, 0, len(self))
            self._checked = True
        begin, held = self._held
        if begin <= start < begin + len(held):  # a chunk that the last stretch ended in
            if stop <= begin + len(held):
                return held[start - begin : stop - begin]
            return np.concatenate([held[start - begin :], self.read(begin + len(held), stop)])
        begin, end = start // self._tile * self._tile, min(-(-stop // self._tile) * self._tile, len(self))
        with naming_damage(self._location, f"{self._what} from {start:,} to {stop:,}"):
            numbers = np.asarray(self._array[begin:end]).astype(self.dtype, copy=False)
        if self._chunks.sharded and self._unstored is Unstored.DAMAGE:
            self._refuse_zeros(numbers, begin)
        last = len(numbers) - 1 - (len(numbers) - 1) % self._tile if len(numbers) else 0
        self._held = (begin + last, numbers[last:].copy()) if end > stop else (0, numbers[:0])
        return numbers[start - begin : stop - begin]

    def close(self) -> None:
        """Forget what is held."""
        self._held = (0, np.empty(0, dtype=self.dtype))

    def _refuse_zeros(self, numbers: Numbers, begin: int) -> None:
        """Reject a chunk of nothing but 0: a shard may lack any chunk, and no counts or indices are all 0."""
        for start in range(0, len(numbers), self._tile):
            chunk = numbers[start : start + self._tile]
            if len(chunk) > 1 and not chunk.any():
                place = f"from {begin + start:,} to {begin + start + len(chunk):,}"
                message = (
                    f"{self._location}: {self._what} {place} is only 0, "
                    "as if it had never been written; the store was not finished, or stores zeros as entries"
                )
                raise InputError(message, kind="missing chunks")


class ZarrGrid:
    """A matrix of cells by genes, read as blocks of cells; chunks without counts need not be stored."""

    def __init__(self, store: ListedStore, array: zarr.Array, chunks: Chunks, place: str) -> None:
        self._store = store
        self._array = array
        self._chunks = chunks
        self._place = place
        self.shape: tuple[int, int] = (chunks.shape[0], chunks.shape[1])
        self.dtype: np.dtype[Any] = computable(array.dtype)
        self.tile: tuple[int, int] = (chunks.tile[0], chunks.tile[1])
        self._refuse_missing_cells()

    @property
    def text(self) -> str:
        """How it is stored, for people."""
        return f"{self._array.dtype}, tiles of {self.tile[0]} × {self.tile[1]}, {storage_text(self._array)}"

    def row_blocks(self, rows: Ints, first: int, last: int, taken: Flags | None = None) -> Iterator[RowBlock]:
        """Read blocks that hold some ascending rows, for the columns ``first <= column < last``; none is left out."""
        row = (last - first) * self._array.dtype.itemsize
        for start, stop in block_bounds(rows, self.shape[0], self.tile[0], row, most_bytes(self._store)):
            with naming_damage(self._store.location, f"{self._place} at cells {start:,} to {stop:,}"):
                counts = np.ascontiguousarray(self._array[start:stop, first:last])
            yield RowBlock(start, stop, counts.astype(self.dtype, copy=False)[np.newaxis], np.array([first]))

    def stored_bytes(self, axis: int, first: int, last: int) -> int:
        """Return the bytes of rows (axis 0) or columns (axis 1), with the tiles that they reach into."""
        if axis == 0:
            return self._chunks.share(first, last)
        return int(self._chunks.stored * (last - first) / max(1, self.shape[1]))

    def _refuse_missing_cells(self) -> None:
        """Reject cells of which no chunk is stored: cells without any count are in no matrix by the thousand."""
        absent: Ints = np.flatnonzero((self._chunks.sizes < 0).all(axis=1) & all(self.shape))
        if len(absent):
            height = self._chunks.file_shape[0]
            first, last = int(absent[0]) * height, min((int(absent[0]) + 1) * height, self.shape[0])
            message = (
                f"{self._store.location}: {self._place} has no chunk of its cells {first:,} to {last:,}; the store is "
                "damaged, was never finished, or these cells have no counts"
            )
            raise InputError(message, kind="missing chunks")


def storage_text(array: zarr.Array) -> str:
    """Return the compressions of an array, and its shards, for people."""
    names = [type(codec).__name__.removesuffix("Codec").lower() for codec in array.compressors]
    shards = f" in shards of {' × '.join(f'{extent:,}' for extent in array.shards)}" if array.shards else ""
    return (", ".join(names) or "uncompressed") + shards
