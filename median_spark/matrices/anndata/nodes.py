"""What an AnnData file is made of, whatever keeps it: groups and arrays, by HDF5 or zarr.

The readers of this folder know only these classes, so that a file means the same in either.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np

from median_spark.matrices.anndata.sparse import NumberList
from median_spark.matrices.contract import Flags, Ints, Numbers
from median_spark.matrices.hdf5.row_blocks import RowBlock


class Unstored(Enum):
    """How to take entries that a file does not store, where its format allows that: they stand for a fill value."""

    DAMAGE = auto()
    """No writer leaves them out."""
    LIKELY = auto()
    """Writers leave them out if all are 0, but they may have been lost: a warning says so."""
    CERTAIN = auto()
    """They can be nothing but 0."""


@dataclass(frozen=True)
class ArrayForm:
    """Type and extents of an array; `shape` is None if it has none, as anndata writes what is missing."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None

    @property
    def ndim(self) -> int:
        """The number of its dimensions."""
        return len(self.shape or ())


class Grid(Protocol):
    """An array of numbers in two dimensions, read as blocks of rows."""

    shape: tuple[int, int]
    tile: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def text(self) -> str:
        """How it is stored, for people."""

    def row_blocks(self, rows: Ints, first: int, last: int, taken: Flags | None = None) -> Iterator[RowBlock]:
        """Read the rows of tiles that hold some ascending rows, for the columns ``first <= column < last``."""

    def stored_bytes(self, axis: int, first: int, last: int) -> int:
        """Return the bytes of rows (axis 0) or columns (axis 1), with the tiles that they reach into."""


class Node(ABC):
    """A group, an array, or something else in the file; whatever cannot be read is an InputError.

    `noun` is what its format calls it, `path` leads to it from the root, without a slash before it.
    """

    noun: str
    path: str

    @abstractmethod
    def word(self, name: str) -> str | None:
        """Return an attribute that is a word, None if there is none."""

    @abstractmethod
    def attribute(self, name: str) -> Any:
        """Return an attribute that is a word or a few numbers, None if there is none."""

    @abstractmethod
    def require_lines(self, name: str, lines: tuple[int, ...]) -> None:
        """Reject more cells or genes than the bytes of the file allow."""


class Group(Node):
    """A group of nodes."""

    @abstractmethod
    def names(self, what: str) -> list[str]:
        """Return the names of what it holds, ascending; `what` is what messages call these names."""

    @abstractmethod
    def listed(self, attribute: str) -> list[str] | None:
        """Return the names that an attribute lists, None if there is no such attribute."""

    @abstractmethod
    def find(self, path: str) -> Node | None:
        """Return a node by its path from this group, None if there is none."""

    @abstractmethod
    def assumptions(self) -> list[str]:
        """Return what was taken for 0 so far because the file does not store it, a sentence each."""


class Array(Node):
    """An array of numbers or strings."""

    @abstractmethod
    def form(self, what: str) -> ArrayForm:
        """Return type and extents; `what` is what messages call these."""

    @abstractmethod
    def values(
        self,
        what: str,
        first: int = 0,
        last: int | None = None,
        *,
        field: str | None = None,
        unstored: Unstored = Unstored.DAMAGE,
    ) -> Numbers:
        """Return some entries of a list of strings, numbers or truth values; of records one `field`.

        `what` is what messages call it. Strings that are not stored are damage in any case.
        """

    @abstractmethod
    def require_strings(self, what: str, number: int, longest: int) -> None:
        """Reject strings that would take more memory than the file can ask for."""

    @abstractmethod
    def require_stored_strings(self, what: str) -> None:
        """Reject strings of which the file does not store some; nothing happens if it holds something else."""

    @abstractmethod
    def referred(self, attribute: str) -> Node | None:
        """Return what an attribute refers to, None in formats without references."""

    @abstractmethod
    def number_list(self, what: str, unstored: Unstored = Unstored.DAMAGE) -> NumberList:
        """Return this list of numbers for reading by range; `what` is what messages call it."""

    @abstractmethod
    def grid(self, place: str) -> Grid:
        """Return this matrix of cells by genes for reading by blocks; `place` is what messages call it."""

    @abstractmethod
    def holds_counts(self) -> bool:
        """Say whether some of its numbers could be counts; it has one or two dimensions."""
