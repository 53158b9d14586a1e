"""TileDB-SOMA experiments: obs and var by soma_joinid, and counts in a layer of X, read by ranges of cells.

Read with tiledbsoma, whose specification is https://github.com/single-cell-data/SOMA.
"""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Numbers, Texts, brief, like_ensembl
from median_spark.matrices.coordinates import CoordinateEntries, UnknownError
from median_spark.matrices.options import AUTO_LAYER, CELL_ID_CANDIDATES, DEFAULT_NAMES, AttributeNames
from median_spark.matrices.soma.frames import JOIN_ID, SomaFrame
from median_spark.matrices.soma.layers import choose_layer, find_layers
from median_spark.matrices.soma.opening import naming_damage, open_experiment
from median_spark.matrices.tables import TabledMatrix
from median_spark.options import LAYER

_GENE_IDS = ("feature_id", "var_id")
"""Columns of var that may hold Ensembl ids: the Census's, and the index that tiledbsoma.io writes."""

_CELL_IDS = ("obs_id", *CELL_ID_CANDIDATES)


_SUMMED_AT_ONCE = 2048
"""Cells whose entries are in memory at once while they are summed."""

_BYTES_PER_ENTRY = 2
"""Bytes of an entry in the files of an array, more or less: only ratios of `stored_bytes` are used."""


