"""Folders of triples: the same cells give the same values as from a loom, whoever wrote them and in any order."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, with_duplicates, write_loom
from oracle import loom_values
from reading import assert_same, read, refusal
from triples import matrix_text, write_parse, write_tenx

from median_spark import storage
from median_spark.genes import GeneTable
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, matrix_stat, open_matrix
from median_spark.matrices.triples import by_cell, matrix_market

GENES, CELLS = 53, 41
TABLE = GeneTable("", {f"ENSG{number:011d}": "protein_coding" for number in range(1_000)})
EVERY_CELL = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)
BY_COLUMN = ReadOptions(gene_table=TABLE, cell_filter=False, names=AttributeNames(n_counts="tscp_count"))


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    """What a loom of the same cells gives, by the oracle."""
    path = write_loom(tmp_path_factory.mktemp("loom") / "study.loom", counts, ensembl_id=with_duplicates(GENES))
    return loom_values(path)[0]


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    yield
    storage.release("")


def values(counts, ids=None):
    """The values of every gene, by numpy."""
    counts = np.asarray(counts, dtype=np.float64)
    found = {}
    for row, gene in enumerate(ids or [f"ENSG{number:011d}" for number in range(len(counts))]):
        cells = np.flatnonzero(counts[row])
        if len(cells):
            found[gene] = cells, counts[row, cells] / counts[:, cells].sum(axis=0) * 10_000.0
    return found


class TestWriters:
    @pytest.mark.parametrize("gz", [True, False])
    @pytest.mark.parametrize("prefix", ["", "GSM1_a_", "GSM2.b."])
    def test_10x(self, tmp_path, counts, expected, gz, prefix):
        path = write_tenx(tmp_path, counts, prefix=prefix, gz=gz, ids=with_duplicates(GENES))
        assert_same(read(path, EVERY_CELL), expected)
        assert_same(read(path, EVERY_CELL, cuts=[1, 2, 17, 40]), expected)

    @pytest.mark.parametrize("name", ["DGE.mtx", "count_matrix.mtx"])
    @pytest.mark.parametrize("gz", [True, False])
    def test_parse(self, tmp_path, counts, expected, name, gz):
        path = write_parse(tmp_path, counts, prefix="GSM3_", name=name, gz=gz, ids=with_duplicates(GENES))
        assert_same(read(path, BY_COLUMN), expected)
        assert_same(read(path, EVERY_CELL, cuts=[13]), expected)

    @pytest.mark.parametrize("field", ["integer", "real", None])
    def test_scipy(self, tmp_path, counts, expected, field):
        path = write_tenx(tmp_path, counts, gz=False, ids=with_duplicates(GENES))
        scipy.io.mmwrite(path, scipy.sparse.csc_matrix(counts), comment="by scipy", field=field)
        assert_same(read(path, EVERY_CELL), expected)

    def test_files_of_which_some_are_gzipped_whatever_their_names(self, tmp_path, counts, expected):
        path = write_tenx(tmp_path, counts, ids=with_duplicates(GENES))
        for name in ("features.tsv.gz", "matrix.mtx.gz"):
            (tmp_path / name).write_bytes(gzip.decompress((tmp_path / name).read_bytes()))
        assert_same(read(path, EVERY_CELL), expected)

    def test_gzip_of_several_members(self, tmp_path, counts, expected):
        path = Path(write_tenx(tmp_path, counts, ids=with_duplicates(GENES)))
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(b"".join(gzip.compress(content[begin : begin + 999]) for begin in range(0, len(content), 999)))
        assert_same(read(path, EVERY_CELL), expected)

    def test_line_ends_of_windows_tabs_and_no_last_line_end(self, tmp_path, counts, expected):
        path = Path(write_tenx(tmp_path, counts, gz=False, ids=with_duplicates(GENES)))
        path.write_bytes(matrix_text(counts, end="\r\n", separator="\t").rstrip().encode())
        assert_same(read(path, EVERY_CELL), expected)

    def test_scanpy_reads_the_same(self, tmp_path, counts):
        scanpy = pytest.importorskip("scanpy")
        write_tenx(tmp_path, counts)
        theirs = scanpy.read_10x_mtx(tmp_path, var_names="gene_ids")
        assert_same(read(tmp_path / "matrix.mtx.gz", EVERY_CELL), values(theirs.X.toarray().T, list(theirs.var_names)))


class TestStores:
    """A ``file:`` URI goes the way of the object stores."""

    @pytest.mark.parametrize("gz", [True, False])
    def test_10x(self, tmp_path, counts, expected, gz):
        path = write_tenx(tmp_path, counts, prefix="GSM1_", gz=gz, ids=with_duplicates(GENES))
        assert_same(read(f"file://{path}", EVERY_CELL), expected)
        (source,) = find_sources([f"file://{tmp_path}/"])
        assert source.name == "GSM1"

    def test_a_missing_list_is_named(self, tmp_path):
        path = Path(write_parse(tmp_path, [[1]]))
        (tmp_path / "all_genes.csv").unlink()
        assert refusal(f"file://{path}").startswith("the list of its genes is missing: there must be all_genes.csv")


class TestOrder:
    @pytest.mark.parametrize("at_once", [1 << 23, 50, 1])
    @pytest.mark.parametrize("order", ["F", "C", np.random.default_rng(3)], ids=["by cell", "by gene", "any"])
    def test_any_order_gives_the_same(self, tmp_path, monkeypatch, counts, expected, order, at_once):
        monkeypatch.setattr(by_cell, "SORTED_AT_ONCE", at_once)
        path = write_tenx(tmp_path, counts, ids=with_duplicates(GENES), order=order)
        assert_same(read(path, EVERY_CELL), expected)

    @pytest.mark.parametrize("order", ["F", np.random.default_rng(4)], ids=["by cell", "any"])
    def test_entries_of_one_gene_and_cell_are_summed(self, tmp_path, order):
        entries = ["1 1 2", "2 2 3", "1 1 5", "1 2 4", "2 2 1"]
        entries = sorted(entries, key=lambda line: line.split()[1]) if order == "F" else entries
        path = write_tenx(tmp_path, [[1, 1], [1, 1]], entries=entries)
        assert_same(read(path, EVERY_CELL), values([[7, 4], [0, 4]]))

    @given(
        counts=st.lists(
            st.lists(st.sampled_from([0, 0, 1, 2, 70_000]), min_size=4, max_size=4), min_size=1, max_size=6
        ),
        seed=st.integers(0, 9),
    )
    def test_any_counts_in_any_order(self, tmp_path_factory, counts, seed):
        counts = [[1] * 4, *counts]
        path = write_tenx(tmp_path_factory.mktemp("study"), counts, gz=False, order=np.random.default_rng(seed))
        assert_same(read(path, EVERY_CELL), values(counts))


class TestFeatures:
    def test_only_genes_are_rows_and_count(self, tmp_path):
        counts, types = [[1, 2], [9, 9], [3, 0]], ["Gene Expression", "Antibody Capture", "Gene Expression"]
        path = write_tenx(tmp_path, counts, types=types)
        assert_same(read(path, EVERY_CELL), values([[1, 2], [3, 0]], ["ENSG00000000000", "ENSG00000000002"]))
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.shape == (2, 2)
            assert matrix.warnings() == ["1 feature of other types than 'Gene Expression' were left out"]

    def test_attributes_of_10x(self, tmp_path):
        with open_matrix(write_tenx(tmp_path, [[1, 2]]), AttributeNames()) as matrix:
            assert matrix.attributes("row") == ["feature_type", "id", "name"]
            assert matrix.attributes("cell") == ["barcode"]
            assert matrix.cell_ids().tolist() == ["cell0", "cell1"]
            assert matrix.cell_ids(1).tolist() == ["cell1"]
            assert matrix.gene_types() is None

    def test_attributes_of_parse(self, tmp_path):
        columns = {"keep": ["True", "False"], "share": ["0.5", "NA"], "note": ["", "x"]}
        with open_matrix(write_parse(tmp_path, [[1, 2]], columns=columns), AttributeNames()) as matrix:
            assert matrix.attributes("row") == ["gene_id", "gene_name", "genome"]
            assert matrix.attributes("cell") == ["bc_wells", "keep", "note", "sample", "share", "tscp_count"]
            assert matrix.cell_ids().tolist() == ["01_01_00", "01_01_01"]

    def test_a_column_of_cells_can_be_the_filter(self, tmp_path):
        path = write_parse(tmp_path, [[1, 2, 4], [1, 0, 4]], columns={"keep": [1, 0, 1]})
        options = ReadOptions(gene_table=TABLE, names=AttributeNames(n_counts="tscp_count", filter_pass="keep"))
        found = read(path, options)
        assert {gene: cells.tolist() for gene, (cells, _) in found.items()} == {
            "ENSG00000000000": [0, 2],
            "ENSG00000000001": [0, 2],
        }
        names = AttributeNames(n_counts="tscp_count", filter_pass="sample")
        texts = ReadOptions(gene_table=TABLE, names=names, filter_values=("two",))
        assert {gene: cells.tolist() for gene, (cells, _) in read(path, texts).items()} == {"ENSG00000000000": [1]}

    def test_ids_that_are_no_utf_8_stay_distinct(self, tmp_path):
        path = write_tenx(tmp_path, [[1], [2]], ids=["g\udce9", "g\udce8"], gz=False)
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.gene_ids().tolist() == ["g\\xe9", "g\\xe8"]

    def test_names_that_are_numbers_stay_as_they_are_written(self, tmp_path):
        path = write_tenx(tmp_path, [[1, 2], [3, 4]], ids=["007", "1e3"], barcodes=["01", "1"])
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.gene_ids().tolist() == ["007", "1e3"]
            assert matrix.cell_ids().tolist() == ["01", "1"]


class TestSources:
    def test_a_folder_of_several_matrices(self, tmp_path):
        write_tenx(tmp_path / "geo", [[1, 2]], prefix="GSM1_a_")
        write_tenx(tmp_path / "geo", [[1, 2]], prefix="GSM2_b_", gz=False)
        write_tenx(tmp_path / "sample" / "filtered_feature_bc_matrix", [[1, 2]])
        write_parse(tmp_path / "parse", [[1, 2]], name="count_matrix.mtx")
        names = [source.name for source in find_sources([str(tmp_path)])]
        assert names == ["geo/GSM1_a", "geo/GSM2_b", "parse", "sample/filtered_feature_bc_matrix"]

    @pytest.mark.parametrize("write", [write_tenx, write_parse])
    def test_the_state_is_that_of_all_three_files(self, tmp_path, write):
        path = Path(write(tmp_path, [[1, 2]]))
        others = [one for one in tmp_path.iterdir() if one != path]
        assert matrix_stat(str(path)).size == sum(one.stat().st_size for one in tmp_path.iterdir())
        for one in others:
            before = matrix_stat(str(path))
            one.write_bytes(one.read_bytes() + b"x")
            assert matrix_stat(str(path)).size == before.size + 1

    def test_another_list_of_genes_makes_another_copy(self, tmp_path):
        counts = [[1, 2], [3, 4]]
        path = write_tenx(tmp_path, counts)
        assert len(read(path, EVERY_CELL)) == 2
        write_tenx(tmp_path, counts, types=["Gene Expression", "Custom"])
        assert_same(read(path, EVERY_CELL), values([[1, 2]]))


def test_memory_does_not_grow_with_the_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix_market, "_BLOCK_BYTES", 1 << 15)
    peaks = []
    for cells in (600, 600, 2_000):  # what the first reading loads and compiles is not what is measured
        counts = np.random.default_rng(1).integers(1, 9, (100, cells))
        path = write_tenx(tmp_path / str(cells), counts)
        rows, taken = np.arange(1), np.ones(1, dtype=np.bool_)
        storage.release(path)
        tracemalloc.start()
        with open_matrix(path, AttributeNames()) as matrix:
            entries = matrix.entries(rows, 500, 501, taken)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert entries.counts.tolist() == [counts[0, 500]]
    assert peaks[2] < peaks[1] * 1.2
