"""Inspection: what a path holds, and whether it can be used, or the reason why not."""

import os
import re
import signal
from collections import defaultdict
from dataclasses import replace

import h5py
import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom
from tables import PARAMETERS, record_file, record_of

from median_spark import corpus_inspection, inspection
from median_spark.cli.main import main
from median_spark.digests import digest_values
from median_spark.errors import InputError, TableError
from median_spark.expression import FailureRecord, committed_name, create_table, write_part
from median_spark.gene_values import GeneValues
from median_spark.genes import GeneTable
from median_spark.inspection import _judged, examine, inspect
from median_spark.matrices import ReadOptions, suggestions
from median_spark.options import Style
from median_spark.results import GeneDigests, figures_of, median_table, provenance_of, write_result

RUNS = GeneValues(np.array(["A", "B"]), np.array([0, 2, 3]), np.array([1.0, 2.0, 3.0]), np.array([0, 1, 0], np.int32))
FAILURE = FailureRecord("db/broken", "/looms/db/broken.loom", "is cut off")


def crash(location, options):
    """End the process that reads a file, as HDF5 does over some damaged ones."""
    os.kill(os.getpid(), signal.SIGSEGV)


def fields(path, options=None):
    """Return {field: findings} of what is said about a path."""
    found = defaultdict(list)
    for field, finding in inspect(str(path), options):
        found[field].append(finding)
    return found


@pytest.fixture
def loom(tmp_path):
    """A loom of 8 genes and 5 cells, of which 3 pass."""
    counts = random_counts(np.random.default_rng(0), 8, 5, density=0.5)
    return write_loom(tmp_path / "study.loom", counts, filter_pass=[1, 0, 1, 1, 0], n_counts=[9.0] * 5)


def write_table(folder):
    """Write an expression table of one source, one part and three values, and of one source that failed."""
    table = create_table(str(folder))
    part = write_part(table.staging.unit("c0", 0)[0], RUNS, np.array(["cell0", "cell1"]))
    genes = table.store_genes(["A", "B", "C"])
    parts = [replace(part, name=committed_name(0, "c0"))]
    table.commit(record_of("db/a", "c0", parts, gene_list=genes, cells=2_000, cells_passed=1_500))
    table.record_failure(FAILURE)
    return table


def write_medians(folder):
    digests = dict(zip(RUNS.genes.tolist(), digest_values(RUNS, 100), strict=True))
    merged = GeneDigests(("A", "B", "C"), digests, {"A": 1, "B": 1}, 100.0)
    records = [record_of("db/a")]
    provenance = provenance_of("/expression", records, [FAILURE], {}, "4.0")
    write_result(str(folder), median_table(merged, None), merged, figures_of(records, [FAILURE]), provenance)


