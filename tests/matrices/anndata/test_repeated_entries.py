"""A gene that a cell has several times, or a cell that a gene has: its counts are summed, as scipy sums them."""

import h5py
import numpy as np
import pytest
from h5ads import GZIP, put_sparse, write_h5ad
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from median_spark import AttributeNames, ReadOptions
from median_spark.errors import InputError
from median_spark.matrices import Unit, open_matrix, values_of
from median_spark.verification.h5ads import H5ad

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
@examples(120)
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


@pytest.mark.parametrize("kind", ["csr", "csc"])
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(1, 80), cut=st.integers(1, 5))
@examples(30)
def test_fractions_are_summed_in_the_order_of_the_file_whatever_the_cells_read_together(
    tmp_path_factory, kind, seed, number, cut
):
    """Sums of fractions depend on their order: reading, however it is cut, and verifying keep to that of the file."""
    rng, shape = np.random.default_rng(seed), (6, 4)
    triples = [
        (int(rng.integers(shape[0])), int(rng.integers(shape[1])), float(rng.uniform(1e-3, 1e3))) for _ in range(number)
    ]
    path = write(tmp_path_factory.getbasetemp() / "fractions.h5ad", kind, shape, triples, "f8")
    sums, line = np.zeros(shape), 0 if kind == "csr" else 1
    totals = np.zeros(shape[0])
    for cell, gene, count in sorted(triples, key=lambda triple: triple[line]):
        sums[cell, gene] += count
        totals[cell] += count
    found, added = np.zeros(shape), []
    with open_matrix(path, AttributeNames()) as matrix:
        for first, last in ((0, cut), (cut, shape[0])):
            entries = matrix.entries(np.arange(shape[1]), first, last, np.ones(last - first, dtype=np.bool_))
            found[first + entries.cells, np.repeat(np.arange(shape[1]), entries.lengths)] = entries.counts
            added += matrix.cell_totals(first, last).tolist()
    assert (found.tolist(), added) == (sums.tolist(), totals.tolist())
    with h5py.File(path) as file:
        other = H5ad(file, "X")
        counts = other.counts(np.arange(shape[1]))
        by_gene = [np.asarray(counts[:, [gene]].sum(axis=1)).ravel().tolist() for gene in range(shape[1])]
        assert (by_gene, other.totals().tolist()) == (sums.T.tolist(), totals.tolist())
