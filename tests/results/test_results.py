"""Results: the median table, the published files, the figures, and a folder that is the old result or the new one."""

import csv
import io
import json
import math
import pickle
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from crick import TDigest
from cricks import from_crick
from hypothesis import given
from hypothesis import strategies as st
from tables import COMPRESSION, PARAMETERS, ROW_COUNTS, digests_of, files_limited_to, record_of

from median_spark.errors import DigestError, OutputError, TableError
from median_spark.expression import FailureRecord
from median_spark.report import report_page
from median_spark.results import (
    DIGESTS_SCHEMA,
    MEDIANS_SCHEMA,
    RESULT_FORMAT_VERSION,
    ExactMedian,
    Provenance,
    check_result_target,
    figures_of,
    median_table,
    provenance_of,
    read_provenance,
    read_result,
    read_summary,
    summarise,
    write_result,
)
from median_spark.results.sources import encode_sources

PICKLES = (
    "total_gene_tdigest_dict.pickle",
    "total_gene_median_dict.pickle",
    "detected_gene_median_dict.pickle",
    "gene_detection_counts_dict.pickle",
)
FILES = {
    "medians.parquet",
    "medians.csv",
    "digests.parquet",
    *PICKLES,
    "summary.json",
    "provenance.json",
    "sources.parquet",
    "metrics.parquet",
    "metrics.csv",
    "detection_counts.png",
    "report.html",
    "geneformer/gene_median_dictionary.pkl",
    "geneformer/token_dictionary.pkl",
    "geneformer/ensembl_mapping_dict.pkl",
    "geneformer/gene_median_dictionary.json",
    "geneformer/token_dictionary.json",
    "geneformer/ensembl_mapping_dict.json",
}


FAILURE = FailureRecord("db/c", "/looms/db/c.loom", "is cut off")

VALUES = {
    "ENSG1": [0.3, 0.1, 0.2],
    "ENSG2": [],
    "ENSG3": np.random.default_rng(0).lognormal(size=1_500),
    "ENSG4": np.random.default_rng(1).lognormal(size=101),
    "ENSG5": [],
    "ENSG6": [1 / 3],
}
EXACT = {
    gene: ExactMedian(float(np.median(values)), 0.01 * number)
    for number, (gene, values) in enumerate(VALUES.items())
    if len(values)
}


