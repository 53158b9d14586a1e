"""Reading one AnnData store in zarr on one core: ours, and anndata with one transpose by scipy."""

import contextlib
from collections.abc import Iterator

from work import Found, Work


@contextlib.contextmanager
def ours(store: str) -> Iterator[Work]:
    """Give opening a store, and reading it into normalised values as one unit."""
    from median_spark.matrices import ReadOptions, Unit, open_matrix, read_unit, select_rows

    options = ReadOptions()

    def work() -> Found:
        with open_matrix(store, options.names) as matrix:
            values, _ = read_unit(matrix, select_rows(matrix, options), Unit(0, 0, matrix.shape[1]), options)
            return {"values": len(values.values)}

    yield work


@contextlib.contextmanager
def ours_turned(store: str) -> Iterator[Work]:
    """Give opening a store, and reading all counts of all genes by gene: what anndata and scipy do."""
    import numpy as np

    from median_spark.matrices import AttributeNames, open_matrix

    def work() -> Found:
        with open_matrix(store, AttributeNames()) as matrix:
            genes, cells = matrix.shape
            found = matrix.entries(np.arange(genes), 0, cells, np.ones(cells, dtype=np.bool_))
            return {"entries": len(found.counts)}

    yield work


@contextlib.contextmanager
def anndata(store: str) -> Iterator[Work]:
    """Give `read_zarr`, and a conversion from cells to genes."""
    import warnings

    import anndata as package

    warnings.simplefilter("ignore")

    def work() -> Found:
        return {"entries": package.read_zarr(store).X.tocsc().nnz}

    yield work
