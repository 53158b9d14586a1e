"""Writing SOMA experiments for tests, by tiledbsoma itself."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
import tiledbsoma
import tiledbsoma.io


def write_soma(path, counts, layer="raw", dense=False, raw=None, obs=None, var=None, measurement="RNA"):
    """Write an experiment of counts, genes by cells as in `looms`, by tiledbsoma.io; `raw` becomes adata.raw."""
    counts = np.asarray(counts)
    genes, cells = counts.shape
    with np.errstate(invalid="ignore", over="ignore"):
        totals = counts.sum(axis=0).astype(np.float64)
    obs = {"n_counts": totals, "filter_pass": np.ones(cells, dtype=np.int64), **(obs or {})}
    ids = [f"ENSG{number:011d}" for number in range(genes)]
    var = {"ensembl_id": ids, "gene_type": ["protein_coding"] * genes, **(var or {})}
    held = anndata.AnnData(
        counts.T if dense else scipy.sparse.csr_matrix(counts.T),
        obs=_frame(obs, [f"cell{number}" for number in range(cells)]),
        var=_frame(var, [f"symbol{number}" for number in range(genes)]),
    )
    if raw is not None:
        whole = anndata.AnnData(scipy.sparse.csr_matrix(np.asarray(raw).T), obs=held.obs, var=held.var)
        held.raw = whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiledbsoma.io.from_anndata(str(path), held, measurement, X_layer_name=layer)
    return str(path)


def _frame(columns, index):
    return pd.DataFrame({name: content for name, content in columns.items() if content is not None}, index=index)


def write_joined(path, counts, cell_ids, gene_ids, dtype=np.float32, more=(), pieces=1, obs=None):
    """Write an experiment array by array, with any soma_joinid, as the Census is written.

    `more` are further entries of X as (cell, gene, count); X and obs are written in so many pieces, the last cells
    first.
    """
    counts = np.asarray(counts)
    genes, cells = counts.shape
    cell_ids, gene_ids = np.asarray(cell_ids, dtype=np.int64), np.asarray(gene_ids, dtype=np.int64)
    columns = {
        "soma_joinid": cell_ids,
        "raw_sum": counts.sum(axis=0).astype(np.float64),
        "is_primary_data": np.ones(cells, dtype=bool),
        **(obs or {}),
    }
    features = {"soma_joinid": gene_ids, "feature_id": [f"ENSG{number:011d}" for number in range(genes)],
                "feature_type": ["protein_coding"] * genes}  # fmt: skip
    tall = max(int(cell_ids.max()), *(cell for cell, _, _ in more), 0)
    wide = max(int(gene_ids.max()), *(gene for _, gene, _ in more), 0)
    obs, var, x = pa.table(columns), pa.table(features), f"{path}/ms/RNA/X/raw"
    with tiledbsoma.Experiment.create(str(path)) as experiment:
        _add_frame(experiment, "obs", obs)
        rna = experiment.add_new_collection("ms").add_new_collection("RNA", tiledbsoma.Measurement)
        _add_frame(rna, "var", var)
        layers = rna.add_new_collection("X")
        layers.add_new_sparse_ndarray("raw", type=pa.from_numpy_dtype(dtype), shape=(tall + 1, wide + 1))
    _write(f"{path}/obs", obs, pieces)
    _write(f"{path}/ms/RNA/var", var, 1)
    at, of = np.nonzero(counts.T)
    entries = [(cell_ids[at], gene_ids[of], counts.T[at, of])]
    if more:
        entries.append(tuple(np.array(part) for part in zip(*more, strict=True)))
    rows, cols, data = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    _write(
        x,
        pa.table(
            {
                "soma_dim_0": rows.astype(np.int64),
                "soma_dim_1": cols.astype(np.int64),
                "soma_data": data.astype(dtype),
            }
        ),
        pieces,
    )
    return str(path)


def _add_frame(holder, name, table):
    greatest = int(table["soma_joinid"].to_numpy().max())
    holder.add_new_dataframe(name, schema=table.schema, index_column_names=["soma_joinid"], domain=[[0, greatest]])


def _write(path, table, pieces):
    """Write the rows of an array in so many pieces, the last ones first."""
    for chosen in reversed(np.array_split(np.arange(len(table)), pieces)):
        if len(chosen):
            with tiledbsoma.open(path, "w") as held:
                held.write(table.take(pa.array(chosen)))
