"""10x's HDF5 files: the same cells give the same values as from a loom; what cannot be used is refused by name."""

import gzip
import itertools
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, with_duplicates, write_loom
from oracle import loom_values
from reading import assert_same, read, refusal
from tenx import RANGER, write_old_tenx_h5, write_tenx_h5

from median_spark.genes import GeneTable
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, open_matrix
from median_spark.options import Style, worded

GENES, CELLS = 53, 41
TABLE = GeneTable("", {f"ENSG{number:011d}": "protein_coding" for number in range(GENES)})
EVERY_CELL = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)
COUNTS = [[1, 0, 2], [3, 4, 0]]


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    """What a loom of the same cells gives, by the oracle."""
    path = write_loom(tmp_path_factory.mktemp("loom") / "study.loom", counts, ensembl_id=with_duplicates(GENES))
    return loom_values(path)[0]


def values(counts, rows=None):
    """The values of every gene of some rows, by numpy."""
    counts = np.asarray(counts, dtype=np.float64)
    rows = range(len(counts)) if rows is None else rows
    totals = counts[list(rows)].sum(axis=0)
    cells = {row: np.flatnonzero(counts[row]) for row in rows}
    return {f"ENSG{row:011d}": (of, counts[row, of] / totals[of] * 10_000.0) for row, of in cells.items() if len(of)}


