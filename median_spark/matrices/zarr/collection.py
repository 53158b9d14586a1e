"""annbatch's collections: AnnData groups dataset_0, dataset_1 … of one store, which annbatch reads as one long AnnData.

See https://annbatch.readthedocs.io. Its writer distributes the cells of all inputs over these groups in random order,
so a group by itself is no study: the whole is one source. Groups are opened only where a unit reaches into them.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from median_spark.errors import InputError, listed
from median_spark.guard import beat
from median_spark.matrices.anndata.columns import Frame, IndexedTable
from median_spark.matrices.anndata.layers import Storage, choose_layer, find_layers
from median_spark.matrices.anndata.matrix import AnnDataMatrix
from median_spark.matrices.anndata.nodes import Array, Group
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Texts
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.tables import OTHER_TYPE, Values
from median_spark.matrices.transpose import joined

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "dataset_"

_OPENED = 2
"""Groups whose counts are open at once."""

Opener = Callable[[str, Group, AttributeNames, str], AnnDataMatrix]


@dataclass(frozen=True)
class _Pieces:
    """Cutting ranges of all cells into ranges of single groups; `bounds` are the first cells of each, and their end."""

    bounds: Ints

    def of(self, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield for each group in a range its number, the range in it, and its first cell."""
        for number in range(len(self.bounds) - 1):
            begin, end = int(self.bounds[number]), int(self.bounds[number + 1])
            if max(begin, first) < min(end, last):
                yield number, max(begin, first) - begin, min(end, last) - begin, begin


