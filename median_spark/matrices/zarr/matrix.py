"""AnnData stores in zarr: folders, local or not, with a file for each chunk or shard.

Knows nothing of zarr itself, so that it can be imported where the extra is not installed.
"""

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from median_spark.errors import InputError, listed
from median_spark.matrices.anndata.matrix import AnnDataMatrix
from median_spark.matrices.anndata.nodes import Group
from median_spark.matrices.contract import CountMatrix, brief
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.zarr.collection import PREFIX, Collection

if TYPE_CHECKING:
    from median_spark.matrices.zarr.nodes import ZarrGroup

_ANNDATA, _COLLECTION = "anndata", "annbatch-preshuffled"
"""Values of attribute 'encoding-type' of a store's root: one AnnData, or annbatch's collection of several."""

_SEARCHED_DEPTH = 2
"""Depth at which AnnData groups are looked for in other stores, to name them."""


class ZarrMatrix(AnnDataMatrix):
    """One AnnData group of a zarr store; InputError if it is none, or has no such layer."""

    format = "zarr (AnnData)"
    container = "zarr store is no AnnData"

    def __init__(self, location: str, root: Group, names: AttributeNames, layer: str) -> None:
        super().__init__(location, root, names, layer, contextlib.ExitStack())


def open_zarr(location: str, names: AttributeNames, layer: str) -> CountMatrix:
    """Open a zarr store with an AnnData, or with annbatch's collection of several, which are read as one.

    InputError if the folder is missing or is no such store, or zarr is not installed.
    """
    root = _open_root(location)
    kind = root.word("encoding-type")
    held = root.names("its list of contents")
    if kind == _COLLECTION:
        return Collection(location, root, names, layer, ZarrMatrix)
    # Before version 0.8 anndata did not say what a store is.
    if kind == _ANNDATA or (kind is None and {"obs", "var"} <= set(held)):
        return ZarrMatrix(location, root, names, layer)
    within = _anndata_groups(root, _SEARCHED_DEPTH)
    if within:
        message = (
            f"{location}: this zarr store is no AnnData, but has {listed(within, 4)} in it: name one of these as the "
            f"input, {location.rstrip('/')}/{within[0]}"
        )
        raise InputError(message)
    stated = f"'{brief(kind)}'" if kind is not None else "missing"
    message = (
        f"{location}: this zarr store is no AnnData: attribute 'encoding-type' of its root is {stated}, and must be "
        f"'{_ANNDATA}', or '{_COLLECTION}' with groups {PREFIX}0, {PREFIX}1 …; it has {listed(held, 8) or 'nothing'}"
    )
    raise InputError(message)


def _open_root(location: str) -> "ZarrGroup":
    if find_spec("zarr") is None or find_spec("zarr.core.buffer") is None:  # zarr 2 lacks the second
        message = (
            f"{location}: reading zarr stores needs version 3 of the package zarr: pip install 'median_spark[zarr]'"
        )
        raise InputError(message)
    # Imported here, for they import zarr.
    from median_spark.matrices.zarr.nodes import open_root
    from median_spark.matrices.zarr.store import ListedStore

    return open_root(ListedStore(location))


def _anndata_groups(group: Group, depth: int, above: str = "") -> list[str]:
    """Return the paths of AnnData groups in a group."""
    found = []
    for name in group.names("its list of contents")[:100] if depth else []:
        held = group.find(name)
        if isinstance(held, Group):
            is_anndata = held.word("encoding-type") == _ANNDATA
            found += [above + name] if is_anndata else _anndata_groups(held, depth - 1, f"{above}{name}/")
    return found
