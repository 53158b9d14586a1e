"""GeneValues against dictionaries of lists: what they accept, and what joining and cutting them yields."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.gene_values import GeneValues, join_gene_values

values_of_genes = st.dictionaries(
    st.sampled_from("ABCDEFGHIJ").map(lambda letter: "ENSG" + letter) | st.text("AB.é", min_size=1, max_size=5),
    st.lists(st.floats(0, exclude_min=True, allow_infinity=False), max_size=4),
    max_size=8,
)


def runs_of(values, with_cells=False):
    genes = sorted(values)
    together = np.array([value for gene in genes for value in values[gene]], dtype=np.float64)
    offsets = np.cumsum([0] + [len(values[gene]) for gene in genes], dtype=np.int64)
    cells = np.array([cell for gene in genes for cell in range(len(values[gene]))], dtype=np.int32)
    return GeneValues(np.array(genes, dtype=np.str_), offsets, together, cells if with_cells else None)


def as_lists(runs):
    return {str(gene): runs.run(index).tolist() for index, gene in enumerate(runs.genes)}


def build(genes=("A", "B"), offsets=(0, 1, 3), values=(1.0, 2.0, 3.0), cells=None):
    return GeneValues(
        np.array(genes, dtype=np.str_),
        np.array(offsets, dtype=np.int64),
        np.array(values),
        None if cells is None else np.array(cells, dtype=np.int32),
    )


class TestGeneRuns:
    @given(values_of_genes)
    def test_each_gene_has_its_values(self, values):
        runs = runs_of(values)
        assert as_lists(runs) == values
        assert runs.lengths.tolist() == [len(values[gene]) for gene in sorted(values)]

    def test_a_run_is_a_view(self):
        runs = build()
        assert np.shares_memory(runs.run(1), runs.values)

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
    def test_unsound_runs_are_refused(self, unsound):
        with pytest.raises(ValueError, match="genes must ascend, and offsets must cut the values"):
            build(**unsound)

    def test_a_gene_may_have_no_value(self):
        assert as_lists(build(offsets=(0, 0, 3))) == {"A": [], "B": [1.0, 2.0, 3.0]}

    def test_there_may_be_no_gene(self):
        assert as_lists(build(genes=(), offsets=(0,), values=())) == {}


class TestDetected:
    @given(values_of_genes)
    def test_it_is_the_genes_that_have_a_value(self, values):
        assert as_lists(runs_of(values).detected()) == {gene: found for gene, found in values.items() if found}

    @given(values_of_genes)
    def test_it_keeps_the_cells(self, values):
        runs = runs_of(values, with_cells=True)
        assert runs.detected().cells is runs.cells

    def test_it_copies_no_value(self):
        runs = build(offsets=(0, 0, 3))
        assert runs.detected().values is runs.values


class TestJoinRuns:
    @given(st.lists(values_of_genes, max_size=5))
    def test_a_gene_has_the_values_of_all_parts_in_their_order(self, parts):
        expected = defaultdict(list)
        for part in parts:
            for gene, values in part.items():
                expected[gene] += values
        assert as_lists(join_gene_values([runs_of(part) for part in parts])) == expected

    @given(st.lists(values_of_genes, max_size=5))
    def test_it_is_sound_in_type_and_order(self, parts):
        joined = join_gene_values([runs_of(part) for part in parts])
        assert joined.genes.tolist() == sorted(set().union(*parts))
        assert (joined.offsets.dtype, joined.values.dtype) == (np.int64, np.float64)

    @given(st.lists(values_of_genes, max_size=5), st.integers(0, 5))
    def test_joining_in_steps_is_joining_at_once(self, parts, cut):
        runs = [runs_of(part) for part in parts]
        assert as_lists(join_gene_values([join_gene_values(runs[:cut]), join_gene_values(runs[cut:])])) == as_lists(
            join_gene_values(runs)
        )

    @pytest.mark.parametrize("parts", [1, 2])
    def test_cells_are_not_carried_over(self, parts):
        assert join_gene_values([runs_of({"A": [1.0]}, with_cells=True)] * parts).cells is None

    def test_genes_of_different_lengths_are_not_cut_off(self):
        joined = join_gene_values([runs_of({"A": [1.0]}), runs_of({"ABCDEFGH": [2.0]})])
        assert as_lists(joined) == {"A": [1.0], "ABCDEFGH": [2.0]}