class _JoinedFrame(IndexedTable):
    """The obs of all groups, one after the other; of the columns those that all groups have."""

    noun, axis, name = "obs column", "cells", "obs"

    def __init__(self, location: str, frames: list[Frame], pieces: _Pieces) -> None:
        self.location, self.length = location, int(pieces.bounds[-1])
        self._frames, self._pieces = frames, pieces
        self.unlisted = sorted({name for frame in frames for name in frame.unlisted})

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return sorted(set.intersection(*(set(frame.columns) for frame in self._frames)))

    def index(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the index of some rows."""
        first, last, _ = slice(first, last).indices(self.length)
        parts = [self._frames[number].index(begin, end) for number, begin, end, _ in self._pieces.of(first, last)]
        return np.concatenate([np.array([], dtype="<U1"), *parts])

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return some entries of a column; each group may have categories of its own."""
        first, last, _ = slice(first, last).indices(self.length)
        pieces = list(self._pieces.of(first, last)) or [(0, 0, 0, 0)]
        parts = [self._frames[number].values(column, begin, end) for number, begin, end, _ in pieces]
        numeric = {values.dtype.kind in "iufb" for values, _ in parts}
        if len(numeric) > 1:
            self.refuse(column, f"holds strings in some of the groups {PREFIX}0 … and numbers in others", OTHER_TYPE)
        missing = [np.zeros(len(values), dtype=np.bool_) if gaps is None else gaps for values, gaps in parts]
        return np.concatenate([values for values, _ in parts]), np.concatenate(missing)

    def arrow_type(self, column: str) -> pa.DataType:
        """Return the type that holds the column of every group."""
        kinds = {frame.arrow_type(column) for frame in self._frames}
        if len(kinds) == 1:
            return kinds.pop()
        if any(map(pa.types.is_string, kinds)):
            self.refuse(column, f"holds strings in some of the groups {PREFIX}0 … and numbers in others", OTHER_TYPE)
        return pa.float64() if any(map(pa.types.is_floating, kinds)) else pa.int64()

    def series(self, column: str, first: int, last: int) -> "pd.Series":
        """Return some entries of a column for pandas."""
        pieces = list(self._pieces.of(first, last)) or [(0, 0, 0, 0)]
        parts = [self._frames[number].series(column, begin, end) for number, begin, end, _ in pieces]
        import pandas as pd  # half a second: only who chooses cells waits

        return pd.concat(parts, ignore_index=True)


class _JoinedCounts:
    """The counts of all groups, one after the other."""

    def __init__(self, first: Storage, pieces: _Pieces, open_group: Callable[[int], AnnDataMatrix]) -> None:
        self.shape = (int(pieces.bounds[-1]), first.shape[1])
        self.cells_per_tile = first.cells_per_tile
        self.text = f"in {len(pieces.bounds) - 1} groups, the first of these {first.text}"
        self._first, self._pieces, self._open = first, pieces, open_group

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        parts = []
        for number, begin, end, start in self._pieces.of(first, last):
            beat()
            offset = start + begin - first
            part = self._open(number).entries(rows, begin, end, taken[offset : offset + end - begin])
            parts.append((offset, part))
        return joined(parts, len(rows))

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows."""
        parts = [self._open(number).cell_totals(begin, end) for number, begin, end, _ in self._pieces.of(first, last)]
        return np.concatenate([np.zeros(0), *parts])

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells, as if they took what those of the first group do."""
        cells = self._first.shape[0]
        return self._first.stored_bytes(0, cells) * (last - first) // max(1, cells)

    def close(self) -> None:
        """Nothing stays open: `Collection` closes its groups."""


class Collection(AnnDataMatrix):
    """One of annbatch's collections; InputError if its groups have different genes, or no such layer.

    Its genes are those of the var of its first group.
    """

    format = "zarr (annbatch's collection of AnnData)"
    container = "zarr store is no AnnData"

    def __init__(self, location: str, root: Group, names: AttributeNames, layer: str, opener: Opener) -> None:
        held = root.names("its list of contents")
        numbers = sorted(int(name.removeprefix(PREFIX)) for name in held if re.fullmatch(rf"{PREFIX}\d+", name))
        if not numbers:
            has = listed(held, 8) or "nothing"
            message = f"{location}: this collection has no group {PREFIX}0 with an AnnData; it has {has}"
            raise InputError(message)
        self._groups = [f"{PREFIX}{number}" for number in numbers]
        self._opened: dict[int, AnnDataMatrix] = {}
        self._opener = opener
        self._ids: Texts | None = None
        super().__init__(location, root, names, layer, ExitStack())

    def close(self) -> None:
        """Close all groups."""
        while self._opened:
            self._opened.popitem()[1].close()
        super().close()

    def file_attributes(self) -> list[str]:
        """Return the names in uns of the first group."""
        held = self._group(0).find("uns")
        return held.names("the list of contents of 'uns'") if isinstance(held, Group) else []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        return [*super().describe(), ("groups", listed(self._groups, 8))]

    def _read(self) -> None:
        first = self._group(0)
        self._layers = find_layers(self._place_of(0), first)
        self._layer = choose_layer(self._place_of(0), self._layers, self._wanted)
        frames = [self._frame_of(number) for number in range(len(self._groups))]
        pieces = _Pieces(np.cumsum([0, *(frame.length for frame in frames)]))
        counts = self._layer.open()
        self._closing.callback(counts.close)
        self._counts = _JoinedCounts(counts, pieces, self._open)
        self._cells = _JoinedFrame(self.location, frames, pieces)
        self._rows = self._find_rows(first, counts.shape[1])

    def _group(self, number: int) -> Group:
        held = self._root.find(self._groups[number])
        if not isinstance(held, Group):
            message = f"{self._place_of(number)}: this must be a group with an AnnData; it is an array"
            raise InputError(message)
        return held

    def _place_of(self, number: int) -> str:
        return f"{self.location.rstrip('/')}/{self._groups[number]}"

    def _frame_of(self, number: int) -> Frame:
        """Return the obs of a group, which is as long as its index."""
        group, location = self._group(number), self._place_of(number)
        held = group.find("obs")
        index = held.find(held.word("_index") or "_index") if isinstance(held, Group) else None
        shape = index.form("the index of obs").shape if isinstance(index, Array) else None
        if not isinstance(held, Group) or shape is None or len(shape) != 1:
            message = f"{location}: obs, the data frame of its cells, is missing or has no index"
            raise InputError(message)
        group.require_lines("obs", shape)
        return Frame(location, group, held, "obs", "cells", shape[0])

    def _open(self, number: int) -> AnnDataMatrix:
        """Return a group with its counts open, whose genes are those of the first group."""
        if number not in self._opened:
            while len(self._opened) >= _OPENED:
                self._opened.pop(next(iter(self._opened))).close()
            matrix = self._opener(self._place_of(number), self._group(number), self._names, self._layer.name)
            self._opened[number] = matrix
            if self._ids is None:
                self._ids = self.gene_ids()
            ids = matrix.gene_ids()
            if not np.array_equal(ids, self._ids):
                message = (
                    f"{self._place_of(number)}: its {len(ids):,} genes are not the {len(self._ids):,} of "
                    f"{self._groups[0]}, or stand in another order; give each group as an input of its own"
                )
                raise InputError(message)
        return self._opened[number]
