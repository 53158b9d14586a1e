"""Groups and datasets of an HDF5 file as nodes of an AnnData file."""

from functools import cached_property
from typing import Any

import h5py

from median_spark.matrices.anndata.nodes import Array, ArrayForm, Group, Node, Unstored
from median_spark.matrices.contract import Numbers
from median_spark.matrices.hdf5.arrays import AxisLabels, Grid, Vector
from median_spark.matrices.hdf5.files import naming_damage, require_filters
from median_spark.matrices.hdf5.lists import read_list
from median_spark.matrices.hdf5.members import (
    check_dataset,
    find_member,
    names_attribute,
    small_attribute,
    text_attribute,
)
from median_spark.matrices.hdf5.sizes import require_lines, require_strings
from median_spark.matrices.integer_counts import dataset_holds_counts


class Hdf5Node(Node):
    """An object of an HDF5 file."""

    noun = "datatype"

    def __init__(self, location: str, held: Any) -> None:
        self._location = location
        self._held = held

    @cached_property
    def path(self) -> str:  # type: ignore[override]
        """Its path from the root, without a slash before it."""
        return (self._held.name or "").lstrip("/")

    def word(self, name: str) -> str | None:
        """Return an attribute that is a word, None if there is none."""
        return text_attribute(self._location, self._held, name)

    def attribute(self, name: str) -> Any:
        """Return an attribute that is a word or a few numbers, None if there is none."""
        return small_attribute(self._location, self._held, name)

    def require_lines(self, name: str, lines: tuple[int, ...]) -> None:
        """Reject more cells or genes than the file has bytes."""
        require_lines(self._location, name, self._held, lines)


class Hdf5Group(Hdf5Node, Group):
    """A group of an HDF5 file."""

    noun = "group"

    def names(self, what: str) -> list[str]:
        """Return the names of what it holds, ascending."""
        with naming_damage(self._location, what):
            return sorted(set(self._held))  # unlike `name in group`, a set of the names follows no link

    def listed(self, attribute: str) -> list[str] | None:
        """Return the names that an attribute lists, None if there is no such attribute."""
        return names_attribute(self._location, self._held, attribute)

    def find(self, path: str) -> Node | None:
        """Return a node by its path from this group, None if there is none."""
        member = find_member(self._location, self._held, path)
        return None if member is None else _node(self._location, member)

    def assumptions(self) -> list[str]:
        """Return nothing: what an HDF5 file does not store is damage, or a tile of 0."""
        return []


class Hdf5Array(Hdf5Node, Array):
    """A dataset of an HDF5 file."""

    noun = "dataset"

    def form(self, what: str) -> ArrayForm:
        """Return type and extents."""
        with naming_damage(self._location, what):
            return ArrayForm(self._held.dtype, self._held.shape)

    def values(
        self,
        what: str,
        first: int = 0,
        last: int | None = None,
        *,
        field: str | None = None,
        unstored: Unstored = Unstored.DAMAGE,
    ) -> Numbers:
        """Return some entries of a list of strings, numbers or truth values; of records one `field`."""
        with naming_damage(self._location, what):
            require_filters(self._location, self._held)
            return read_list(self._location, self._held, what, first, last, field=field)

    def require_strings(self, what: str, number: int, longest: int) -> None:
        """Reject strings that would take more memory than the file can ask for."""
        require_strings(self._location, what, self._held, number, longest)

    def require_stored_strings(self, what: str) -> None:
        """Do nothing: a list of which something is not stored is rejected wherever it is read."""

    def referred(self, attribute: str) -> Node | None:
        """Return what an attribute refers to."""
        with naming_damage(self._location, f"what attribute '{attribute}' of '{self.path}' refers to"):
            held = self._held.file[self._held.attrs[attribute]]
        if isinstance(held, h5py.Dataset):
            check_dataset(self._location, held)
        return _node(self._location, held)

    def number_list(self, what: str, unstored: Unstored = Unstored.DAMAGE) -> Vector:
        """Return this list of numbers for reading by range."""
        return Vector(self._location, self._held)

    def grid(self, place: str) -> Grid:
        """Return this matrix of cells by genes for reading by blocks."""
        return Grid(self._location, self._held, AxisLabels(place, "cells", "genes"))

    def holds_counts(self) -> bool:
        """Say whether some of its numbers could be counts."""
        return dataset_holds_counts(self._location, self._held)


def _node(location: str, held: Any) -> Node:
    kinds: dict[type, type[Hdf5Node]] = {h5py.Group: Hdf5Group, h5py.Dataset: Hdf5Array}
    return next((kind for of, kind in kinds.items() if isinstance(held, of)), Hdf5Node)(location, held)
