"""Reading one h5ad on one core: ours, and the floor: h5py reading the same lists, and one transpose by scipy."""

import contextlib
from collections.abc import Iterator

from work import Found, Work


@contextlib.contextmanager
def ours(h5ad: str) -> Iterator[Work]:
    """Give opening an h5ad, and reading it into normalised runs as one unit."""
    from median_spark.matrices import ReadOptions, Unit, open_matrix, read_unit, select_rows

    options = ReadOptions()

    def work() -> Found:
        with open_matrix(h5ad, options.names) as matrix:
            runs, _ = read_unit(matrix, select_rows(matrix, options), Unit(0, 0, matrix.shape[1]), options)
            return {"values": len(runs.values)}

    yield work


@contextlib.contextmanager
def ours_turned(h5ad: str) -> Iterator[Work]:
    """Give opening an h5ad, and reading all counts of all genes by gene: what the floor does."""
    import numpy as np

    from median_spark.matrices import AttributeNames, open_matrix

    def work() -> Found:
        with open_matrix(h5ad, AttributeNames()) as matrix:
            genes, cells = matrix.shape
            found = matrix.entries(np.arange(genes), 0, cells, np.ones(cells, dtype=np.bool_))
            return {"entries": len(found.counts)}

    yield work


@contextlib.contextmanager
def h5py_scipy(h5ad: str) -> Iterator[Work]:
    """Give reading the three lists with h5py, and one conversion by scipy from cells to genes."""
    import h5py
    from scipy.sparse import csr_matrix

    def work() -> Found:
        with h5py.File(h5ad) as file:
            held = file["X"]
            lists = (held["data"][()], held["indices"][()], held["indptr"][()])
            return {"entries": csr_matrix(lists, shape=tuple(held.attrs["shape"])).tocsc().nnz}

    yield work


@contextlib.contextmanager
def anndata(h5ad: str) -> Iterator[Work]:
    """Give what a user of anndata would write: `read_h5ad`, and a conversion from cells to genes."""
    import anndata as package

    def work() -> Found:
        return {"entries": package.read_h5ad(h5ad).X.tocsc().nnz}

    yield work
