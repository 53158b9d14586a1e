"""Reading a matrix of another format on one core: ours, and the floor, its library's bare reading and one transpose."""

import contextlib
import gzip
import io
from collections.abc import Iterator

from work import Found, Work


@contextlib.contextmanager
def ours(matrix: str) -> Iterator[Work]:
    """Give opening a matrix, and reading it into normalised values as one unit; nothing is kept in scratch space."""
    from median_spark import GeneTable, storage
    from median_spark.matrices import ReadOptions, Unit, open_matrix, read_unit, select_rows

    plain = ReadOptions()
    with open_matrix(matrix, plain.names) as held:
        table = GeneTable("", dict.fromkeys(held.gene_ids().tolist(), "protein_coding"))
    options = ReadOptions(gene_table=table, cell_filter=False, compute_n_counts=True)

    def work() -> Found:
        with open_matrix(matrix, options.names) as held:
            values, _ = read_unit(held, select_rows(held, options), Unit(0, 0, held.shape[1]), options)
        storage.release(matrix)
        return {"values": len(values.values)}

    yield work


@contextlib.contextmanager
def ours_turned(matrix: str) -> Iterator[Work]:
    """Give opening a matrix, and reading all counts of all genes by gene: what the floor does."""
    import numpy as np

    from median_spark import storage
    from median_spark.matrices import AttributeNames, open_matrix

    def work() -> Found:
        with open_matrix(matrix, AttributeNames()) as held:
            genes, cells = held.shape
            found = held.entries(np.arange(genes), 0, cells, np.ones(cells, dtype=np.bool_))
        storage.release(matrix)
        return {"entries": len(found.counts)}

    yield work


@contextlib.contextmanager
def h5py_scipy(matrix: str) -> Iterator[Work]:
    """Give reading the three lists with h5py, and one conversion by scipy from cells to genes."""
    import h5py
    from scipy.sparse import csc_matrix

    def work() -> Found:
        with h5py.File(matrix) as file:
            held = file["matrix"]
            lists = (held["data"][()], held["indices"][()], held["indptr"][()])
            return {"entries": csc_matrix(lists, shape=tuple(held["shape"][()])).tocsr().nnz}

    yield work


@contextlib.contextmanager
def scipy_mmread(matrix: str) -> Iterator[Work]:
    """Give `scipy.io.mmread`, which is fast_matrix_market, and one conversion from triples to genes."""
    from scipy.io import mmread

    def work() -> Found:
        return {"entries": mmread(matrix).tocsr().nnz}

    yield work


@contextlib.contextmanager
def gzip_h5py_scipy(matrix: str) -> Iterator[Work]:
    """Give decompressing an h5ad with Python into memory, reading three lists with h5py, and one conversion."""
    import h5py
    from scipy.sparse import csr_matrix

    def work() -> Found:
        with gzip.open(matrix) as stream, h5py.File(io.BytesIO(stream.read())) as file:
            held = file["X"]
            lists = (held["data"][()], held["indices"][()], held["indptr"][()])
            return {"entries": csr_matrix(lists, shape=tuple(held.attrs["shape"])).tocsc().nnz}

    yield work


@contextlib.contextmanager
def tiledbsoma_scipy(matrix: str) -> Iterator[Work]:
    """Give reading all entries with tiledbsoma, piece by piece as it yields them, and one conversion to genes."""
    import numpy as np
    import tiledbsoma
    from scipy.sparse import coo_matrix

    def work() -> Found:
        context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.compute_concurrency_level": 1})
        with tiledbsoma.open(f"{matrix}/ms/RNA/X/raw", context=context) as held:
            pieces = [
                tuple(piece[name].to_numpy() for name in ("soma_data", "soma_dim_0", "soma_dim_1"))
                for piece in held.read().tables()
            ]
            counts, cells, genes = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
            return {"entries": coo_matrix((counts, (cells, genes)), shape=held.shape).tocsc().nnz}

    yield work