class TestMatrix:
    def test_that_can_be_used(self, loom):
        found = fields(loom)
        assert found["matrix"] == [loom, "8 rows × 5 cells, int32, tiles of 8 × 5, gzip"]
        assert found["cells passing"] == ["3 of 5"]
        assert found["genes chosen"] == ["8 in 8 rows of 8"]
        assert found["can be used"] == ["yes, in 1 unit of work"]

    def test_tells_which_rows_are_left_out_and_why(self, tmp_path):
        types = ["protein_coding", "protein_coding", "lncRNA", "miRNA"]
        ids = ["G0", "G0", "G2", "G3"]
        path = write_loom(tmp_path / "study.loom", np.ones((4, 2)), ensembl_id=ids, gene_type=types)
        table = GeneTable("/genes.csv", {"G0": "protein_coding", "G2": "protein_coding"})
        found = fields(path, ReadOptions(gene_table=table))
        assert found["genes chosen"] == ["1 in 2 rows of 4"]
        assert found["rows left out"] == [
            "1 with an id that the gene table lacks",
            "1 of another type than the gene table says",
        ]
        assert found["rows summed"] == ["1 duplicate row of a gene"]

    def test_without_passing_cells_says_why_it_cannot_be_used(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), filter_pass=[0, 0, 0])
        (verdict,) = fields(path)["can be used"]
        assert verdict.startswith("no: none of its 3 cells passes")

    def test_without_totals_says_why_it_cannot_be_used(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), n_counts=None)
        (verdict,) = fields(path)["can be used"]
        assert verdict.startswith("no: ")
        assert "'n_counts' is missing" in verdict

    def test_verdict_follows_the_options(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), filter_pass=[0, 0, 0])
        assert fields(path, ReadOptions(cell_filter=False))["can be used"] == ["yes, in 1 unit of work"]

    def test_a_single_unit_is_read_to_its_end(self, tmp_path):
        counts = np.ones((2, 900))
        counts[1, 2] = -1
        path = write_loom(tmp_path / "study.loom", counts, storage={"chunks": (2, 8)}, n_counts=[2.0] * 900)
        (verdict,) = fields(path)["can be used"]
        assert verdict.startswith("no: the matrix holds 1 negative count (gene 'ENSG00000000001' in cell 'cell2'")

    def test_of_several_units_only_some_counts_are_looked_at(self, tmp_path, monkeypatch):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 900)), storage={"chunks": (2, 8)})
        plain = suggestions.outline
        monkeypatch.setattr(suggestions, "outline", lambda matrix, options, layout: plain(matrix, options, 600, layout))
        # In this process: a child that is a new interpreter, not a fork, does not see the change.
        found = dict(_judged(path, ReadOptions()).findings)
        assert found["can be used"] == "yes, in 3 units of work; only some of its counts were looked at"

    @pytest.mark.parametrize(
        ("changes", "options", "needed"),
        [
            ({"n_counts": None}, {}, "ReadOptions(compute_n_counts=True)"),
            ({"n_counts": None, "col_total_counts": [3.0, 3.0, 3.0]}, {}, "AttributeNames(n_counts='total_counts')"),
            ({"n_counts": None, "col_total_counts": [9.0, 9.0, 9.0]}, {}, "ReadOptions(compute_n_counts=True)"),
            ({"filter_pass": [0, 0, 0], "gene_type": None}, {}, "gene_table=… ReadOptions(cell_filter=False)"),
            (
                {"gene_type": None, "row_biotype": ["lncRNA", "miRNA", "miRNA"]},
                {},
                "AttributeNames(gene_type='biotype')",
            ),
            (
                {"ensembl_id": None, "row_Gene": ["A", "B", "C"], "row_Accession": ["ENSG1", "ENSG2", "ENSG3"]},
                {},
                "AttributeNames(gene_id='Accession')",
            ),
            (
                {"ensembl_id": ["ENSG2.7", "ENSG2.1", "ENSG3.4"]},
                {"gene_table": GeneTable("/genes.csv", {"ENSG2": "miRNA"})},
                "ReadOptions(strip_version=True)",
            ),
        ],
    )
    def test_what_would_have_to_be_given_makes_it_usable(self, tmp_path, changes, options, needed):
        path = write_loom(tmp_path / "study.loom", np.ones((3, 3)), **changes)
        found = fields(path, ReadOptions(**options))
        assert found["can be used"][0].startswith("no: ")
        assert found["would be with"] == [needed]

    def test_where_nothing_that_could_be_given_helps_nothing_is_said(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), n_counts=[1.0, 2.0])
        found = fields(path, ReadOptions(gene_table=GeneTable("/genes.csv", {"ENSG7": "miRNA"})))
        assert found["can be used"][0].startswith("no: none of its 2 gene ids is in the gene table")
        assert "would be with" not in found

    def test_of_fractions_names_the_layer_of_counts(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", np.full((2, 3), 0.5), n_counts=[2.0] * 3)
        assert fields(path)["would be with"] == [
            "ReadOptions(allow_non_integer=True) (if these are counts all the same)"
        ]
        with h5py.File(path, "r+") as file:
            file["layers/counts"] = np.ones((2, 3))
        assert fields(path)["would be with"] == ["ReadOptions(layer='counts')"]

    def test_of_anndata_as_cellxgene_writes_it(self, tmp_path):
        counts = random_counts(np.random.default_rng(0), 8, 5, density=0.5)
        path = write_h5ad(tmp_path / "study.h5ad", counts * 0.3, raw=counts, n_counts=None, filter_pass=None)
        found = fields(path)
        assert found["format"] == ["h5ad (AnnData)"]
        assert found["matrix"][1].startswith("raw.X: 8 genes × 5 cells, CSR, ")
        assert found["ReadOptions(layer='X')"][0].startswith("does not hold counts; 8 genes, CSR, ")
        assert found["ReadOptions(layer='raw.X')"][0].startswith("looks like counts; 8 genes, CSR, ")
        assert found["raw.var columns"] == ["none"]
        assert found["raw.var index"] == ["ENSG00000000000, ENSG00000000001, ENSG00000000002"]
        assert found["obs columns"] == ["none"]
        assert found["would be with"] == [
            "gene_table=… ReadOptions(cell_filter=False) ReadOptions(compute_n_counts=True)"
        ]
        table = GeneTable("/genes.csv", {f"ENSG{number:011d}": "miRNA" for number in range(8)})
        given = ReadOptions(gene_table=table, cell_filter=False, compute_n_counts=True)
        found = fields(path, given)
        assert found["can be used"] == ["yes, in 1 unit of work"]
        assert "raw.X does, so that was read" in found["warning"][0]
        named = fields(path, replace(given, layer="X"))
        assert named["would be with"] == ["ReadOptions(layer='raw.X')"]

    def test_that_is_no_hdf5_is_refused(self, tmp_path):
        (tmp_path / "study.loom").write_text("not HDF5")
        with pytest.raises(InputError, match=r"study\.loom: this is not an HDF5 file"):
            inspect(str(tmp_path / "study.loom"))

    def test_of_another_format_is_refused(self, tmp_path):
        (tmp_path / "study.csv").write_text("a,b\n")
        with pytest.raises(InputError, match=r"study.csv: not a matrix that can be read"):
            inspect(str(tmp_path / "study.csv"))


class TestTable:
    def test_that_can_be_used(self, tmp_path):
        table = write_table(tmp_path / "expression")
        found = fields(table.location)
        assert found["expression table"] == [table.location]
        assert (found["sources"], found["values"]) == (["1"], ["3"])
        assert found["cells passing"] == ["1,500 of 2,000"]
        assert "in 1 part, " in found["stored"][0]
        assert found["failed source"] == ["db/broken: is cut off"]
        assert found["genes"] == ["3 in the universe"]
        assert found["target sum"] == ["10000"]
        assert found["can be used"] == ["yes"]

    def test_without_sources_says_so(self, tmp_path):
        table = create_table(str(tmp_path / "expression"))
        assert fields(table.location)["can be used"] == ["no: the expression table holds no source: convert some first"]

    def test_whose_sources_cannot_be_pooled_says_why(self, tmp_path):
        table = write_table(tmp_path / "expression")
        table.commit(record_of("db/b", parameters=PARAMETERS | {"target_sum": 1e6}))
        (verdict,) = fields(table.location)["can be used"]
        assert verdict.startswith("no: ")
        assert "target_sum" in verdict

    def test_that_is_damaged_is_refused(self, tmp_path):
        table = write_table(tmp_path / "expression")
        path = record_file(tmp_path / "expression")
        path.write_text("{")
        with pytest.raises(TableError, match=rf"{path.name}: this record is damaged"):
            inspect(table.location)


class TestResult:
    def test_tells_its_figures(self, tmp_path):
        write_medians(tmp_path / "medians")
        found = fields(tmp_path / "medians")
        assert found["result"] == [str(tmp_path / "medians")]
        assert found["genes"] == [
            "3: 2 detected, 0 in more than 100 cells, 0 in more than 1,000; median detection count 1"
        ]
        assert (found["target sum"], found["compression"]) == (["10,000"], ["100"])
        assert found["dictionaries"][0].startswith("2 genes after the special tokens pad, mask")
        assert found["failed source"] == ["db/broken: is cut off"]
        assert " by median_spark " in found["written"][0]

    @pytest.mark.parametrize("text", ["", "{", "[]", None])
    @pytest.mark.parametrize("name", ["provenance.json", "summary.json"])
    def test_that_is_damaged_is_refused_by_name(self, tmp_path, name, text):
        write_medians(tmp_path / "medians")
        document = tmp_path / "medians" / name
        document.unlink() if text is None else document.write_text(text)
        with pytest.raises((TableError, InputError), match=str(tmp_path / "medians")):
            inspect(str(tmp_path / "medians"))


class TestRun:
    def test_tells_of_its_table_and_its_result(self, tmp_path):
        write_table(tmp_path / "run" / "expression")
        write_medians(tmp_path / "run" / "medians")
        found = fields(tmp_path / "run")
        assert found["run"] == [str(tmp_path / "run")]
        assert found["expression table"] == [str(tmp_path / "run" / "expression")]
        assert found["result"] == [str(tmp_path / "run" / "medians")]

    def test_that_has_no_result_yet(self, tmp_path):
        write_table(tmp_path / "run" / "expression")
        assert "result" not in fields(tmp_path / "run")


class TestNothing:
    def test_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="missing: there is no such file or folder"):
            inspect(str(tmp_path / "missing"))

    def test_empty_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=f"{tmp_path}: there is no .loom, .* it is empty: name a matrix"):
            inspect(str(tmp_path))


