"""Reading Parquet files, with a cell or an entry per row: the values of a loom, however they are stored and cut."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from oracle import loom_values
from parquets import gene_numbers, write_gene_table, write_lists, write_long
from reading import assert_same, read

from examples import examples
from median_spark.genes import GeneMap, GeneTable
from median_spark.matrices import (
    AttributeNames,
    ReadOptions,
    Unit,
    find_sources,
    open_matrix,
    outline,
    read_unit,
    select_rows,
)

GENES, CELLS = 53, 41
IDS = [f"ENSG{number:011d}" for number in range(GENES)]
TABLE = GeneTable("genes", dict.fromkeys(IDS, "protein_coding"))
SUMMED = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)
LONG = ReadOptions(gene_table=TABLE)


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    return loom_values(write_loom(tmp_path_factory.mktemp("loom") / "study.loom", counts))[0]


class TestLists:
    @pytest.mark.parametrize("group", [1, 7, 1000])
    @pytest.mark.parametrize("marker", [True, False])
    def test_a_cell_per_row_gives_the_values_of_the_loom(self, tmp_path, counts, expected, group, marker):
        write_gene_table(tmp_path / "metadata/gene_metadata.parquet", GENES)
        path = write_lists(tmp_path / "data/train.parquet", counts, group=group, marker=marker)
        assert_same(read(path, SUMMED), expected)
        assert_same(read(path, SUMMED, cuts=[1, 2, 17, 40]), expected)

    @pytest.mark.parametrize("dtype", [pa.float64(), pa.float16(), pa.int16(), pa.uint64(), pa.int64()])
    def test_every_number_type(self, tmp_path, counts, expected, dtype):
        write_gene_table(tmp_path / "gene_metadata.parquet", GENES)
        held = counts.astype(np.float16) if dtype == pa.float16() else counts
        path = write_lists(tmp_path / "train.parquet", held, dtype=dtype, marker=False)
        assert_same(read(path, SUMMED, cuts=[20]), expected)

    def test_totals_and_a_filter_from_columns(self, tmp_path, counts):
        write_gene_table(tmp_path / "gene_metadata.parquet", GENES)
        kinds = ["full" if cell % 3 else "minimal" for cell in range(CELLS)]
        totals = counts.sum(axis=0) + 1.0
        path = write_lists(tmp_path / "train.parquet", counts, group=6, pass_filter=kinds, tscp_count=totals)
        options = ReadOptions(
            gene_table=TABLE,
            names=AttributeNames(n_counts="tscp_count", filter_pass="pass_filter"),
            filter_values=("full",),
        )
        passed = (np.arange(CELLS) % 3 > 0).astype(np.int64)
        loom = write_loom(tmp_path / "s.loom", counts, filter_pass=passed, n_counts=totals)
        assert_same(read(path, options, cuts=[5, 20]), loom_values(loom)[0])

    def test_ids_of_genes_in_the_lists_themselves(self, tmp_path, counts, expected):
        path = write_lists(tmp_path / "train.parquet", counts, numbers=IDS, marker=False, group=9)
        assert_same(read(path, SUMMED, cuts=[8, 9]), expected)

    @pytest.mark.parametrize("marker", [True, False])
    def test_numbers_of_genes_by_a_gene_map(self, tmp_path, counts, expected, marker):
        path = write_lists(tmp_path / "train.parquet", counts, marker=marker, group=9)
        pairs = zip(map(str, gene_numbers(GENES)), IDS, strict=True)
        options = ReadOptions(
            gene_table=TABLE, cell_filter=False, compute_n_counts=True, gene_map=GeneMap.from_pairs("map", pairs)
        )
        detected = {gene: values for gene, values in expected.items() if len(values[0])}
        assert_same(read(path, options, cuts=[8, 9]), detected)

    def test_the_number_of_the_marker_may_be_a_gene(self, tmp_path, counts, expected):
        numbers = list(range(GENES))
        write_gene_table(tmp_path / "gene_metadata.parquet", GENES, token_id=numbers)
        path = write_lists(tmp_path / "train.parquet", counts, numbers=numbers, marker=False)
        assert_same(read(path, SUMMED), expected)

    def test_lists_of_other_names(self, tmp_path, counts, expected):
        write_gene_table(tmp_path / "gene_metadata.parquet", GENES)
        path = write_lists(tmp_path / "train.parquet", counts, names=("ensembl_id", "umis"))
        options = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True, layer="umis")
        assert_same(read(path, options), expected)

    def test_a_gene_that_a_cell_lists_twice_is_summed(self, tmp_path):
        write_gene_table(tmp_path / "gene_metadata.parquet", 2, token_id=[3, 4])
        path = tmp_path / "train.parquet"
        pq.write_table(pa.table({"genes": [[3, 4, 3], [4]], "expressions": [[1.0, 2.0, 4.0], [8.0]]}), path)
        values = read(path, SUMMED)
        assert [values[gene][1].tolist() for gene in IDS[:2]] == [[5 / 7 * 10_000], [2 / 7 * 10_000, 10_000.0]]

    def test_cells_without_genes_have_no_values(self, tmp_path):
        write_gene_table(tmp_path / "gene_metadata.parquet", 2, token_id=[3, 4])
        path = tmp_path / "train.parquet"
        pq.write_table(pa.table({"genes": [[], [1], [1, 4], []], "expressions": [[], [-2.0], [-2.0, 8.0], []]}), path)
        values = read(path, SUMMED)
        assert {gene: cells.tolist() for gene, (cells, _) in values.items() if len(cells)} == {IDS[1]: [2]}

    def test_ids_of_cells(self, tmp_path, counts):
        path = write_lists(tmp_path / "a.parquet", counts, group=10, plate=[f"p{cell}" for cell in range(CELLS)])
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cell_ids(9, 12).tolist() == ["cell9", "cell10", "cell11"]
            assert matrix.attributes("cell") == ["BARCODE_SUB_LIB_ID", "plate"]
        with open_matrix(path, AttributeNames(cell_id="plate")) as matrix:
            assert matrix.cell_ids(40).tolist() == ["p40"]
        with open_matrix(
            write_lists(tmp_path / "b.parquet", counts, BARCODE_SUB_LIB_ID=None), AttributeNames()
        ) as matrix:
            assert matrix.cell_ids(3, 5).tolist() == ["3", "4"]

    def test_units_are_of_row_groups(self, tmp_path, counts):
        write_gene_table(tmp_path / "gene_metadata.parquet", GENES)
        path = write_lists(tmp_path / "train.parquet", np.tile(counts, (1, 10)), group=50)
        with open_matrix(path, AttributeNames()) as matrix:
            units = outline(matrix, SUMMED, unit_entries=2_000).units
            assert len(units) > 3
            assert {unit.first % 50 for unit in units} == {0}


class TestLong:
    @pytest.mark.parametrize("group", [1, 10, 37, 1000])
    def test_an_entry_per_row_gives_the_values_of_the_loom(self, tmp_path, counts, expected, group):
        path = write_long(tmp_path / "table.parquet", counts, group=group)
        assert_same(read(path, LONG), expected)
        assert_same(read(path, LONG, cuts=[1, 2, 17, 40]), expected)
        assert_same(read(path, SUMMED, cuts=[16, 17]), expected)

    @pytest.mark.parametrize("dtype", ["f2", "f8", "u1", "u8", "i2"])
    def test_every_number_type(self, tmp_path, counts, expected, dtype):
        path = write_long(tmp_path / "table.parquet", counts.astype(dtype))
        assert_same(read(path, SUMMED, cuts=[20]), expected)

    def test_other_names_numbers_of_cells_and_dictionaries(self, tmp_path, counts, expected):
        cells, genes = np.nonzero(counts.T)
        path = write_long(
            tmp_path / "table.parquet", counts, group=13, names=("g", "c", "n"), c=cells * 7,
            g=pa.array(IDS).take(pa.array(genes)).dictionary_encode(),
        )  # fmt: skip
        options = ReadOptions(gene_table=TABLE, names=AttributeNames(gene_id="g", cell_id="c"), layer="n")
        assert_same(read(path, options, cuts=[3, 30]), expected)
        with open_matrix(path, options.names, "n") as matrix:
            assert matrix.cell_ids(2, 4).tolist() == ["14", "21"]

    def test_cells_in_any_order_whose_rows_are_together(self, tmp_path, counts):
        order = np.random.default_rng(5).permutation(CELLS)
        path = write_long(
            tmp_path / "table.parquet", counts, group=10, order=lambda cells, _: np.argsort(order[cells], kind="stable")
        )
        there = np.argsort(order)
        loom = write_loom(tmp_path / "s.loom", counts[:, there])
        assert_same(read(path, LONG, cuts=[7, 8]), loom_values(loom)[0])

    def test_genes_of_a_cell_in_any_order_and_twice(self, tmp_path):
        path = tmp_path / "table.parquet"
        columns = {"gene": ["ENSG00000000001", "ENSG00000000000", "ENSG00000000001"], "cell": ["a", "a", "a"],
                   "count": [1, 2, 4]}  # fmt: skip
        pq.write_table(pa.table(columns), path)
        values = read(path, SUMMED)
        assert [values[gene][1].tolist() for gene in IDS[:2]] == [[2 / 7 * 10_000], [5 / 7 * 10_000]]

    @examples(25, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_any_table_row_groups_and_cuts(self, tmp_path_factory, seed):
        rng = np.random.default_rng(seed)
        genes, cells = rng.integers(1, 20, 2)
        counts = random_counts(rng, genes, cells, density=rng.choice([0.1, 0.5, 1.0]))
        counts[0] = 1
        folder = tmp_path_factory.mktemp("any")
        cuts = sorted(set(rng.integers(1, cells, 3).tolist())) if cells > 1 else []
        expected = loom_values(write_loom(folder / "s.loom", counts))[0]
        group = int(rng.choice([1, 2, 3, 5, 8, 100]))
        assert_same(read(write_long(folder / "long.parquet", counts, group=group), LONG, cuts=cuts), expected)
        write_gene_table(folder / "gene_metadata.parquet", genes)
        assert_same(read(write_lists(folder / "lists.parquet", counts, group=group), SUMMED, cuts=cuts), expected)

    def test_units_of_many_row_groups(self, tmp_path, counts):
        path = write_long(tmp_path / "table.parquet", np.tile(counts, (1, 10)), group=333)
        with open_matrix(path, AttributeNames()) as matrix:
            units = outline(matrix, LONG, unit_entries=2_000).units
            selection = select_rows(matrix, LONG)
            values = sum(len(read_unit(matrix, selection, unit, LONG)[0].values) for unit in units)
        assert len(units) > 3
        assert values == np.count_nonzero(counts) * 10

    def test_what_was_found_out_about_a_file_is_forgotten_when_it_changes(self, tmp_path, counts, expected):
        path = write_long(tmp_path / "table.parquet", counts[:, :20])
        assert len(read(path, LONG)) > 0
        write_long(path, counts)
        assert_same(read(path, LONG), expected)


class TestSources:
    def test_a_folder_of_shards_without_its_tables_of_metadata(self, tmp_path, counts):
        write_gene_table(tmp_path / "metadata/gene_metadata.parquet", GENES)
        for shard in range(2):
            write_lists(tmp_path / f"data/train-{shard}.parquet", counts)
        assert [source.name for source in find_sources([str(tmp_path)])] == ["data/train-0", "data/train-1"]

    def test_parquet_beside_other_matrices_is_no_source_unless_named(self, tmp_path, counts):
        write_loom(tmp_path / "study.loom", counts)
        path = write_lists(tmp_path / "cells.parquet", counts)
        assert [source.name for source in find_sources([str(tmp_path)])] == ["study"]
        assert [source.name for source in find_sources([path])] == ["cells"]


def test_a_unit_knows_its_cells(tmp_path, counts):
    path = write_long(tmp_path / "table.parquet", counts, group=10)
    with open_matrix(path, AttributeNames()) as matrix:
        _, cells = read_unit(matrix, select_rows(matrix, LONG), Unit(0, 5, 9), LONG)
    assert cells["cell"].to_pylist() == ["cell5", "cell6", "cell7", "cell8"]
