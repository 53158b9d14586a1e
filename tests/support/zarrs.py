"""Writing AnnData stores in zarr for tests: what `h5ads` writes, copied node by node, with whatever is to be wrong."""

import json
import re
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import zarr
from h5ads import write_h5ad

VERSIONS = ("2", "3", "3 sharded")


def write_zarr(path, counts, kind="csr", version="3", chunk=None, **changes):
    """Write a store of counts, genes by cells; `changes` are those of `write_h5ad`.

    `chunk` is the number of entries, or of cells, in a chunk; a shard has three of these. `how` goes to zarr's
    `create_array`.
    """
    how = changes.pop("how", {})
    h5ad = Path(path).with_suffix(".copied")
    write_h5ad(h5ad, counts, kind, storage={}, **changes)
    copy_h5ad(h5ad, path, version, chunk, **how)
    h5ad.unlink()
    return str(path)


def copy_h5ad(h5ad, path, version="3", chunk=None, **how):
    """Copy all of an h5ad into a new store."""
    shutil.rmtree(path, ignore_errors=True)
    with h5py.File(h5ad) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types of strings are not in zarr's specification yet
        root = zarr.open_group(str(path), mode="w", zarr_format=int(version[0]))
        root.attrs.update(_attributes(file))
        file.visititems(lambda name, held: _copy(root, name, held, version, chunk, how))
    return str(path)


def _copy(root, name, held, version, chunk, how):
    if isinstance(held, h5py.Group):
        root.create_group(name).attrs.update(_attributes(held))
        return
    text = h5py.check_string_dtype(held.dtype) is not None
    values = np.asarray(held.asstr()[()] if text else held[()])
    sizes = {}
    if chunk and values.ndim and values.size:
        tile = (min(chunk, len(values)), *(min(16, extent) for extent in values.shape[1:]))
        sizes = {"chunks": tile, "shards": (tile[0] * 3, *tile[1:])} if "sharded" in version else {"chunks": tile}
    elif "sharded" in version and values.ndim == 1 and values.size:
        sizes = {"chunks": (-(-len(values) // 4),), "shards": (-(-len(values) // 4) * 4,)}
    array = root.create_array(name, shape=values.shape, dtype=str if text else values.dtype, **sizes, **how)
    if values.size:
        array[...] = values
    array.attrs.update(_attributes(held))


def _attributes(held):
    """Return the attributes of a node as JSON has them."""
    return {name: _plain(held, value) for name, value in held.attrs.items()}


def _plain(held, value):
    if isinstance(value, h5py.Reference):  # to categories, as anndata 0.7 wrote it; a path in zarr
        return held.file[value].name.lstrip("/")
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def metadata(path, node):
    """Return where the metadata of an array are, and what they say."""
    place = next(p for p in (Path(path) / node / "zarr.json", Path(path) / node / ".zarray") if p.exists())
    return place, json.loads(place.read_text())


def change(path, node, **fields):
    """Change fields of the metadata of an array."""
    place, held = metadata(path, node)
    place.write_text(json.dumps(held | fields))


def chunk_files(path, node):
    """Return the files of an array's chunks, ascending."""
    files = [file for file in (Path(path) / node).rglob("*")
             if file.is_file() and file.name not in ("zarr.json", ".zarray", ".zattrs")]  # fmt: skip
    return sorted(files, key=lambda file: [int(number) for number in re.findall(r"\d+", str(file.relative_to(path)))])
