"""The groups of a part's cells, as they travel to the task that reads the part."""

import hashlib
import zlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark import storage
from median_spark.errors import TableError

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CellGroups:
    """The group of each cell of a part, below 0 for cells of none.

    Values name their cells by the dictionary of their row group. It has the ids of the part's cells in order, unless
    ids repeat or somebody else has written the part.
    """

    packed: bytes
    ids: bytes  # fingerprint of the cells' ids, in order
    cells: str  # location of the file of these cells

    @classmethod
    def of_cells(cls, groups: Int32s, ids: pa.Array, cells: str) -> Self:
        """Return the groups of cells with these ids, which a file has."""
        return cls(_packed(groups), _fingerprint(ids), cells)

    def numbered(self, numbers: Int32s) -> Self | None:
        """Return the same with another number for each group, below 0 for none; None if no cell is left in any.

        The last of the numbers is for cells of no group.
        """
        groups = numbers[self.groups]
        return replace(self, packed=_packed(groups)) if (groups >= 0).any() else None

    @property
    def groups(self) -> Int32s:
        """The group of each cell, shape (cells,)."""
        return np.frombuffer(zlib.decompress(self.packed), dtype="<i4")

    def of(self, part: str, dictionary: pa.Array) -> Int32s:
        """Return the group of each id of a row group's dictionary; `part` is for messages."""
        if _fingerprint(dictionary) == self.ids:
            return self.groups
        return self._by_id(part, dictionary)

    def _by_id(self, part: str, dictionary: pa.Array) -> Int32s:
        try:
            ids = storage.read_parquet(storage.read_buffer(self.cells), ["cell"])["cell"].combine_chunks()
            ids = ids.cast(pa.string())
        except storage.UNREADABLE as error:
            message = f"{self.cells}: this file of cells cannot be read ({error}): convert its source again"
            raise TableError(message) from error
        if _fingerprint(ids) != self.ids:
            message = f"{self.cells}: this file of cells has changed since it was read: run this again"
            raise TableError(message)
        encoded = ids.dictionary_encode()
        codes = encoded.indices.to_numpy()
        groups = np.full(len(encoded.dictionary), -1, dtype=np.int32)
        groups[codes] = self.groups
        if np.any(groups[codes] != self.groups):
            place = int(np.flatnonzero(groups[codes] != self.groups)[0])
            message = (
                f"{self.cells}: several cells have the id '{ids[place].as_py()}' but different attributes, so that it "
                "cannot be said which of them a value belongs to: give the cells of this source ids of their own"
            )
            raise TableError(message)
        places = pc.index_in(dictionary, value_set=encoded.dictionary)
        if places.null_count:
            unknown = dictionary.filter(places.is_null())[0].as_py()
            message = f"{part}: cell '{unknown}' is not among the cells of this source: convert it again"
            raise TableError(message)
        found: Int32s = groups[places.to_numpy()]
        return found


def _packed(groups: Int32s) -> bytes:
    return zlib.compress(groups.astype("<i4").tobytes(), 1)


def _fingerprint(ids: pa.StringArray) -> bytes:
    _, offsets, content = ids.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
    digest = hashlib.blake2b((bounds - bounds[0]).tobytes(), digest_size=16)
    if content is not None:
        digest.update(memoryview(content)[bounds[0] : bounds[-1]])
    return digest.digest()
