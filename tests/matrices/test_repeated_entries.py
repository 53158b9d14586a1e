"""A gene that a cell has several times, or a cell that a gene has: its counts are summed, as scipy sums them."""

import h5py
import numpy as np
import pytest
from h5ads import GZIP, put_sparse, write_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st

from median_spark import ReadOptions
from median_spark.errors import InputError
from median_spark.matrices import Unit, values_of

OPTIONS = ReadOptions(compute_n_counts=True)


def write(path, kind, shape, triples, dtype):
    """Write a sparse matrix of triples (cell, gene, count), each as an entry of its own, in the order given."""
    cells, genes = shape
    write_h5ad(path, np.ones((genes, cells), dtype=dtype))
    line = 0 if kind == "csr" else 1
    ordered = sorted(triples, key=lambda triple: triple[line])
    indptr = np.searchsorted([triple[line] for triple in ordered], np.arange(shape[line] + 1))
    with h5py.File(path, "r+") as file:
        del file["X"]
        put_sparse(file, "X", kind, shape, np.array([triple[2] for triple in ordered], dtype=dtype),
                   np.array([triple[1 - line] for triple in ordered], dtype=np.int32), indptr, GZIP)  # fmt: skip
    return str(path)


def expected(shape, triples):
    counts = np.zeros(shape)
    for cell, gene, count in triples:
        counts[cell, gene] += count
    totals = counts.sum(axis=1)
    return [(counts[:, gene] / np.where(totals > 0, totals, 1) * 10_000) for gene in range(shape[1])]


@given(st.data())
@settings(max_examples=120)
def test_counts_of_one_gene_and_cell_are_summed(tmp_path_factory, data):
    cells, genes = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    kind = data.draw(st.sampled_from(["csr", "csc"]))
    dtype = data.draw(st.sampled_from(["u1", "i1", "u2", "i4", "i8", "f4", "f8"]))
    triple = st.tuples(st.integers(0, cells - 1), st.integers(0, genes - 1), st.sampled_from([1, 2, 100, 127]))
    triples = data.draw(st.lists(triple, min_size=1, max_size=40))
    path = write(tmp_path_factory.getbasetemp() / "twice.h5ad", kind, (cells, genes), triples, dtype)
    cut = data.draw(st.integers(0, cells))
    found = [np.zeros(cells) for _ in range(genes)]
    for first, last in ((0, cut), (cut, cells)):
        if first < last:
            runs, _, _ = values_of(path, Unit(0, first, last), OPTIONS)
            for place, gene in enumerate(runs.genes.tolist()):
                within = slice(runs.offsets[place], runs.offsets[place + 1])
                found[int(gene[4:])][first + runs.cells[within]] = runs.values[within]
    assert [values.tolist() for values in found] == [values.tolist() for values in expected((cells, genes), triples)]


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("wrong", [-3, np.nan, np.inf, -np.inf])
def test_summing_hides_no_count_that_none_may_be(tmp_path, kind, wrong):
    triples = [(0, 0, 5), (0, 0, wrong), (1, 1, 2)]
    path = write(tmp_path / "s.h5ad", kind, (2, 2), triples, "f8")
    with pytest.raises(InputError, match="counts must be finite and not below 0"):
        values_of(path, Unit(0, 0, 2), OPTIONS)