class TestNewer:
    @pytest.mark.parametrize("storage", [RANGER, {}, {"compression": "gzip"}, {"chunks": (7,), "compression": "gzip"}])
    def test_it_gives_the_values_of_the_loom(self, tmp_path, counts, expected, storage):
        path = write_tenx_h5(tmp_path / "study.h5", counts, ids=with_duplicates(GENES), storage=storage)
        assert_same(read(path, EVERY_CELL), expected)
        assert_same(read(path, EVERY_CELL, cuts=[1, 2, 17, 40]), expected)

    def test_rows_of_a_cell_may_come_in_any_order(self, tmp_path, counts, expected):
        path = write_tenx_h5(tmp_path / "study.h5", counts, ids=with_duplicates(GENES))
        rng = np.random.default_rng(1)
        with h5py.File(path, "r+") as file:
            group = file["matrix"]
            data, indices, indptr = (group[name][()] for name in ("data", "indices", "indptr"))
            for begin, end in itertools.pairwise(indptr):
                order = begin + rng.permutation(end - begin)
                data[begin:end], indices[begin:end] = data[order], indices[order]
            group["data"][...], group["indices"][...] = data, indices
        assert_same(read(path, EVERY_CELL), expected)
        assert_same(read(path, EVERY_CELL, cuts=[5]), expected)

    def test_entries_of_one_gene_and_cell_are_summed(self, tmp_path):
        path = write_tenx_h5(
            tmp_path / "study.h5", COUNTS, data=[1, 3, 5, 4, 2], indices=[0, 1, 0, 1, 0], indptr=[0, 3, 4, 5]
        )
        assert_same(read(path, EVERY_CELL), values([[6, 0, 2], [3, 4, 0]]))

    @pytest.mark.parametrize("cuts", [None, [1], [1, 2]])
    def test_only_genes_are_rows_and_count(self, tmp_path, cuts):
        counts, types = [[1, 0, 3], [50, 60, 70], [2, 2, 0]], ["Gene Expression", "Antibody Capture", "Gene Expression"]
        path = write_tenx_h5(tmp_path / "study.h5", counts, types=types)
        assert_same(read(path, EVERY_CELL, cuts), values(counts, [0, 2]))
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.shape == (2, 3)
            assert matrix.gene_ids().tolist() == ["ENSG00000000000", "ENSG00000000002"]
            assert matrix.warnings() == ["1 feature of other types than 'Gene Expression' were left out"]
            assert dict(matrix.describe())["other features"] == "1"

    def test_genomes_that_share_a_matrix(self, tmp_path):
        counts, genomes = [[1, 0, 3], [5, 6, 7], [2, 2, 0]], ["GRCh38", "mm10", "GRCh38"]
        path = write_tenx_h5(tmp_path / "study.h5", counts, genomes=genomes)
        assert_same(read(path, EVERY_CELL), values(counts))
        assert_same(read(path, replace(EVERY_CELL, layer="GRCh38")), values(counts, [0, 2]))
        assert_same(read(path, replace(EVERY_CELL, layer="mm10")), values(counts, [1]))
        with open_matrix(path, AttributeNames()) as matrix:
            assert [worded(text, Style.FLAGS) for text in matrix.warnings()] == [
                "its genes are of 2 genomes, 'GRCh38', 'mm10', and totals are sums over all of them: --layer GRCh38 "
                "takes one"
            ]
        assert refusal(path, replace(EVERY_CELL, layer="hg19")) == (
            "there is no genome 'hg19' in this file; it has 'GRCh38', 'mm10': name one of them with --layer, or leave "
            "it out"
        )

    def test_attributes(self, tmp_path):
        with open_matrix(write_tenx_h5(tmp_path / "study.h5", COUNTS), AttributeNames()) as matrix:
            assert matrix.attributes("row") == ["feature_type", "genome", "id", "name"]
            assert matrix.attributes("cell") == ["barcode"]
            assert matrix.gene_types() is None
            assert matrix.cell_ids(1, 3).tolist() == ["ACGTACGTACGTACGT-1", "ACGTACGTACGTACGT-2"]

    def test_scanpy_reads_the_same(self, tmp_path, counts):
        scanpy = pytest.importorskip("scanpy")
        path = write_tenx_h5(tmp_path / "study.h5", counts)
        theirs = scanpy.read_10x_h5(path)
        assert theirs.var["gene_ids"].tolist() == [f"ENSG{gene:011d}" for gene in range(GENES)]
        assert_same(read(path, EVERY_CELL), values(theirs.X.toarray().T))

    def test_it_may_be_gzipped(self, tmp_path, counts, expected):
        path = Path(write_tenx_h5(tmp_path / "study.h5", counts, ids=with_duplicates(GENES)))
        (tmp_path / "study.h5.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert_same(read(tmp_path / "study.h5.gz", EVERY_CELL), expected)
        assert_same(read(f"file://{tmp_path}/study.h5", EVERY_CELL), expected)
        assert_same(read(f"file://{tmp_path}/study.h5.gz", EVERY_CELL), expected)


class TestOld:
    def test_the_only_genome(self, tmp_path, counts):
        path = write_old_tenx_h5(tmp_path / "study.h5", {"hg19": counts})
        assert_same(read(path, EVERY_CELL), values(counts))
        assert_same(read(path, replace(EVERY_CELL, layer="hg19"), cuts=[9]), values(counts))
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.attributes("row") == ["id", "name"]
            assert matrix.attributes("cell") == ["barcode"]

    def test_one_of_several_genomes(self, tmp_path):
        path = write_old_tenx_h5(tmp_path / "study.h5", {"hg19": COUNTS, "mm10": [[7]]})
        with h5py.File(path, "r+") as file:
            file["something else"] = [1, 2, 3]
            file["group"] = h5py.SoftLink("/nowhere")
        assert_same(read(path, replace(EVERY_CELL, layer="mm10")), values([[7]]))
        assert refusal(path, EVERY_CELL) == (
            "this file has 2 genomes with a matrix each, 'hg19', 'mm10': name one with --layer"
        )
        assert refusal(path, replace(EVERY_CELL, layer="rn6")) == (
            "there is no genome 'rn6' in this file; it has 'hg19', 'mm10': name one with --layer"
        )

    def test_scanpy_reads_the_same(self, tmp_path, counts):
        scanpy = pytest.importorskip("scanpy")
        path = write_old_tenx_h5(tmp_path / "study.h5", {"hg19": counts})
        assert_same(read(path, EVERY_CELL), values(scanpy.read_10x_h5(path, genome="hg19").X.toarray().T))


class TestOthers:
    def test_a_loom_and_an_h5ad_by_that_name(self, tmp_path, counts, expected):
        loom = write_loom(tmp_path / "loom.h5", counts, ensembl_id=with_duplicates(GENES))
        h5ad = write_h5ad(tmp_path / "h5ad.h5", counts, ensembl_id=with_duplicates(GENES))
        for path in (loom, h5ad):
            assert_same(read(path), expected)
        assert [source.name for source in find_sources([str(tmp_path)])] == ["h5ad", "loom"]

    def test_a_list_of_molecules(self, tmp_path):
        with h5py.File(tmp_path / "molecule_info.h5", "w") as file:
            for name in ("barcode_idx", "barcodes", "count", "umi", "feature_idx"):
                file[name] = [1]
        assert refusal(tmp_path / "molecule_info.h5").startswith("this is a molecule_info.h5, which lists molecules")

    def test_any_other_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "study.h5", "w") as file:
            file["matrix/weights"] = [1]
        assert refusal(tmp_path / "study.h5") == (
            "this HDF5 file is none of 10x's matrices: it must have a group 'matrix' (Cell Ranger 3 and later) or one "
            "per genome (2) with data, indices, indptr, shape, barcodes, or be a loom or h5ad; it has 'matrix'"
        )

    def test_no_hdf5_and_no_file(self, tmp_path):
        (tmp_path / "study.h5").write_text("gene,cell\n")
        assert refusal(tmp_path / "study.h5").startswith("this is not an HDF5 file, or it is damaged (")
        assert refusal(tmp_path / "none.h5") == "there is no such file"

    def test_a_matrix_in_another_file(self, tmp_path):
        write_tenx_h5(tmp_path / "other.h5", COUNTS)
        with h5py.File(tmp_path / "study.h5", "w") as file:
            file["matrix"] = h5py.ExternalLink("other.h5", "/matrix")
        assert "this HDF5 file is none of 10x's matrices" in refusal(tmp_path / "study.h5")
        path = write_tenx_h5(tmp_path / "third.h5", COUNTS, data=None)
        with h5py.File(path, "r+") as file:
            file["matrix/data"] = h5py.ExternalLink("other.h5", "/matrix/data")
        assert "'matrix/data' is a link to '/matrix/data' in another file" in refusal(path)


