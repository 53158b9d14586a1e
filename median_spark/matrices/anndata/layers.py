"""The matrices that an AnnData file has, X, raw.X and its layers, and which of them holds counts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from median_spark.errors import InputError, listed
from median_spark.matrices.anndata.dense import Dense
from median_spark.matrices.anndata.lists import find_lists
from median_spark.matrices.anndata.nodes import Array, Group
from median_spark.matrices.anndata.sparse import ByCell, ByGene
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, brief
from median_spark.matrices.options import AUTO_LAYER
from median_spark.options import LAYER

MAIN, RAW, COUNTS = "X", "raw.X", "counts"

_SPARSE: dict[str, type[ByCell] | type[ByGene]] = {
    "csr_matrix": ByCell,
    "csr": ByCell,
    "csc_matrix": ByGene,
    "csc": ByGene,
}
"""Kinds of sparse matrices by attribute 'encoding-type', and by 'h5sparse_format' of old files."""


class Storage(Protocol):
    """Counts in one encoding, cells × genes; `text` names the encoding for people, the rest is `CountMatrix`'s."""

    shape: tuple[int, int]
    cells_per_tile: int
    text: str

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows."""

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file."""

    def close(self) -> None:
        """Close what reading has opened."""


@dataclass(frozen=True)
class Layer:
    """One matrix of a file, at `path` in it; its name is ``"X"``, ``"raw.X"``, or that of a layer."""

    location: str
    name: str
    root: Group
    path: str

    @cached_property
    def held(self) -> Group | Array | None:
        """The matrix, None if there is none; InputError if it is not in the file, so it is found only when needed."""
        member = self.root.find(self.path)
        if isinstance(member, Array):
            # anndata writes an X that is None as an array without extent.
            return member if member.form(f"the type of {self.place}").shape is not None else None
        return member if isinstance(member, Group) else None

    @property
    def exists(self) -> bool:
        """Whether there is something of this name, readable or not."""
        try:
            return self.held is not None
        except InputError:  # reading it raises the reason
            return True

    @property
    def place(self) -> str:
        """What it is called in messages."""
        return self.name if self.name in {MAIN, RAW} else f"layer '{brief(self.name)}'"

    def open(self) -> Storage:
        """Open it for reading; InputError if it is of no known kind, or damaged."""
        if isinstance(self.held, Array):
            form = self.held.form(f"the type of {self.place}")
            if form.shape is None or form.ndim != 2 or form.dtype.kind not in "iufb":
                message = (
                    f"{self.location}: {self.place} must be numeric with 2 dimensions, cells and genes; it is "
                    f"{brief(form.dtype)} with {form.ndim}"
                )
                raise InputError(message)
            self.held.require_lines(self.path, form.shape)
            return Dense(self.held.grid(self.place))
        kind = None
        if self.held is not None:
            kind = self.held.word("encoding-type") or self.held.word("h5sparse_format")
        if self.held is None or kind not in _SPARSE:
            stated = f"'{brief(kind)}'" if kind is not None else "missing"
            message = (
                f"{self.location}: {self.place} is a group whose attribute 'encoding-type' is {stated}; it must be "
                "csr_matrix or csc_matrix, or X must be a dense dataset"
            )
            raise InputError(message)
        return _SPARSE[kind](self.location, self.place, *find_lists(self.location, self.held, self.place))

    def holds_counts(self) -> bool:
        """Say whether some of its numbers could be counts; InputError if these cannot be read."""
        numbers = self.held.find("data") if isinstance(self.held, Group) else self.held
        if not isinstance(numbers, Array) or numbers.form(f"the type of {self.place}").ndim not in (1, 2):
            return False
        return numbers.holds_counts()


def find_layers(location: str, root: Group) -> dict[str, Layer]:
    """Return the matrices of a file by name, X first, then raw.X, then the layers ascending."""
    group = root.find("layers")
    names = group.names("its list of matrices") if isinstance(group, Group) else []
    others = {name: f"layers/{name}" for name in names}
    # Before version 0.7 anndata wrote raw.X at the root.
    raw = Layer(location, RAW, root, "raw/X")
    paths = others | {MAIN: "X", RAW: raw.path if raw.exists else "raw.X"}
    layers = [Layer(location, name, root, paths[name]) for name in (MAIN, RAW, *others)]
    return {layer.name: layer for layer in layers if layer.exists}


def choose_layer(location: str, layers: dict[str, Layer], wanted: str) -> Layer:
    """Return the layer that is wanted; `auto` is X, unless only raw.X or only a layer 'counts' holds counts.

    InputError if there is none of that name, or none at all.
    """
    if wanted == AUTO_LAYER:
        candidates = [layers[name] for name in (MAIN, RAW, COUNTS) if name in layers]
        if candidates:
            return next((layer for layer in candidates if layer.holds_counts()), candidates[0])
    elif wanted in layers:
        return layers[wanted]
    name = "X" if wanted == AUTO_LAYER else f"layer '{wanted}'"
    there = listed(list(layers), 12) or "none"
    message = f"{location}: there is no {name} in this file; it has {there}: name it with {LAYER}"
    raise InputError(message, kind="no such layer")
