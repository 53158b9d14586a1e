"""Finding the three lists of a sparse matrix in an AnnData file."""

import numpy as np

from median_spark.errors import InputError
from median_spark.matrices.anndata.nodes import Array, Group, Unstored
from median_spark.matrices.anndata.sparse import NumberList, SparseLists, refuse
from median_spark.matrices.contract import Ints, brief


def find_lists(location: str, group: Group, place: str) -> tuple[tuple[int, int], SparseLists]:
    """Return the shape of a sparse matrix, cells and genes, and its lists; InputError if something is missing."""
    shape = _find_shape(location, group, place)
    kind = str(group.word("encoding-type") or group.word("h5sparse_format"))
    width = shape[1] if kind.startswith("csr") else shape[0]
    data = _find(location, group, place, "data", Unstored.DAMAGE)
    indices = _find(location, group, place, "indices", Unstored.CERTAIN if width == 1 else Unstored.DAMAGE)
    entries = max(len(data), len(indices))
    return shape, SparseLists(data, indices, _find_indptr(location, group, place, max(shape), entries))


def _find_shape(location: str, group: Group, place: str) -> tuple[int, int]:
    attribute = group.attribute("shape")
    if attribute is None:
        attribute = group.attribute("h5sparse_shape")
    try:
        shape = tuple(np.asarray(attribute).ravel().tolist()) if attribute is not None else ()
    except (TypeError, ValueError) as error:
        message = f"{location}: the shape of {place} cannot be read; the file is damaged ({error})"
        raise InputError(message) from error
    if len(shape) != 2 or not all(isinstance(extent, int) and extent >= 0 for extent in shape):
        stated = brief(attribute)
        refuse(location, place, f"must have an attribute 'shape' of two whole numbers, cells and genes; it is {stated}")
    group.require_lines(place, shape)
    return shape[0], shape[1]


def _find(location: str, group: Group, place: str, name: str, unstored: Unstored) -> NumberList:
    held = group.find(name)
    kinds, wanted = ("iu", "whole numbers") if name == "indices" else ("iufb", "numbers")
    kind = "it has none"
    if isinstance(held, Array):
        form = held.form(f"'{name}' of {place}")
        if form.ndim == 1 and form.dtype.kind in kinds:
            return held.number_list(f"'{name}' of {place}", unstored)
        kind = f"it is {brief(form.dtype)} with {form.ndim} dimensions"
    return refuse(location, place, f"must have a list of {wanted} '{name}'; {kind}")


def _find_indptr(location: str, group: Group, place: str, most_lines: int, entries: int) -> Ints:
    """Read indptr, unless it is longer than either kind of matrix asks for."""
    held = group.find("indptr")
    what = f"'indptr' of {place}"
    form = held.form(what) if isinstance(held, Array) else None
    if not isinstance(held, Array) or form is None or form.shape is None or len(form.shape) != 1:
        refuse(location, place, "must have a list of whole numbers 'indptr'")
    if form.dtype.kind not in "iu" or not form.shape[0]:
        refuse(location, place, "must have a list of whole numbers 'indptr'")
    if form.shape[0] > most_lines + 1:
        refuse(
            location,
            place,
            f"has an indptr of {form.shape[0]:,} numbers, where its shape asks for at most {most_lines + 1:,}",
        )
    return held.values(what, unstored=Unstored.DAMAGE if entries else Unstored.CERTAIN).astype(np.int64, copy=False)
