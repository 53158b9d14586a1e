"""10x's HDF5 files as count matrices."""

import contextlib
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from median_spark.errors import InputError, counted, listed
from median_spark.matrices.anndata.sparse import ByCell, SparseLists, refuse
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Numbers, Texts, brief
from median_spark.matrices.hdf5.arrays import Vector
from median_spark.matrices.hdf5.files import naming_damage, open_hdf5, require_filters
from median_spark.matrices.hdf5.lists import Hdf5Table, read_list
from median_spark.matrices.hdf5.members import find_member
from median_spark.matrices.hdf5.sizes import require_lines
from median_spark.matrices.options import AUTO_LAYER, DEFAULT_NAMES, AttributeNames
from median_spark.matrices.tables import TabledMatrix, Values
from median_spark.matrices.tenx.contents import choose_group, find_contents, gene_lists, refuse_contents
from median_spark.options import LAYER

GENE_EXPRESSION = "Gene Expression"
"""Type of the features that are genes; others are antibodies, guides, peaks."""

_SHOWN = 4


class _Lists(Hdf5Table):
    """Lists beside a matrix, one entry per feature or cell, of which some may be chosen."""

    def __init__(self, location: str, group: h5py.Group, paths: Mapping[str, str], axis: str, length: int) -> None:
        self.location, self.noun, self.axis, self.length = location, "list", axis, length
        self._group = group
        self._paths = paths
        self.chosen: Flags | None = None

    @property
    def columns(self) -> list[str]:
        """Return the names of the lists, ascending."""
        return sorted(self._paths)

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the chosen entries ``first <= entry < last`` of a list, by default all."""
        held = find_member(self.location, self._group, self._paths[column])
        with naming_damage(self.location, self.place(column)):
            self._check(column, held)
            if self.chosen is None:
                return self._read(column, held, first, last), None
            return self._read(column, held)[self.chosen][first:last], None


class TenxMatrix(TabledMatrix):
    """One matrix of a 10x HDF5 file.

    The layers are ``"auto"`` and the names of genomes: of Cell Ranger 3 and later ``"auto"`` is all genes, of Cell
    Ranger 2 the only genome. InputError if it is missing, cut off, no HDF5, none of 10x's, or has no such genome.
    """

    cell_attribute = "list"
    _rows: _Lists
    _cells: _Lists

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self._names = names
        self._closing = contextlib.ExitStack()
        self._file, stream = open_hdf5(location)
        if stream is not None:
            self._closing.callback(stream.close)
        self._closing.callback(self._file.close)
        try:
            self._contents = find_contents(location, self._file)
            if not self._contents.any:
                raise refuse_contents(location, self._file)
            self._open(choose_group(location, self._contents, layer), layer)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row."""
        name = self._names.gene_id
        if name == DEFAULT_NAMES.gene_id and not self._rows.has(name):
            name = "id"
        return self._strings(self._rows, "gene_id", name)

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the barcodes of the cells ``first <= cell < last``, by default of all."""
        return self._strings(self._cells, "cell_id", self._names.cell_id or "barcode", first, last)

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each of some cells over all rows."""
        return self._counts.cell_totals(first, last, self._rows.chosen)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        return self._counts.entries(
            rows if self._feature_of_row is None else self._feature_of_row[rows], first, last, taken
        )

    def cells_per_tile(self) -> int:
        """Return 1: cells are read by themselves."""
        return self._counts.cells_per_tile

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, by the entries that they have."""
        return self._counts.stored_bytes(first, last)

    def count_layers(self) -> list[str]:
        """Return nothing: other genomes are not other counts of the same."""
        return []

    def warnings(self) -> list[str]:
        """Return which features are not rows, and which genomes share a matrix."""
        warnings = []
        if self._others:
            warnings.append(f"{counted(self._others, 'feature')} of other types than '{GENE_EXPRESSION}' were left out")
        if len(self._genomes) > 1 and self._genome is None:
            warnings.append(
                f"its genes are of {len(self._genomes)} genomes, {listed(self._genomes, _SHOWN)}, and totals are sums "
                f"over all of them: {LAYER.given(brief(self._genomes[0]))} takes one"
            )
        return warnings

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        writer = "Cell Ranger 3 or later" if self._contents.newer else "Cell Ranger 2"
        genomes = self._genomes if self._contents.newer else list(self._contents.genomes)
        return [
            ("format", f"10x HDF5 ({writer})"),
            ("matrix", f"{self.place}: {self.shape[0]:,} genes × {self.shape[1]:,} cells, {self._counts.text}"),
            *((("genomes", ", ".join(map(brief, genomes))),) if genomes else ()),
            *((("other features", f"{self._others:,}"),) if self._others else ()),
            ("gene lists", ", ".join(map(brief, self._rows.columns))),
            ("cell lists", ", ".join(map(brief, self._cells.columns))),
        ]

    def _open(self, name: str, layer: str) -> None:
        """Open the matrix of a group."""
        self.place = f"the matrix '{brief(name)}'"
        group = find_member(self.location, self._file, name)
        if not isinstance(group, h5py.Group):
            refuse(self.location, self.place, "must be a group")
        features, cells = self._find_shape(group)
        lists = SparseLists(
            self._vector(group, "data", "iuf"), self._vector(group, "indices", "iu"), self._find_indptr(group, cells)
        )
        self._counts = ByCell(self.location, self.place, (cells, features), lists)
        self._closing.callback(self._counts.close)
        self._cells = _Lists(self.location, group, {"barcode": "barcodes"}, "cells", cells)
        self._rows = _Lists(self.location, group, gene_lists(self.location, group), "features", features)
        self._others = 0
        self._genomes: list[str] = []
        self._genome: str | None = None
        self._feature_of_row: Ints | None = None
        rows = features
        if self._contents.newer:
            chosen = self._chosen(layer)
            rows = int(np.count_nonzero(chosen))
            if rows < features:
                self._rows.chosen = chosen
                self._feature_of_row = np.flatnonzero(chosen)
        self.shape = (rows, cells)

    def _chosen(self, layer: str) -> Flags:
        """Return which features are rows: genes, and of these those of the genome that is wanted."""
        types = self._rows.strings("feature_type") if self._rows.has("feature_type") else None
        chosen = np.ones(self._rows.length, dtype=np.bool_) if types is None else types == GENE_EXPRESSION
        self._others = len(chosen) - int(np.count_nonzero(chosen))
        if types is not None and len(types) and not chosen.any():
            found = listed(sorted(set(types.tolist())), _SHOWN)
            self._rows.refuse("feature_type", f"has no '{GENE_EXPRESSION}'; it has {found}")
        genomes = self._rows.strings("genome") if self._rows.has("genome") else np.array([], dtype=np.str_)
        if len(genomes):
            self._genomes = sorted(set(genomes[chosen].tolist()))
        if layer == AUTO_LAYER:
            return chosen
        if layer not in self._genomes:
            there = listed(self._genomes, 12) or "none"
            message = (
                f"{self.location}: there is no genome '{brief(layer)}' in this file; it has {there}: name one of them "
                f"with {LAYER}, or leave it out"
            )
            raise InputError(message, kind="no such layer")
        self._genome = layer
        return np.asarray(chosen & (genomes == layer))

    def _find_shape(self, group: h5py.Group) -> tuple[int, int]:
        """Return the numbers of features and of cells that the file declares."""
        shape = [int(extent) for extent in self._numbers_of(group, "shape", 2)]
        if min(shape) < 0:
            refuse(self.location, self.place, f"has the shape {shape[0]:,} × {shape[1]:,}")
        require_lines(self.location, self.place, group, (shape[0], shape[1]))
        return shape[0], shape[1]

    def _find_indptr(self, group: h5py.Group, cells: int) -> Ints:
        return self._numbers_of(group, "indptr", cells + 1).astype(np.int64, copy=False)

    def _numbers_of(self, group: h5py.Group, name: str, length: int) -> Numbers:
        """Read a list of whole numbers of a known length."""
        held = self._list(group, name, "iu")
        if len(held) != length:
            refuse(self.location, self.place, f"has {len(held):,} numbers in '{name}', where it must have {length:,}")
        with naming_damage(self.location, f"'{name}' of {self.place}"):
            return read_list(self.location, held, f"'{name}' of {self.place}")

    def _vector(self, group: h5py.Group, name: str, kinds: str) -> Vector:
        return Vector(self.location, self._list(group, name, kinds))

    def _list(self, group: h5py.Group, name: str, kinds: str) -> Any:
        held = find_member(self.location, group, name)
        kind, sound = "it has none", False
        with naming_damage(self.location, f"'{name}' of {self.place}"):
            if isinstance(held, h5py.Dataset):
                kind = f"it is {brief(held.dtype)} with {held.ndim} dimensions"
                sound = held.ndim == 1 and held.dtype.kind in kinds
        if not sound:
            wanted = "numbers" if "f" in kinds else "whole numbers"
            refuse(self.location, self.place, f"must have a list of {wanted} '{name}'; {kind}")
        require_filters(self.location, held)
        return held
