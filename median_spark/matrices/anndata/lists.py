"""Finding the three lists of a sparse matrix in an AnnData file."""

import h5py
import numpy as np

from median_spark.matrices.anndata.sparse import SparseLists, refuse
from median_spark.matrices.contract import Ints, brief
from median_spark.matrices.hdf5.arrays import Vector
from median_spark.matrices.hdf5.files import naming_damage, require_filters
from median_spark.matrices.hdf5.lists import read_list
from median_spark.matrices.hdf5.members import find_member, small_attribute
from median_spark.matrices.hdf5.sizes import require_lines


def find_lists(location: str, group: h5py.Group, place: str) -> tuple[tuple[int, int], SparseLists]:
    """Return the shape of a sparse matrix, cells and genes, and its lists; InputError if something is missing."""
    shape = _find_shape(location, group, place)
    data, indices = (_find(location, group, place, name) for name in ("data", "indices"))
    return shape, SparseLists(data, indices, _find_indptr(location, group, place, max(shape)))


def _find_shape(location: str, group: h5py.Group, place: str) -> tuple[int, int]:
    attribute = small_attribute(location, group, "shape")
    if attribute is None:
        attribute = small_attribute(location, group, "h5sparse_shape")
    with naming_damage(location, f"the shape of {place}"):
        shape = tuple(np.asarray(attribute).ravel().tolist()) if attribute is not None else ()
    if len(shape) != 2 or not all(isinstance(extent, int) and extent >= 0 for extent in shape):
        stated = brief(attribute)
        refuse(location, place, f"must have an attribute 'shape' of two whole numbers, cells and genes; it is {stated}")
    require_lines(location, place, group, shape)
    return shape[0], shape[1]


def _find(location: str, group: h5py.Group, place: str, name: str) -> Vector:
    held = find_member(location, group, name)
    kinds, wanted = ("iu", "whole numbers") if name == "indices" else ("iufb", "numbers")
    kind, sound = "it has none", False
    with naming_damage(location, f"'{name}' of {place}"):
        if isinstance(held, h5py.Dataset):
            kind, sound = (
                f"it is {brief(held.dtype)} with {held.ndim} dimensions",
                held.ndim == 1 and held.dtype.kind in kinds,
            )
    if not sound:
        refuse(location, place, f"must have a list of {wanted} '{name}'; {kind}")
    return Vector(location, held)


def _find_indptr(location: str, group: h5py.Group, place: str, most_lines: int) -> Ints:
    """Read indptr, unless it is longer than either kind of matrix asks for."""
    held = find_member(location, group, "indptr")
    with naming_damage(location, f"'indptr' of {place}"):
        if not isinstance(held, h5py.Dataset) or held.ndim != 1 or held.dtype.kind not in "iu" or not len(held):
            refuse(location, place, "must have a list of whole numbers 'indptr'")
        require_filters(location, held)
        if len(held) > most_lines + 1:
            refuse(
                location,
                place,
                f"has an indptr of {len(held):,} numbers, where its shape asks for at most {most_lines + 1:,}",
            )
        return read_list(location, held, f"'indptr' of {place}").astype(np.int64, copy=False)