def write(location, values=VALUES, provenance=None, **changes):
    merged = replace(digests_of(values), **changes)
    records = [record_of("db/a", values=30), record_of("db/b", values=30)]
    if provenance is None:
        provenance = provenance_of("/expression", records, [FAILURE], {"compression": COMPRESSION}, "4.0")
    table = median_table(digests_of(values), None)
    return write_result(str(location), table, merged, figures_of(records, [FAILURE]), provenance, report=report_page)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A result folder; not to be written to."""
    folder = tmp_path_factory.mktemp("results") / "medians"
    write(folder)
    return folder


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


class TestMedianTable:
    def test_has_a_row_for_every_gene_of_the_universe_ascending(self):
        table = median_table(digests_of(VALUES), None)
        assert table.schema.equals(MEDIANS_SCHEMA)
        assert table["gene"].to_pylist() == sorted(VALUES)

    def test_of_few_values_is_numpys_to_the_bit(self):
        rows = {row["gene"]: row for row in median_table(digests_of(VALUES), None).to_pylist()}
        for gene in ("ENSG1", "ENSG4", "ENSG6"):
            assert rows[gene]["median"] == np.median(VALUES[gene])

    def test_of_many_values_is_near(self):
        row = median_table(digests_of(VALUES), None).to_pylist()[2]
        values = VALUES["ENSG3"]
        for name, quantile in {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}.items():
            assert abs(np.mean(values <= row[name]) - quantile) < 0.01
        assert (row["min"], row["max"]) == (values.min(), values.max())

    def test_takes_the_exact_median_and_keeps_the_digests(self):
        rows = [row for row in median_table(digests_of(VALUES), EXACT).to_pylist() if row["n_cells"]]
        estimates = [row["median"] for row in median_table(digests_of(VALUES), None).to_pylist() if row["n_cells"]]
        assert [row["median"] for row in rows] == [exact.median for exact in EXACT.values()]
        assert [row["digest_median"] for row in rows] == estimates
        assert [row["digest_rank_error"] for row in rows] == [exact.rank_error for exact in EXACT.values()]

    def test_without_exact_medians_the_rank_error_is_null(self):
        table = median_table(digests_of(VALUES), None)
        assert table["median"].equals(table["digest_median"])
        assert table["digest_rank_error"].null_count == len(VALUES)

    def test_counts_cells_and_sources(self):
        table = median_table(digests_of(VALUES, n_sources=2), None)
        assert table["n_cells"].to_pylist() == [3, 0, 1_500, 101, 0, 1]
        assert table["n_sources"].to_pylist() == [2, 0, 2, 2, 0, 2]

    def test_undetected_genes_have_nulls_and_no_nan(self):
        table = median_table(digests_of(VALUES), None)
        for name in set(MEDIANS_SCHEMA.names) - {"gene", "n_cells", "n_sources", "share_detected", "digest_rank_error"}:
            least = 2 if name == "sd" else 1
            assert [value is None for value in table[name].to_pylist()] == [len(v) < least for v in VALUES.values()]
            assert not np.isnan(table[name].drop_null().to_numpy()).any()

    def test_means_and_deviations_are_those_of_the_values(self):
        for row in median_table(digests_of(VALUES), None).to_pylist():
            values = VALUES[row["gene"]]
            if len(values):
                assert row["mean"] == pytest.approx(np.mean(values), rel=1e-13)
            if len(values) > 1:
                assert row["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-11)

    def test_the_share_of_cells_is_of_those_that_pass(self):
        assert median_table(digests_of(VALUES), None)["share_detected"].null_count == len(VALUES)
        table = median_table(digests_of(VALUES), None, 3_000)
        assert table["share_detected"].to_pylist() == [len(values) / 3_000 for values in VALUES.values()]

    def test_of_digests_that_others_made_means_are_null(self):
        table = median_table(replace(digests_of(VALUES), means=None), None)
        assert table["mean"].null_count == table["sd"].null_count == len(VALUES)

    def test_without_any_detected_gene(self):
        table = median_table(digests_of({"ENSG1": [], "ENSG2": []}), None)
        assert table["median"].null_count == 2
        assert table["n_cells"].to_pylist() == [0, 0]

    @given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=300))
    def test_figures_ascend_from_min_to_max(self, values):
        (row,) = median_table(digests_of({"A": values}), None).to_pylist()
        figures = [row[name] for name in ("min", "q05", "q25", "median", "q75", "q95", "max")]
        assert all(high >= low * (1 - 1e-12) for low, high in pairwise(figures))
        assert all(row["min"] <= figure <= row["max"] for figure in figures)


class PlainUnpickler(pickle.Unpickler):
    """Loads what is made of dict, str, float and int, and refuses every class."""

    def find_class(self, module, name):
        message = f"{module}.{name}"
        raise pickle.UnpicklingError(message)


class DigestUnpickler(pickle.Unpickler):
    """Loads crick digests as well, and the arrays in them."""

    def find_class(self, module, name):
        if module.split(".")[0] in {"crick", "numpy"}:
            return super().find_class(module, name)
        message = f"{module}.{name}"
        raise pickle.UnpicklingError(message)


class TestPickles:
    @pytest.mark.parametrize("name", PICKLES[1:])
    def test_plain_ones_need_no_class_to_load(self, result, name):
        found = PlainUnpickler(io.BytesIO((result / name).read_bytes())).load()
        assert {type(gene) for gene in found} == {str}
        assert {type(value) for value in found.values()} == {int if "counts" in name else float}
        assert list(found) == sorted(found)

    def test_total_medians_are_nan_where_undetected(self, result):
        found = pickle.loads((result / PICKLES[1]).read_bytes())
        assert [math.isnan(found[gene]) for gene in VALUES] == [not len(values) for values in VALUES.values()]

    def test_detected_medians_lack_the_undetected(self, result):
        found = pickle.loads((result / PICKLES[2]).read_bytes())
        table = pq.read_table(result / "medians.parquet").to_pylist()
        assert found == {row["gene"]: row["median"] for row in table if row["n_cells"]}

    def test_counts_are_of_every_gene(self, result):
        found = pickle.loads((result / PICKLES[3]).read_bytes())
        assert found == {gene: len(values) for gene, values in VALUES.items()}

    def test_digests_are_cricks_of_every_gene(self, result):
        found = DigestUnpickler(io.BytesIO((result / PICKLES[0]).read_bytes())).load()
        assert list(found) == sorted(VALUES)
        assert {type(digest) for digest in found.values()} == {TDigest}
        assert {digest.compression for digest in found.values()} == {COMPRESSION}
        assert [digest.size() for digest in found.values()] == [len(values) for values in VALUES.values()]

    def test_digests_hold_the_centroids_of_the_table(self, result):
        found = pickle.loads((result / PICKLES[0]).read_bytes())
        for row in pq.read_table(result / "digests.parquet").to_pylist():
            digest = from_crick(found[row["gene"]])
            assert (digest.n, digest.min, digest.max) == (row["n"], row["min"], row["max"])
            assert digest.means.tolist() == row["mean"]
            assert digest.weights.tolist() == row["weight"]


class TestFiles:
    def test_are_those_of_the_contract(self, result):
        assert set(content(result)) == FILES

    def test_medians_are_the_table(self, result):
        assert pq.read_table(result / "medians.parquet").equals(median_table(digests_of(VALUES), None))

    def test_digests_are_of_the_detected_genes(self, result):
        table = pq.read_table(result / "digests.parquet")
        assert table.schema.equals(DIGESTS_SCHEMA)
        assert table["gene"].to_pylist() == [gene for gene, values in VALUES.items() if len(values)]

    def test_csv_reads_back_to_the_same_bits(self, result):
        table = pq.read_table(result / "medians.parquet").to_pylist()
        with (result / "medians.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert list(rows[0]) == MEDIANS_SCHEMA.names
        for row, wanted in zip(rows, table, strict=True):
            assert row.pop("gene") == wanted.pop("gene")
            assert {name: float(text) if text else None for name, text in row.items()} == wanted

    def test_csv_writes_counts_as_integers(self, result):
        with (result / "medians.csv").open(newline="") as lines:
            assert [row["n_cells"] for row in csv.DictReader(lines)] == ["3", "0", "1500", "101", "0", "1"]

    @pytest.mark.parametrize(
        "counts", [{"A": 5}, {"A": 0, "B": 0}, {"A": 3, "B": 3, "C": 3}, {f"G{n}": n for n in range(40)}]
    )
    def test_histogram_is_a_png_of_1500_by_750(self, tmp_path, counts):
        write(tmp_path / "result", {gene: np.arange(1.0, n + 1) for gene, n in counts.items()})
        picture = (tmp_path / "result" / "detection_counts.png").read_bytes()
        assert picture[:16] == b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
        assert struct.unpack(">II", picture[16:24]) == (1_500, 750)
        assert picture.endswith(b"IEND\xaeB`\x82")

    def test_provenance_has_every_source_and_every_failure(self, result):
        found = json.loads((result / "provenance.json").read_text())
        assert found["format_version"] == RESULT_FORMAT_VERSION
        assert (found["sources_file"]["file"], found["sources_file"]["sources"]) == ("sources.parquet", 2)
        assert found["settings"] == [
            {"sources": 2, "parameters": PARAMETERS, "software": {"median_spark": "0"}, "layout": None}
        ]
        rows = pq.read_table(result / "sources.parquet").to_pylist()
        assert [row["source"] for row in rows] == ["db/a", "db/b"]
        assert [rows[0][name] for name in ("path", "size", "mtime_ns")] == ["/looms/db/a.loom", 100, 7]
        assert rows[0]["row_census"] == json.loads(json.dumps(ROW_COUNTS.as_json()))
        assert (rows[0]["warnings"], rows[0]["setting"]) == (["few cells pass"], 0)
        assert found["failed_sources"] == [{"source": "db/c", "path": "/looms/db/c.loom", "reason": "is cut off"}]
        assert found["parameters"] == {"compression": COMPRESSION}
        assert found["software"]["spark"] == "4.0"
        assert {"median_spark", "python", "numpy", "crick"} <= set(found["software"])

    def test_provenance_tells_states_of_the_table_apart(self):
        states = {
            provenance_of("/expression", records, [], {}, "4.0").expression_state
            for records in (
                [record_of("a"), record_of("b")],
                [record_of("b"), record_of("a")],
                [record_of("a"), record_of("b", conversion="c1")],
                [record_of("a")],
            )
        }
        assert len(states) == 3


class TestSummary:
    def test_figures_are_those_counted_by_hand(self):
        values = {gene: np.ones(n) for gene, n in {"A": 0, "B": 100, "C": 101, "D": 1_000, "E": 1_001, "F": 0}.items()}
        records = [record_of("a", values=30), record_of("b", cells=7, cells_passed=6, values=5)]
        summary = summarise(median_table(digests_of(values), None), figures_of(records, [FAILURE]), COMPRESSION)
        assert (summary.sources, summary.cells, summary.cells_passed, summary.values) == (2, 27, 21, 35)
        assert (summary.genes, summary.genes_detected) == (6, 4)
        assert (summary.genes_in_more_than_100_cells, summary.genes_in_more_than_1000_cells) == (3, 1)
        assert summary.median_detection_count == (100 + 101) / 2
        assert summary.median_detection_count_of_detected == (101 + 1_000) / 2
        assert (summary.target_sum, summary.compression) == (10_000.0, COMPRESSION)
        assert [failed.source for failed in summary.failed_sources] == ["db/c"]

    def test_tells_the_digests_errors_where_medians_are_exact(self):
        summary = summarise(median_table(digests_of(VALUES), EXACT), figures_of([record_of("a")], []), COMPRESSION)
        errors = [exact.rank_error for exact in EXACT.values()]
        assert summary.medians_are == "exact"
        assert summary.worst_digest_rank_error == max(errors) == 0.05
        assert summary.p99_digest_rank_error == np.percentile(errors, 99)

    def test_tells_no_errors_where_medians_are_estimates(self):
        summary = summarise(median_table(digests_of(VALUES), None), figures_of([record_of("a")], []), COMPRESSION)
        assert summary.medians_are == "digest estimates"
        assert (summary.worst_digest_rank_error, summary.p99_digest_rank_error) == (None, None)

    def test_without_a_detected_gene(self):
        summary = summarise(median_table(digests_of({"A": []}), None), figures_of([record_of("a")], []), COMPRESSION)
        assert summary.median_detection_count == 0
        assert summary.median_detection_count_of_detected is None

    def test_is_what_write_result_returns_and_read_summary_reads(self, tmp_path):
        summary = write(tmp_path / "result")
        assert read_summary(str(tmp_path / "result")) == summary
        document = json.loads((tmp_path / "result" / "summary.json").read_text())
        assert document == {"format_version": RESULT_FORMAT_VERSION, **summary.as_json()}

    def test_of_no_result_is_refused(self, tmp_path):
        with pytest.raises(TableError, match=r"has no summary\.json"):
            read_summary(str(tmp_path))

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format_version": 99}'])
    def test_damaged_or_of_another_version_is_refused(self, tmp_path, text):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(TableError, match=str(tmp_path)):
            read_summary(str(tmp_path))


class TestDocuments:
    def test_provenance_reads_back_to_the_same_document(self, result):
        document = json.loads((result / "provenance.json").read_text())
        provenance = read_provenance(str(result))
        again = provenance.as_json(encode_sources(provenance.sources))
        assert {"format_version": RESULT_FORMAT_VERSION, **again} == document
        assert list(again) == list(document)[1:]

    def test_of_older_versions_lack_fields(self, tmp_path):
        write(tmp_path / "result")
        for name, lacking in (
            ("summary.json", ("geneformer", "p99_digest_rank_error")),
            ("provenance.json", ("expression_state", "failed_sources")),
        ):
            document = json.loads((tmp_path / "result" / name).read_text())
            for field in lacking:
                del document[field]
            if name == "provenance.json":
                del document["sources_file"], document["settings"]
                document["sources"] = [{"source": "db/a", "cells": 20, "parameters": PARAMETERS}]
            (tmp_path / "result" / name).write_text(json.dumps(document))
        assert read_summary(str(tmp_path / "result")).geneformer is None
        provenance = read_provenance(str(tmp_path / "result"))
        assert (provenance.failed_sources, provenance.sources[0].median_n_counts) == ([], None)
        assert report_page(read_result(str(tmp_path / "result"))).startswith(b"<!doctype html>")

    @pytest.mark.parametrize("sources", ['[{"cells": 3}]', "3", '[{"source": "a", "input": {"path": "/a.loom"}}]'])
    def test_provenance_that_is_damaged_is_named(self, tmp_path, sources):
        (tmp_path / "provenance.json").write_text(f'{{"sources": {sources}}}')
        with pytest.raises(TableError, match=rf"{tmp_path}: provenance.json of this result is damaged"):
            read_provenance(str(tmp_path))


class TestWriteResult:
    def test_replaces_all_of_an_older_result_and_keeps_what_is_not_of_a_result(self, tmp_path):
        write(tmp_path / "result")
        others = {"note.txt", "geneformer/note.txt", "figures/a.png"}
        (tmp_path / "result" / "figures").mkdir()
        for name in (*others, "by_group.parquet", "groups.csv"):
            (tmp_path / "result" / name).write_text(name)
        write(tmp_path / "result", {"NEW": [1.0]})
        assert set(content(tmp_path / "result")) == FILES | others
        assert all((tmp_path / "result" / name).read_text() == name for name in others)
        assert pq.read_table(tmp_path / "result" / "medians.parquet")["gene"].to_pylist() == ["NEW"]
        assert [path.name for path in tmp_path.iterdir()] == ["result"]

    def test_makes_the_folders_above(self, tmp_path):
        write(tmp_path / "a" / "b" / "result")
        assert set(content(tmp_path / "a" / "b" / "result")) == FILES

    @pytest.mark.parametrize("size", [0, 1_000, 8_000, 20_000])
    def test_on_a_full_disk_leaves_the_old_result(self, tmp_path, size):
        write(tmp_path / "result")
        before = content(tmp_path / "result")
        with files_limited_to(size), pytest.raises(OutputError, match=r"result: the result cannot be written"):
            write(tmp_path / "result", VALUES | {"NEW": [1.0]})
        assert content(tmp_path / "result") == before
        assert [path.name for path in tmp_path.iterdir()] == ["result"]

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            ({"n": 7}, "means must ascend"),
            ({"means": np.array([0.3, 0.2, 0.1])}, "means must ascend"),
            ({"weights": np.array([4.0, -2.0, 1.0])}, "means must ascend"),
            ({"max": math.nan}, "means must ascend"),
            ({"n": 201, "means": np.full(201, 0.2), "weights": np.ones(201)}, "at most 200 centroids, not 201"),
        ],
        ids=["n", "means descend", "weight below 0", "max is NaN", "too many centroids"],
    )
    def test_with_a_damaged_digest_leaves_the_old_result(self, tmp_path, damage, words):
        write(tmp_path / "result")
        before = content(tmp_path / "result")
        damaged = digests_of(VALUES).digests
        damaged["ENSG1"] = replace(damaged["ENSG1"], **damage)
        with pytest.raises(DigestError, match=words):
            write(tmp_path / "result", digests=damaged)
        assert content(tmp_path / "result") == before
        assert [path.name for path in tmp_path.iterdir()] == ["result"]

    def test_with_a_provenance_that_is_no_json_leaves_nothing(self, tmp_path):
        with pytest.raises(TypeError):
            write(tmp_path / "result", provenance=Provenance(parameters={"compression": object()}))
        assert list(tmp_path.iterdir()) == []

    def test_below_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="file/result: this folder cannot be written"):
            write(tmp_path / "file" / "result")


class TestCheckResultTarget:
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_accepts_what_is_not_there_and_writes_nothing(self, tmp_path, overwrite):
        check_result_target(str(tmp_path / "new"), overwrite=overwrite)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("held", [[], ["lock"]])
    def test_accepts_an_empty_folder(self, tmp_path, held):
        for name in held:
            (tmp_path / name).touch()
        check_result_target(str(tmp_path), overwrite=False)

    def test_accepts_a_result_that_may_be_replaced(self, result):
        check_result_target(str(result), overwrite=True)

    def test_refuses_a_result_that_may_not_be_replaced(self, result):
        with pytest.raises(OutputError, match="there is a result already; replace it with overwrite=True"):
            check_result_target(str(result), overwrite=False)

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("held", [["thesis.txt"], ["summary.json"], ["medians.parquet", "thesis.txt"]])
    def test_refuses_a_folder_that_holds_something_else(self, tmp_path, held, overwrite):
        for name in held:
            (tmp_path / name).touch()
        with pytest.raises(OutputError, match=f"contains files other than those of a result .*{held[0]}"):
            check_result_target(str(tmp_path), overwrite=overwrite)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_refuses_a_file(self, tmp_path, overwrite):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="this is a file"):
            check_result_target(str(tmp_path / "file"), overwrite=overwrite)