class TestCorpus:
    """Folders and patterns of several matrices."""

    def write(self, folder):
        counts = random_counts(np.random.default_rng(0), 8, 5, density=0.5)
        for name in ("db1/one.loom", "db2/two.loom"):
            (folder / name).parent.mkdir()
            write_loom(folder / name, counts, filter_pass=[1, 0, 1, 1, 0], n_counts=counts.sum(axis=0))
        write_h5ad(folder / "three.h5ad", counts)

    def test_says_what_it_holds_and_what_each_would_give(self, tmp_path):
        self.write(tmp_path)
        found = fields(tmp_path)
        assert found["folder of matrices"] == [str(tmp_path)]
        assert found["matrices"][0].startswith("3, ")
        assert found["formats"] == ["h5ad (1), loom (2)"]
        assert found["layouts"] == ["geneformer (3)"]
        assert found["cells passing"] == ["11 of 15"]
        assert found["sources"] == ["db1/one: 3 of 5 cells pass, 8 genes"]
        assert found[""] == [
            "db2/two: 3 of 5 cells pass, 8 genes",
            "three: 5 of 5 cells pass, 8 genes",
        ]
        assert found["can be used"] == ["yes; their counts were not read, except for a few"]

    def test_a_reason_that_several_share_is_said_once(self, tmp_path, capsys):
        self.write(tmp_path)
        for name in ("a", "b", "c", "d"):
            write_loom(tmp_path / f"{name}.loom", np.ones((2, 3)), n_counts=None)
        (tmp_path / "text.loom").write_text("not HDF5")
        assert main(["inspect", str(tmp_path)]) == 2
        lines = capsys.readouterr().out.splitlines()
        reasons = [line.removeprefix("cannot be used").strip() for line in lines if line.startswith("cannot be used")]
        assert reasons[0].startswith("4 sources ('a', 'b', 'c' and 1 more): column attribute 'n_counts' is missing")
        assert reasons[1].startswith(f"{tmp_path}/text.loom: this is not an HDF5 file")
        found = {field: line for line in lines if (field := line[:18].strip())}
        assert re.fullmatch(r"matrices +8, [\d,]+ bytes; 5 cannot be used", found["matrices"])
        assert found["formats"].endswith(" h5ad (1), loom (7)")
        assert lines[-1].startswith("can be used         no: 5 of 8 matrices cannot be used; inspect one of them")

    def test_of_many_it_says_how_many_of_those_it_opened_cannot_be_used(self, tmp_path, monkeypatch):
        self.write(tmp_path)
        (tmp_path / "db1" / "one.loom").write_text("not HDF5")
        monkeypatch.setattr(corpus_inspection, "MOST_EXAMINED", 2)
        found = dict(examine(str(tmp_path)).pairs)
        assert found["matrices"].endswith(" bytes")
        assert found["inspected"].endswith("in the order of their names; 1 cannot be used")
        assert found["formats"] == "h5ad (1), loom (1)"

    def test_follows_a_pattern_and_the_options(self, tmp_path):
        self.write(tmp_path)
        found = fields(tmp_path / "db*" / "*.loom", ReadOptions(cell_filter=False))
        assert found["cells passing"] == ["10 of 10"]

    def test_of_many_some_are_opened(self, tmp_path, monkeypatch):
        self.write(tmp_path)
        monkeypatch.setattr(corpus_inspection, "MOST_EXAMINED", 2)
        found = fields(tmp_path)
        assert found["matrices"][0].startswith("3, ")
        assert found["inspected"] == ["2 of these, at equal distances in the order of their names"]
        lines = found["sources"] + found[""]
        assert [line.partition(":")[0] for line in lines] == ["db1/one", "three"]

    @pytest.mark.slow
    def test_one_that_crashes_its_reader_is_named(self, tmp_path, monkeypatch):
        self.write(tmp_path)
        monkeypatch.setattr(corpus_inspection, "_glance", crash)
        problem = examine(str(tmp_path)).problem
        assert "3 of 3 matrices cannot be used" in str(problem)


