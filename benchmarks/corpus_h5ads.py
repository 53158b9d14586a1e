"""The h5ad files that are read: the cells of one loom, as anndata writes them."""

from pathlib import Path

import h5py
import numpy as np
import scipy.sparse
from corpus import H5ADS
from h5ads import put_frame, put_sparse

_ROWS = 512


def write_h5ads(folder: Path, loom: Path) -> None:
    """Write the cells of a loom by cell (CSR), float32, once for each of `H5ADS`; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path: storage for name, storage in H5ADS.items() if not (path := folder / f"{name}.h5ad").exists()}
    if not wanted:
        return
    with h5py.File(loom) as file:
        matrix = file["matrix"]
        bands = [scipy.sparse.csr_matrix(matrix[row : row + _ROWS]) for row in range(0, matrix.shape[0], _ROWS)]
        var = {name: file[f"row_attrs/{name}"].asstr()[:].tolist() for name in ("ensembl_id", "gene_type")}
        obs = {name: file[f"col_attrs/{name}"][:] for name in ("n_counts", "filter_pass")}
        names = file["col_attrs/CellID"].asstr()[:].tolist()
    counts = scipy.sparse.vstack(bands).T.tocsr()
    for path, storage in wanted.items():
        begun = path.with_suffix(".begun")
        with h5py.File(begun, "w") as file:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            lists = counts.data.astype(np.float32), counts.indices.astype(np.int32), counts.indptr.astype(np.int64)
            put_sparse(file, "X", "csr", counts.shape, *lists, storage)
            put_frame(file, "obs", names, obs)
            put_frame(file, "var", var["ensembl_id"], var)
        begun.rename(path)