class TestDamage:
    def refused(self, tmp_path, **changes):
        return refusal(write_tenx_h5(tmp_path / "study.h5", COUNTS, **changes), EVERY_CELL)

    @pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
    def test_a_truncated_file(self, tmp_path, left):
        whole = Path(write_tenx_h5(tmp_path / "study.h5", random_counts(np.random.default_rng(1), 99, 99)))
        whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * left)])
        assert refusal(whole).startswith("this HDF5 file is cut off after ")

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"data": [1, 3, 4]}, "has 3 data, 4 indices, and an indptr that ends at 4; these three must be the same"),
            ({"indptr": [0, 2, 4]}, "has 3 numbers in 'indptr', where it must have 4"),
            ({"indptr": [1, 2, 3, 4]}, "has an indptr that begins with 1, where it must with 0"),
            ({"indptr": [0, 3, 2, 4]}, "has an indptr that falls from 3 to 2; it must never fall"),
            ({"indices": [0, 1, 1, 2]}, "has the gene number 2 at entry 3, where it has 2 genes"),
            ({"indices": [0, -1, 1, 0]}, "has the gene number -1 at entry 1, where it has 2 genes"),
            ({"shape": [2, 3, 4]}, "has 3 numbers in 'shape', where it must have 2"),
            ({"shape": [-2, 3]}, "has the shape -2 × 3"),
            ({"shape": [2.0, 3.0]}, "must have a list of whole numbers 'shape'; it is float64 with 1 dimensions"),
            ({"data": [[1, 3, 4, 2]]}, "must have a list of numbers 'data'; it is int64 with 2 dimensions"),
            ({"indices": [0.0, 1.0, 1.0, 0.0]}, "must have a list of whole numbers 'indices'; it is float64"),
        ],
    )
    def test_lists_that_do_not_fit(self, tmp_path, changes, problem):
        assert self.refused(tmp_path, **changes).startswith(f"the matrix 'matrix' {problem}")

    @pytest.mark.parametrize("name", ["data", "indices", "indptr", "barcodes", "features/id", "features/feature_type"])
    def test_a_list_that_does_not_inflate(self, tmp_path, counts, name):
        path = write_tenx_h5(tmp_path / "study.h5", counts)
        with h5py.File(path, "r+") as file:
            held = file["matrix"][name]
            held.id.write_direct_chunk((0,), b"not deflated at all", 0)
        assert re.search("damaged|decompress", refusal(path, EVERY_CELL))

    @pytest.mark.parametrize("chosen", [["Gene Expression", "CRISPR"], None])
    def test_genes_that_are_none_where_only_some_are_rows(self, tmp_path, chosen):
        assert "has the gene number 5 at entry 3" in self.refused(tmp_path, types=chosen, indices=[0, 1, 1, 5])

    def test_lists_of_other_lengths(self, tmp_path):
        assert (
            self.refused(tmp_path, barcodes=["a", "b"]) == "list 'barcode' has shape (2,), where the matrix has 3 cells"
        )
        assert self.refused(tmp_path, ids=["a"]) == "list 'id' has shape (1,), where the matrix has 2 features"
        assert self.refused(tmp_path, types=["Gene Expression"]).startswith("list 'feature_type' has shape (1,)")

    def test_no_gene_among_the_features(self, tmp_path):
        assert self.refused(tmp_path, types=["Peaks", "CRISPR"]) == (
            "list 'feature_type' has no 'Gene Expression'; it has 'CRISPR', 'Peaks'"
        )

    def test_no_ids(self, tmp_path):
        assert self.refused(tmp_path, ids=None).startswith(
            "list 'id' is missing; it has 'feature_type', 'genome', 'name'"
        )

    @pytest.mark.parametrize(
        ("count", "problem"),
        [(-1, "1 negative count"), (np.nan, "1 NaN count"), (np.inf, "1 infinite count"), (1.5, "1 count that is not")],
    )
    def test_counts_that_are_none(self, tmp_path, count, problem):
        message = self.refused(tmp_path, data=np.array([count, 3, 4, 2], dtype=np.float32))
        assert message.startswith(f"the matrix 'matrix' holds {problem}")

    def test_no_totals_and_no_filter(self, tmp_path):
        with open_matrix(write_tenx_h5(tmp_path / "study.h5", COUNTS), AttributeNames()) as matrix:
            for ask, name in ((matrix.n_counts, "n_counts"), (matrix.filter_pass, "filter_pass")):
                with pytest.raises(Exception, match=f"list '{name}' is missing; it has 'barcode'"):
                    ask()

    @pytest.mark.parametrize("extent", [2**31, 2**40])
    def test_a_declared_size_asks_for_no_memory(self, tmp_path, extent):
        message = self.refused(tmp_path, shape=np.array([2, extent], dtype=np.int64))
        assert message.startswith("'the matrix 'matrix'' is declared to be 2 × ")