class SomaMatrix(TabledMatrix):
    """One experiment, a folder on disk or on a store; cells are the rows of obs in the order of soma_joinid.

    The layers are ``"RNA/raw"`` (measurement and layer), or ``"raw"`` if only one measurement has it; ``"auto"`` is the
    only one, or the first of the usual ones that holds counts. InputError if tiledbsoma is not installed, or it is
    missing or damaged, or has no such layer.
    """

    cell_attribute = "obs column"
    _types_of_cellxgene = True
    _rows: SomaFrame
    _cells: SomaFrame

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self._names = names
        self._wanted = layer
        self._entries_read: dict[tuple[int, int], int] = {}
        self._closing = contextlib.ExitStack()
        self._experiment = open_experiment(location)
        self._closing.callback(self._experiment.close)
        try:
            self._layers = find_layers(location, self._experiment)
            self._layer = choose_layer(location, self._layers, layer)
            self.place = self._layer.place
            self._dtype = self._layer.dtype
            self._cells = self._frame("obs", "cells")
            self._rows = self._frame("var", "genes")
            self.shape = (self._rows.length, self._cells.length)
            self._check_extent()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the experiment."""
        self._closing.close()

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row."""
        name = self._names.gene_id
        if name == DEFAULT_NAMES.gene_id and not self._rows.has(name):
            for candidate in _GENE_IDS:
                if self._rows.has(candidate):
                    ids = self._rows.strings(candidate)
                    if like_ensembl(ids):
                        return ids
        return self._strings(self._rows, "gene_id", name)

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the names of some cells, by default of all: a column of obs, or the soma_joinid."""
        name = self._names.cell_id
        if name is None:
            name = next((candidate for candidate in _CELL_IDS if self._cells.has(candidate)), JOIN_ID)
        if name != JOIN_ID:
            return self._strings(self._cells, "cell_id", name, first, last)
        last = self.shape[1] if last is None else last
        return self._cells.join_ids.of(first, last).astype(np.str_)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        gathered = CoordinateEntries(
            rows, self._rows.join_ids, self._cells.join_ids, first, taken[: last - first], self._dtype
        )
        read = 0
        for cells, genes, counts in self._read(first, last):
            read += len(counts)
            try:
                gathered.add(cells, genes, counts)
            except UnknownError as error:
                number, frame = (cells, self._cells) if error.cell else (genes, self._rows)
                self._refuse_unknown(int(number[error.place]), frame)
        self._entries_read = {(first, last): read}
        return gathered.entries()

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, by ascending row."""
        tile, rows = self.cells_per_tile(), np.arange(self.shape[0])
        step = max(1, last - first) if tile == 1 else -(-_SUMMED_AT_ONCE // tile) * tile
        totals, begin = np.zeros(last - first, dtype=np.float64), first
        while begin < last:
            end = min((begin // step + 1) * step, last) if tile > 1 else last
            everything = self.entries(rows, begin, end, np.ones(end - begin, dtype=np.bool_))
            totals[begin - first : end - first] = everything.totals(end - begin)
            begin = end
        return totals

    def cells_per_tile(self) -> int:
        """Return how many cells are decompressed together."""
        return self._layer.cells_per_tile if self._cells.join_ids.numbers is None else 1

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the files, by the entries that they have."""
        if (first, last) == (0, self.shape[1]):
            return self._layer.nonzero * _BYTES_PER_ENTRY
        if (first, last) not in self._entries_read:  # else these cells were just looked at
            self._entries_read = {(first, last): sum(len(counts) for _, _, counts in self._read(first, last))}
        return self._entries_read[first, last] * _BYTES_PER_ENTRY

    def layers(self) -> list[str]:
        """Return the names of all layers."""
        return list(self._layers)

    def count_layers(self) -> list[str]:
        """Return the other layers that look like counts."""
        return [name for name in self._layers if name != self._layer.name and self._holds_counts(name)]

    def warnings(self) -> list[str]:
        """Return what was chosen without being asked for: a layer where there are several."""
        if self._wanted != AUTO_LAYER or len(self._layers) == 1:
            return []
        first = next(iter(self._layers))
        if self._layer.name != first:
            return [
                f"{self._layers[first].place} holds no counts (its numbers are not whole, or below 0) and {self.place} "
                f"does, so that was read: {LAYER.given(self._layer.name)} says so"
            ]
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the experiment holds, as pairs of field and finding, for people."""
        kind = "sparse" if self._layer.is_sparse else "dense"
        pairs = [
            ("format", "TileDB-SOMA experiment"),
            (
                "matrix",
                f"{self.place}: {self.shape[0]:,} genes × {self.shape[1]:,} cells, {kind}, "
                f"{self._layer.nonzero:,} entries of {self._dtype}",
            ),
        ]
        for name in self._layers:
            holds = "looks like counts" if self._holds_counts(name) else "does not hold counts"
            pairs += [(LAYER.given(brief(name)), holds)]
        for frame in (self._rows, self._cells):
            pairs += [(f"{frame.name} columns", ", ".join(map(brief, frame.columns)) or "none")]
        return pairs

    def _frame(self, name: str, axis: str) -> SomaFrame:
        holder = self._experiment if name == "obs" else self._experiment.ms[self._layer.measurement]
        with naming_damage(self.location, f"its list of data frames of {axis}"):
            there = list(holder)
            held = holder[name] if name in there else None
        if held is None or str(held.soma_type) != "SOMADataFrame":
            message = f"{self.location}: {name}, the data frame of its {axis}, is missing; there is {listed(there, 8)}"
            raise InputError(message)
        return SomaFrame(self.location, held, name, axis)

    def _check_extent(self) -> None:
        """Reject counts of cells and genes that obs and var do not have, as far as their extents tell."""
        if self._layer.extent is None:
            return
        for frame, (begin, end), what in zip(
            (self._cells, self._rows), self._layer.extent, ("cells", "genes"), strict=True
        ):
            least, greatest = frame.join_ids.bounds(0, frame.length) if frame.length else (0, -1)
            if begin < least or end > greatest:
                self._refuse_extent(what, begin, end, frame, least, greatest)

    def _refuse_extent(self, what: str, begin: int, end: int, frame: SomaFrame, least: int, greatest: int) -> None:
        has = f"{least:,} to {greatest:,}" if frame.length else "none"
        message = (
            f"{self.location}: {self.place} has {what} of {JOIN_ID} {begin:,} to {end:,}, where {frame.name} "
            f"has {has}; the experiment is damaged"
        )
        raise InputError(message)

    def _read(self, first: int, last: int) -> Iterator[tuple[Ints, Ints, Numbers]]:
        """Yield the soma_joinids of cells and genes, and counts, of some cells."""
        if last > first:
            yield from self._layer.read(*self._cells.join_ids.bounds(first, last))

    def _refuse_unknown(self, number: int, frame: SomaFrame) -> NoReturn:
        message = (
            f"{self.location}: {self.place} has an entry of {JOIN_ID} {number:,} of {frame.axis}, which {frame.name} "
            "does not have; the experiment is damaged"
        )
        raise InputError(message)

    def _holds_counts(self, layer: str) -> bool:
        """Say whether a layer that was not chosen looks like counts; one that cannot be read does not."""
        try:
            return self._layers[layer].dtype is not None and self._layers[layer].holds_counts()
        except InputError:
            return False
