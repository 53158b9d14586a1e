"""AnnData files, whatever keeps them: counts of cells by genes, and data frames about both.

Read without anndata, which loads whole frames, and is slow to import. The format is described at
https://anndata.readthedocs.io/en/latest/fileformat-prose.html.
"""

import contextlib

from median_spark.errors import InputError, counted, listed
from median_spark.matrices.anndata.columns import Frame, IndexedTable
from median_spark.matrices.anndata.layers import MAIN, RAW, Storage, choose_layer, find_layers
from median_spark.matrices.anndata.nodes import Array, Group
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Texts, brief, like_ensembl
from median_spark.matrices.options import AUTO_LAYER, DEFAULT_NAMES, AttributeNames
from median_spark.matrices.tables import TabledMatrix
from median_spark.options import GENE_ID_ATTR, LAYER

INDEX = "index"
"""Name of a frame's index where one of its columns could be named."""


class AnnDataMatrix(TabledMatrix):
    """One AnnData file, given by its root; of var and obs ``"index"`` is the index.

    The layers are ``"X"``, ``"raw.X"``, those that it names, and ``"auto"``: X, unless only raw.X or only a layer
    'counts' holds counts. `resources` is closed with it. InputError if it is no AnnData file, or has no such layer.
    """

    cell_attribute = "obs column"
    _types_of_cellxgene = True
    format: str
    """Its format, for people: ``"h5ad (AnnData)"``."""
    container: str
    """What its kind of file is, and what it must be, for messages: ``"HDF5 file is no h5ad"``."""
    _rows: Frame
    _cells: IndexedTable

    def __init__(
        self, location: str, root: Group, names: AttributeNames, layer: str, resources: contextlib.ExitStack
    ) -> None:
        self.location = location
        self._root = root
        self._names = names
        self._wanted = layer
        self._closing = resources
        try:
            self._read()
            self.place = self._layer.place
            self.shape = (self._counts.shape[1], self._counts.shape[0])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row."""
        name = self._names.gene_id
        if name == INDEX:
            return self._rows.index()
        if name == DEFAULT_NAMES.gene_id and not self._rows.has(name) and self._rows.has_index:
            index = self._rows.index()
            if like_ensembl(index):
                return index
        return self._strings(self._rows, "gene_id", name, also=f", or the index with {GENE_ID_ATTR.given('index')}")

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the names of the cells ``first <= cell < last``, by default of all."""
        name = self._names.cell_id
        if name is None or name == INDEX:
            return self._cells.index(first, last)
        return self._strings(self._cells, "cell_id", name, first, last)

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each of some cells over all rows."""
        return self._counts.cell_totals(first, last)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        return self._counts.entries(rows, first, last, taken)

    def cells_per_tile(self) -> int:
        """Return how many cells are read together."""
        return self._counts.cells_per_tile

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file."""
        return self._counts.stored_bytes(first, last)

    def file_attributes(self) -> list[str]:
        """Return the names in uns."""
        held = self._root.find("uns")
        return held.names("the list of contents of 'uns'") if isinstance(held, Group) else []

    def layers(self) -> list[str]:
        """Return the names of all layers."""
        return list(self._layers)

    def count_layers(self) -> list[str]:
        """Return the other layers that look like counts."""
        return [name for name in self._layers if name != self._layer.name and self._holds_counts(name)]

    def warnings(self) -> list[str]:
        """Return what was chosen without being asked for, and what was taken for 0."""
        return [*self._layer_warnings(), *self._root.assumptions()]

    def _layer_warnings(self) -> list[str]:
        """Name a layer other than X, or X where raw.X has more genes."""
        if self._wanted != AUTO_LAYER:
            return []
        name = self._layer.name
        if name != MAIN:
            if MAIN not in self._layers:
                return [f"there is no X, so {self.place} was read: {LAYER.given(name)} says so"]
            return [
                f"X holds no counts (its numbers are not whole, or below 0) and {self.place} does, so that was read: "
                f"{LAYER.given(name)} says so, {LAYER.given('X')} takes X"
            ]
        if RAW in self.count_layers():
            try:
                raw = self._layers[RAW].open()
            except InputError:  # only a damaged raw.X, which nobody asked for
                return []
            raw.close()
            if raw.shape[1] > self.shape[0]:
                return [
                    f"both X and raw.X hold counts, X of {counted(self.shape[0], 'gene')} and raw.X of "
                    f"{raw.shape[1]:,}; X was read: {LAYER.given('raw.X')} takes the other"
                ]
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        pairs = [
            ("format", self.format),
            ("matrix", f"{self.place}: {self.shape[0]:,} genes × {self.shape[1]:,} cells, {self._counts.text}"),
        ]
        for name, layer in self._layers.items():
            try:
                storage = layer.open()
                storage.close()
                holds = "looks like counts" if layer.holds_counts() else "does not hold counts"
                text = f"{holds}; {storage.shape[1]:,} genes, {storage.text}"
            except InputError as error:
                text = self._unreadable(error)
            pairs.append((LAYER.given(brief(name)), text))
        for frame in (self._rows, self._cells):
            try:
                index = ", ".join(map(brief, frame.index(0, 3).tolist())) or "empty"
            except InputError as error:
                index = self._unreadable(error)
            columns = ", ".join(map(brief, frame.columns)) or "none"
            pairs += [(f"{frame.name} index", index), (f"{frame.name} columns", columns)]
            if frame.unlisted:
                pairs.append((f"{frame.name}, not listed", ", ".join(map(brief, frame.unlisted))))
        return pairs

    def _read(self) -> None:
        """Find the layers, open the one that is wanted, and find both data frames."""
        self._check_contents()
        self._layers = find_layers(self.location, self._root)
        self._layer = choose_layer(self.location, self._layers, self._wanted)
        counts = self._layer.open()
        self._closing.callback(counts.close)
        self._counts: Storage = counts
        self._cells = self._frame(self._root, "obs", "cells", counts.shape[0])
        self._rows = self._find_rows(self._root, counts.shape[1])

    def _check_contents(self) -> None:
        held = self._root.names("its list of contents")
        if "obs" not in held or not {"var", "raw", "raw.var"} & set(held):
            has = listed(held, 8) or "nothing"
            message = f"{self.location}: this {self.container}: it must have 'obs', 'var' and 'X'; it has {has}"
            raise InputError(message)

    def _find_rows(self, root: Group, genes: int) -> Frame:
        return self._frame(root, "raw.var" if self._layer.name == RAW else "var", "genes", genes)

    def _frame(self, root: Group, name: str, axis: str, length: int) -> Frame:
        held = root.find(name.replace(".", "/"))
        if held is None:  # before version 0.7 anndata wrote raw.var at the root
            held = root.find(name)
        if not isinstance(held, (Group, Array)):
            there = listed(root.names("its list of contents"), 8)
            message = f"{self.location}: {name}, the data frame of its {axis}, is missing; it has {there}"
            raise InputError(message)
        return Frame(self.location, root, held, name, axis, length)

    def _holds_counts(self, layer: str) -> bool:
        """Say whether a layer that was not chosen looks like counts; one that cannot be read does not."""
        try:
            return self._layers[layer].holds_counts()
        except InputError:
            return False

    def _unreadable(self, error: InputError) -> str:
        return f"cannot be read: {error.without(self.location)}"
