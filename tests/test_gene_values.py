"""GeneValues against dictionaries of lists: what they accept, and which genes are detected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.gene_values import GeneValues, distinct_in_runs

values_of_genes = st.dictionaries(
    st.sampled_from("ABCDEFGHIJ").map(lambda letter: "ENSG" + letter) | st.text("AB.é", min_size=1, max_size=5),
    st.lists(st.floats(0, exclude_min=True, allow_infinity=False), max_size=4),
    max_size=8,
)


def values_of(values, with_cells=False):
    genes = sorted(values)
    together = np.array([value for gene in genes for value in values[gene]], dtype=np.float64)
    offsets = np.cumsum([0] + [len(values[gene]) for gene in genes], dtype=np.int64)
    cells = np.array([cell for gene in genes for cell in range(len(values[gene]))], dtype=np.int32)
    return GeneValues(np.array(genes, dtype=np.str_), offsets, together, cells if with_cells else None)


def as_lists(found):
    return {str(gene): found.of_gene(index).tolist() for index, gene in enumerate(found.genes)}


def build(genes=("A", "B"), offsets=(0, 1, 3), values=(1.0, 2.0, 3.0), cells=None):
    return GeneValues(
        np.array(genes, dtype=np.str_),
        np.array(offsets, dtype=np.int64),
        np.array(values),
        None if cells is None else np.array(cells, dtype=np.int32),
    )


class TestGeneValues:
    @given(values_of_genes)
    def test_each_gene_has_its_values(self, values):
        found = values_of(values)
        assert as_lists(found) == values
        assert found.lengths.tolist() == [len(values[gene]) for gene in sorted(values)]

    def test_the_values_of_a_gene_are_a_view(self):
        found = build()
        assert np.shares_memory(found.of_gene(1), found.values)

    @pytest.mark.parametrize(
        "unsound",
        [
            {"genes": ("B", "A")},
            {"genes": ("A", "A")},
            {"genes": ("A",)},
            {"genes": ("A", "B", "C")},
            {"genes": (), "offsets": (), "values": ()},
            {"offsets": (1, 2, 3)},
            {"offsets": (0, 1, 2)},
            {"offsets": (0, 1, 4)},
            {"offsets": (0, 4, 3)},
            {"offsets": (0, -1, 3)},
            {"cells": (0, 1)},
        ],
        ids=str,
    )
    def test_unsound_values_are_refused(self, unsound):
        with pytest.raises(ValueError, match="genes must ascend, and offsets must cut the values"):
            build(**unsound)

    def test_a_gene_may_have_no_value(self):
        assert as_lists(build(offsets=(0, 0, 3))) == {"A": [], "B": [1.0, 2.0, 3.0]}

    def test_there_may_be_no_gene(self):
        assert as_lists(build(genes=(), offsets=(0,), values=())) == {}


class TestDetected:
    @given(values_of_genes)
    def test_it_is_the_genes_that_have_a_value(self, values):
        assert as_lists(values_of(values).detected()) == {gene: found for gene, found in values.items() if found}

    @given(values_of_genes)
    def test_it_keeps_the_cells(self, values):
        found = values_of(values, with_cells=True)
        assert found.detected().cells is found.cells

    def test_it_copies_no_value(self):
        found = build(offsets=(0, 0, 3))
        assert found.detected().values is found.values


@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, 2.5, 7.0]), max_size=6).map(sorted), max_size=5))
def test_distinct_numbers_of_runs_are_those_of_numpy(runs):
    numbers = np.array([number for run in runs for number in run], dtype=np.float64)
    found, counts, offsets = distinct_in_runs(numbers, np.cumsum([0, *map(len, runs)]))
    expected = [np.unique(run, return_counts=True) for run in runs]
    assert offsets.tolist() == np.cumsum([0, *(len(distinct) for distinct, _ in expected)]).tolist()
    assert found.tolist() == [number for distinct, _ in expected for number in distinct.tolist()]
    assert counts.tolist() == [count for _, often in expected for count in often.tolist()]
