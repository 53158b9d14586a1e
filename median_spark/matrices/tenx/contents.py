"""Which groups of a 10x HDF5 file are matrices, and where in them the lists of genes and cells are.

Cell Ranger 3 and later write one matrix, of the features of all libraries. Cell Ranger 2 writes a group per genome,
each with genes and barcodes of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import h5py

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import brief
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.members import find_member
from median_spark.matrices.options import AUTO_LAYER
from median_spark.options import LAYER

FEATURES = "features"
"""Group of the lists of features, in Cell Ranger 3 and later."""

_LISTS = ("data", "indices", "indptr", "shape", "barcodes")
_OLD = {"id": "genes", "name": "gene_names"}

_MOLECULES = {"barcode_idx", "umi"}
"""Members of a molecule_info.h5."""


@dataclass(frozen=True)
class Contents:
    """The matrices of a file, genomes of Cell Ranger 2, by group; and whether there is one of Cell Ranger 3."""

    genomes: tuple[str, ...]
    newer: bool

    @property
    def any(self) -> bool:
        """Whether there is a matrix."""
        return self.newer or bool(self.genomes)


def find_contents(location: str, file: h5py.File) -> Contents:
    """Return what matrices a file has."""
    with naming_damage(location, "its list of contents"):
        names = sorted(file)
    newer, genomes = False, []
    for name in names:
        # A link into another file is not followed here; whatever is read is found by find_member.
        if not isinstance(file.get(name, getlink=True), (h5py.HardLink, h5py.SoftLink)):
            continue
        group = find_member(location, file, name)
        if not isinstance(group, h5py.Group):
            continue
        with naming_damage(location, f"the group '{brief(name)}'"):
            held = set(group)
        if held.issuperset(_LISTS):
            if FEATURES in held:
                newer = newer or name == "matrix"
            elif held.issuperset(_OLD.values()):
                genomes.append(name)
    return Contents(tuple(genomes), newer)


def choose_group(location: str, contents: Contents, layer: str) -> str:
    """Return the group that holds the matrix that is wanted; InputError if there is no such, or several."""
    if contents.newer:
        return "matrix"
    if layer in contents.genomes:
        return layer
    if layer == AUTO_LAYER and len(contents.genomes) == 1:
        return contents.genomes[0]
    there = listed(list(contents.genomes), 12)
    problem = (
        f"this file has {len(contents.genomes)} genomes with a matrix each, {there}"
        if layer == AUTO_LAYER
        else f"there is no genome '{brief(layer)}' in this file; it has {there}"
    )
    message = f"{location}: {problem}: name one with {LAYER}"
    raise InputError(message, kind="no such layer")


def gene_lists(location: str, group: h5py.Group) -> Mapping[str, str]:
    """Return the paths of the lists of features by the names of the newer format: id, name, feature_type, genome."""
    features = find_member(location, group, FEATURES)
    if not isinstance(features, h5py.Group):
        return _OLD
    with naming_damage(location, f"the group '{FEATURES}'"):
        return {name: f"{FEATURES}/{name}" for name in sorted(features) if not name.startswith("_")}


def refuse_contents(location: str, file: h5py.File) -> InputError:
    """Return the error for an HDF5 file that is no matrix of 10x's, loom or h5ad."""
    with naming_damage(location, "its list of contents"):
        held = sorted(file)
    if _MOLECULES.issubset(held):
        text = (
            "this is a molecule_info.h5, which lists molecules and not counts: take filtered_feature_bc_matrix.h5 of "
            "the same run"
        )
    else:
        has = listed(held, 8) or "nothing"
        text = (
            "this HDF5 file is none of 10x's matrices: it must have a group 'matrix' (Cell Ranger 3 and later) or one "
            f"per genome (2) with {', '.join(_LISTS)}, or be a loom or h5ad; it has {has}"
        )
    return InputError(f"{location}: {text}")
