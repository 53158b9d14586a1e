"""Writing h5ad files for tests, by h5py alone, with whatever is to be wrong about them."""

from pathlib import Path

import h5py
import numpy as np
import scipy.sparse

GZIP = {"compression": "gzip"}
KINDS = ("csr", "csc", "dense")


def write_h5ad(path, counts, kind="csr", **changes):
    """Write an h5ad of counts, genes by cells as in `looms`; `changes` replace or, if None, leave out columns.

    var columns: ensembl_id, gene_type, and any named ``var_…``. obs columns: n_counts, filter_pass, and any named
    ``obs_…``. Indexes: `var_names` and `obs_names`. `storage` goes to h5py's create_dataset, `index_type` is that of
    sparse indices, `raw` and `layers` are other matrices, genes by cells, `raw_var` the columns of raw.var.
    """
    counts = np.asarray(counts)
    genes, cells = counts.shape
    storage = changes.pop("storage", GZIP)
    index_type = changes.pop("index_type", np.int32)
    raw, raw_var, layers = changes.pop("raw", None), changes.pop("raw_var", None), changes.pop("layers", {})
    names = {"var": changes.pop("var_names", [f"symbol{number}" for number in range(genes)]),
             "obs": changes.pop("obs_names", [f"cell{number}" for number in range(cells)])}  # fmt: skip
    var = {
        "ensembl_id": [f"ENSG{number:011d}" for number in range(genes)],
        "gene_type": ["protein_coding"] * genes,
    }
    with np.errstate(invalid="ignore", over="ignore"):
        totals = counts.sum(axis=0).astype(np.float64)
    obs = {"n_counts": totals, "filter_pass": np.ones(cells, dtype=np.int64)}
    for name, content in changes.items():
        if name in var:
            var[name] = content
        elif name.startswith("var_"):
            var[name.removeprefix("var_")] = content
        else:
            obs[name.removeprefix("obs_")] = content
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        put_matrix(file, "X", counts.T, kind, storage, index_type)
        put_frame(file, "obs", names["obs"], obs)
        put_frame(file, "var", names["var"], var)
        if raw is not None:
            put_matrix(file, "raw/X", np.asarray(raw).T, kind, storage, index_type)
            many = len(raw)
            put_frame(file, "raw/var", [f"ENSG{number:011d}" for number in range(many)], raw_var or {})
        for name, layer in layers.items():
            put_matrix(file, f"layers/{name}", np.asarray(layer).T, kind, storage, index_type)
    return str(path)


def put_matrix(parent, name, counts, kind="csr", storage=None, index_type=np.int32):
    """Write a matrix of cells by genes as anndata does."""
    if kind == "dense":
        held = parent.create_dataset(name, data=counts, **(_grid(storage or {}, counts.shape)))
        held.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        return
    sparse = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix}[kind](_plain(counts))
    put_sparse(parent, name, kind, counts.shape, sparse.data.astype(counts.dtype), sparse.indices.astype(index_type),
               sparse.indptr.astype(index_type), storage)  # fmt: skip


def _plain(counts):
    """Return counts in a type that scipy has."""
    return counts.astype(np.float32 if counts.dtype == np.float16 else counts.dtype.newbyteorder("="))


def put_sparse(parent, name, kind, shape, data, indices, indptr, storage=None):
    """Write the three lists of a sparse matrix, whatever is in them."""
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0", "shape": shape})
    for part, content in (("data", data), ("indices", indices), ("indptr", indptr)):
        group.create_dataset(part, data=content, **_list(storage or {}, len(content)))


def _list(storage, length):
    """Return what of a storage holds for a list."""
    if not length:
        return {}
    return {**storage, "chunks": (min(storage["chunks"][0], length),)} if "chunks" in storage else storage


def _grid(storage, shape):
    if "chunks" not in storage or not all(shape):
        return storage if all(shape) else {}
    chunks = storage["chunks"] if len(storage["chunks"]) == 2 else (storage["chunks"][0], 16)
    return {**storage, "chunks": tuple(min(pair) for pair in zip(chunks, shape, strict=True))}


def put_frame(parent, name, index, columns):
    """Write a data frame as anndata does; columns are lists, arrays, or functions that write themselves."""
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index",
                        "column-order": np.array(list(columns), dtype=h5py.string_dtype())})  # fmt: skip
    for column, content in {"_index": index, **columns}.items():
        if callable(content):
            content(group, column)
        elif content is not None:
            group[column] = content


def categorical(values, categories=None):
    """Return what writes a categorical column; None is a missing value."""
    kinds = sorted({value for value in values if value is not None}) if categories is None else categories

    def write(group, column):
        held = group.create_group(column)
        held.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        held["categories"] = kinds
        held["codes"] = np.array([-1 if value is None else kinds.index(value) for value in values], dtype=np.int8)

    return write


def old_categorical(values):
    """Return what writes a categorical column as anndata 0.7 did: codes that refer to categories beside them."""
    kinds = sorted(set(values))

    def write(group, column):
        group[f"__categories/{column}"] = kinds
        group[column] = np.array([kinds.index(value) for value in values], dtype=np.int8)
        group[column].attrs["categories"] = group[f"__categories/{column}"].ref

    return write


def nullable(values, kind="integer"):
    """Return what writes a nullable column; None is a missing value."""

    def write(group, column):
        held = group.create_group(column)
        held.attrs.update({"encoding-type": f"nullable-{kind}", "encoding-version": "0.1.0"})
        filler = {"integer": 1, "boolean": True, "string-array": "?"}[kind]
        held["values"] = [filler if value is None else value for value in values]
        held["mask"] = [value is None for value in values]

    return write
