"""The matrices that an AnnData file has, X, raw.X and its layers, and which of them holds counts."""

from dataclasses import dataclass
from functools import cached_property

import h5py

from median_spark.errors import InputError, listed
from median_spark.matrices.anndata.dense import Dense
from median_spark.matrices.anndata.lists import find_lists
from median_spark.matrices.anndata.sparse import ByCell, ByGene
from median_spark.matrices.contract import brief
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.members import find_member, text_attribute
from median_spark.matrices.hdf5.sizes import require_lines
from median_spark.matrices.integer_counts import dataset_holds_counts
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


Storage = Dense | ByCell | ByGene
"""Counts in one encoding, cells × genes; `text` names the encoding for people, the rest is `CountMatrix`'s."""


@dataclass(frozen=True)
class Layer:
    """One matrix of a file, at `path` in it; its name is ``"X"``, ``"raw.X"``, or that of a layer."""

    location: str
    name: str
    file: h5py.File
    path: str

    @cached_property
    def held(self) -> h5py.Group | h5py.Dataset | None:
        """The matrix, None if there is none; InputError if it is not in the file, so it is found only when needed."""
        member = find_member(self.location, self.file, self.path)
        # anndata writes an X that is None as a dataset without extent.
        there = isinstance(member, h5py.Group) or (isinstance(member, h5py.Dataset) and member.shape is not None)
        return member if there else None

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
        if isinstance(self.held, h5py.Dataset):
            with naming_damage(self.location, f"the type of {self.place}"):
                sound = self.held.ndim == 2 and self.held.dtype.kind in "iufb"
            if not sound:
                message = (
                    f"{self.location}: {self.place} must be numeric with 2 dimensions, cells and genes; it is "
                    f"{brief(self.held.dtype)} with {self.held.ndim}"
                )
                raise InputError(message)
            require_lines(self.location, self.path, self.held, self.held.shape)
            return Dense(self.location, self.held, self.place)
        kind = None
        if self.held is not None:
            kind = text_attribute(self.location, self.held, "encoding-type")
            kind = kind or text_attribute(self.location, self.held, "h5sparse_format")
        if kind not in _SPARSE:
            stated = f"'{brief(kind)}'" if kind is not None else "missing"
            message = (
                f"{self.location}: {self.place} is a group whose attribute 'encoding-type' is {stated}; it must be "
                "csr_matrix or csc_matrix, or X must be a dense dataset"
            )
            raise InputError(message)
        return _SPARSE[kind](self.location, self.place, *find_lists(self.location, self.held, self.place))

    def holds_counts(self) -> bool:
        """Say whether some of its numbers could be counts; InputError if these cannot be read."""
        held = self.held
        numbers = find_member(self.location, held, "data") if isinstance(held, h5py.Group) else held
        if not isinstance(numbers, h5py.Dataset) or numbers.ndim not in (1, 2):
            return False
        return dataset_holds_counts(self.location, numbers)


def find_layers(location: str, file: h5py.File) -> dict[str, Layer]:
    """Return the matrices of a file by name, X first, then raw.X, then the layers ascending."""
    group = find_member(location, file, "layers")
    with naming_damage(location, "its list of matrices"):
        others = {name: f"layers/{name}" for name in sorted(group)} if isinstance(group, h5py.Group) else {}
    # Before version 0.7 anndata wrote raw.X at the root.
    raw = Layer(location, RAW, file, "raw/X")
    paths = others | {MAIN: "X", RAW: raw.path if raw.exists else "raw.X"}
    layers = [Layer(location, name, file, paths[name]) for name in (MAIN, RAW, *others)]
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