class TestStatus:
    """What the command prints and ends with."""

    def said(self, path, capsys, *arguments):
        status = main(["inspect", str(path), *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    def test_of_a_matrix_that_can_be_used(self, loom, capsys):
        status, out, err = self.said(loom, capsys)
        assert (status, err) == (0, "")
        assert "yes, in 1 unit of work" in out

    @pytest.mark.parametrize("changes", [{"n_counts": None}, {"filter_pass": ["full"] * 3}, {"gene_type": ["x"] * 2}])
    def test_of_a_matrix_that_cannot(self, tmp_path, capsys, changes):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), **changes)
        status, out, err = self.said(path, capsys)
        assert (status, err) == (2, "")
        assert "2 rows × 3 cells" in out
        problem = examine(path).problem
        assert isinstance(problem, InputError)
        assert problem.worded(Style.FLAGS).removeprefix(f"{path}: ") in out

    def test_of_a_matrix_that_can_be_used_with_what_is_proposed(self, tmp_path, capsys):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), filter_pass=["full", "minimal", "full"])
        status, out, _ = self.said(path, capsys)
        assert status == 2
        assert out.rstrip().endswith("--filter-value full")
        status, out, _ = self.said(path, capsys, "--filter-value", "full")
        assert status == 0
        assert "2 of 3" in out

    @pytest.mark.parametrize(
        ("step", "known", "unknown"),
        [
            ("_judged", "2 rows × 3 cells", "would be with"),
            ("find_suggestions", "filter_pass' holds texts", "--filter-value full"),
        ],
    )
    def test_of_a_matrix_that_crashes_a_step(self, tmp_path, capsys, monkeypatch, step, known, unknown):
        path = write_loom(tmp_path / "study.loom", np.ones((2, 3)), filter_pass=["full", "minimal", "full"])
        monkeypatch.setattr(inspection, step, crash)
        status, out, err = self.said(path, capsys)
        assert (status, err) == (2, "")
        assert known in out
        assert unknown not in out
        assert out.count("was ended by SIGSEGV") == 1

    def test_of_a_matrix_that_crashes_the_first_step(self, loom, capsys, monkeypatch):
        monkeypatch.setattr(inspection, "_described", crash)
        status, out, err = self.said(loom, capsys)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {loom}: the process that read it was ended by SIGSEGV")

    def test_of_what_nothing_can_be_told_about(self, tmp_path, capsys):
        (tmp_path / "study.loom").write_text("not HDF5")
        status, out, err = self.said(tmp_path / "study.loom", capsys)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {tmp_path}/study.loom: this is not an HDF5 file")

    def test_of_a_table_whose_genes_are_damaged(self, tmp_path, capsys):
        table = write_table(tmp_path / "expression")
        (genes,) = (tmp_path / "expression" / "genes").iterdir()
        genes.write_bytes(b"PAR1")
        status, out, _ = self.said(table.location, capsys)
        assert status == 2
        assert "1,500 of 2,000" in out
        assert "no: genes" not in out
        assert "this list of genes cannot be read" in out
        assert isinstance(examine(table.location).problem, TableError)

    def test_of_an_empty_table(self, tmp_path, capsys):
        table = create_table(str(tmp_path / "expression"))
        status, out, _ = self.said(table.location, capsys)
        assert status == 2
        assert "no: the expression table holds no source" in out

    @pytest.mark.parametrize("text", ["", "{", "[]"])
    @pytest.mark.parametrize("name", ["provenance.json", "summary.json"])
    def test_of_a_run_whose_result_is_damaged(self, tmp_path, capsys, name, text):
        write_table(tmp_path / "run" / "expression")
        write_medians(tmp_path / "run" / "medians")
        (tmp_path / "run" / "medians" / name).write_text(text)
        status, out, _ = self.said(tmp_path / "run", capsys)
        assert status == 2
        assert "1,500 of 2,000" in out
        assert str(examine(str(tmp_path / "run")).problem) in out

    @pytest.mark.parametrize("document", ["sources/*.jsonl", "format.json", "failed/db%2Fbroken.json"])
    def test_of_a_run_whose_table_is_damaged(self, tmp_path, capsys, document):
        write_table(tmp_path / "run" / "expression")
        write_medians(tmp_path / "run" / "medians")
        (path,) = (tmp_path / "run" / "expression").glob(document)
        path.write_text("{")
        status, out, _ = self.said(tmp_path / "run", capsys)
        assert status == 2
        assert str(path) in out
        assert "after the special tokens" in out
