"""Merging digests of earlier runs and of the published notebook: figures exact, medians near, nothing twice."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from oracle import corpus_values, read_types
from published import digest_loom
from published import merge as published_merge
from tables import PARAMETERS, record_of

from median_spark import merge, read_gene_table
from median_spark.cli import main
from median_spark.digests import digest_values, sort_values
from median_spark.errors import DigestError, InputError, OutputError, TableError, UsageError
from median_spark.gene_values import GeneValues
from median_spark.genes import GeneTable
from median_spark.merging import find_digests
from median_spark.merging.pool import DigestPool
from median_spark.results import (
    GeneDigests,
    LeftOutIds,
    figures_of,
    median_table,
    provenance_of,
    read_provenance,
    write_result,
)
from median_spark.results.sources import encode_sources

SUFFIX = ".gene_median_digest_dict.pickle"
TOTAL = "total_gene_tdigest_dict.pickle"


def gene_values_of(values):
    """Return the sorted values of {gene: values}."""
    held = {gene: np.asarray(found, dtype=np.float64) for gene, found in sorted(values.items()) if len(found)}
    offsets = np.concatenate([[0], np.cumsum([len(found) for found in held.values()], dtype=np.int64)])
    runs = GeneValues(np.array(list(held), dtype=np.str_), offsets, np.concatenate([[], *held.values()]))
    sort_values(runs)
    return runs


def digests_of(values, compression):
    found = gene_values_of(values)
    return dict(zip(found.genes.tolist(), digest_values(found, compression), strict=True))


def write_earlier(folder, sources, compression=200.0, **parameters):
    """Write the result of an earlier run over {source: {gene: values}}; a gene without values is undetected."""
    genes = sorted(set().union(*sources.values()))
    joined = {gene: np.concatenate([[], *(found.get(gene, []) for found in sources.values())]) for gene in genes}
    n_sources = {gene: sum(1 for found in sources.values() if len(found.get(gene, []))) for gene in genes}
    merged = GeneDigests(tuple(genes), digests_of(joined, compression), n_sources, compression)
    records = [
        record_of(
            name,
            conversion=f"conversion of {folder}/{name}",
            values=sum(map(len, found.values())),
            parameters={**PARAMETERS, **parameters},
        )
        for name, found in sorted(sources.items())
    ]
    provenance = provenance_of("/expression", records, [], {"compression": compression, "exact": False}, "4.0")
    write_result(str(folder), median_table(merged, None), merged, figures_of(records, []), provenance)
    return folder


def random_sources(seed, names, genes=12, most=3_000):
    """Return {source: {gene: values}}, some genes of few values, some of many, one of none."""
    rng = np.random.default_rng(seed)
    sizes = np.linspace(0, 1, genes) ** 3 * most
    return {
        name: {
            f"ENSG{gene:03d}": rng.lognormal(rng.normal(0, 0.3), 1, int(size * rng.uniform(0.5, 1)))
            for gene, size in enumerate(sizes)
        }
        for name in names
    }


def joined(*corpora):
    """Return {gene: all values} over corpora of {source: {gene: values}}, and of how many sources each gene is."""
    sources = [found for corpus in corpora for found in corpus.values()]
    genes = sorted(set().union(*sources))
    values = {gene: np.concatenate([[], *(found.get(gene, []) for found in sources)]) for gene in genes}
    return values, {gene: sum(1 for found in sources if len(found.get(gene, []))) for gene in genes}


def rows_of(result):
    return {row["gene"]: row for row in pq.read_table(Path(result) / "medians.parquet").to_pylist()}


def rank_error(values, estimate):
    """Return how far an estimate is from the median's rank, as a fraction of all values."""
    below, up_to = np.mean(values < estimate), np.mean(values <= estimate)
    return max(0.0, below - 0.5, 0.5 - up_to)


def agrees(rows, values, n_sources, most=0.01):
    """Check a median table against all values: counts, minima and maxima exactly, medians by rank."""
    assert list(rows) == sorted(values)
    for gene, found in values.items():
        row = rows[gene]
        assert (row["n_cells"], row["n_sources"]) == (len(found), n_sources[gene])
        assert row["digest_rank_error"] is None
        assert row["median"] == row["digest_median"]
        if len(found):
            assert (row["min"], row["max"]) == (found.min(), found.max())
            assert rank_error(found, row["median"]) < most
        else:
            assert row["median"] is None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six looms at two depths, and beside them what the published notebook makes of each; not to be written to."""
    folder = tmp_path_factory.mktemp("notebook")
    rng = np.random.default_rng(5)
    for name in ("a/study1", "a/study2", "b/study1", "b/deep/study3", "c/study4", "study5"):
        counts = random_counts(rng, 40, int(rng.integers(100, 900)), density=0.4)
        counts[7] = 0
        path = write_loom(folder / "looms" / f"{name}.loom", counts)
        pickled = folder / "pickles" / f"{name}{SUFFIX}"
        pickled.parent.mkdir(parents=True, exist_ok=True)
        pickled.write_bytes(pickle.dumps(digest_loom(path)))
    return folder


class TestNotebook:
    def test_equals_the_published_merging_and_the_exact_medians_within_digest_error(self, corpus, tmp_path):
        summary = merge(str(corpus / "pickles"), str(tmp_path / "r"))
        looms = sorted((corpus / "looms").rglob("*.loom"))
        values, n_sources = corpus_values(looms)
        rows = rows_of(tmp_path / "r")
        undetected = f"ENSG{7:011d}"
        agrees(rows, {**values, undetected: np.zeros(0)}, {**n_sources, undetected: 0})
        theirs = published_merge(map(digest_loom, looms), rows)
        assert {gene: row["n_cells"] for gene, row in rows.items()} == {g: d.size() for g, d in theirs.items()}
        for gene, found in values.items():
            assert rows[gene]["median"] == pytest.approx(theirs[gene].quantile(0.5), rel=0.02)
            assert rows[gene]["median"] == pytest.approx(np.median(found), rel=0.02)
        assert (summary.sources, summary.cells, summary.cells_passed, summary.target_sum) == (6, None, None, None)
        assert summary.values == sum(map(len, values.values()))
        assert (summary.compression, summary.medians_are) == (100.0, "digest estimates")

    def test_does_not_depend_on_the_order_of_inputs(self, corpus, tmp_path):
        files = sorted((corpus / "pickles").rglob(f"*{SUFFIX}"))
        merge([str(file) for file in files], str(tmp_path / "one"))
        merge([str(file) for file in files[::-1]], str(tmp_path / "two"))
        merge(str(corpus / "pickles"), str(tmp_path / "three"))
        for name in ("medians.csv", TOTAL, "total_gene_median_dict.pickle", "gene_detection_counts_dict.pickle"):
            first = (tmp_path / "one" / name).read_bytes()
            assert first == (tmp_path / "two" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()

    def test_records_every_file_and_what_is_not_known(self, corpus, tmp_path):
        merge(str(corpus / "pickles"), str(tmp_path / "r"))
        provenance = read_provenance(str(tmp_path / "r"))
        files = sorted((corpus / "pickles").rglob(f"*{SUFFIX}"))
        assert [merged.path for merged in provenance.merge.merged] == [str(file) for file in files]
        for merged, file in zip(provenance.merge.merged, files, strict=True):
            assert (merged.size, merged.mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
            assert merged.compressions == [100.0]
        assert provenance.parameters["exact"] is False
        names = [str(file.relative_to(corpus / "pickles")).removesuffix(SUFFIX) for file in files]
        assert [source.source for source in provenance.sources] == names
        assert provenance.merge.all_sources_known
        assert not provenance.merge.n_sources_are_lower_bounds
        assert provenance.merge.warnings == []
        document = json.loads((tmp_path / "r" / "provenance.json").read_text())
        expected = {"format_version": 2, **provenance.as_json(encode_sources(provenance.sources))}
        assert list(expected.items()) == list(document.items())

    def test_a_merged_pickle_says_what_the_files_said_but_not_of_how_many_sources(self, corpus, tmp_path):
        merge(str(corpus / "pickles"), str(tmp_path / "r"))
        summary = merge(str(tmp_path / "r" / TOTAL), str(tmp_path / "again"))
        first, again = rows_of(tmp_path / "r"), rows_of(tmp_path / "again")
        for gene, row in first.items():
            assert again[gene] == {**row, "n_sources": min(row["n_sources"], 1)}
        assert (summary.sources, summary.cells) == (None, None)
        assert read_provenance(str(tmp_path / "again")).merge.n_sources_are_lower_bounds

    def test_the_merged_pickles_merge_on_with_crick(self, corpus, tmp_path):
        merge(str(corpus / "pickles"), str(tmp_path / "r"))
        digests = pickle.loads((tmp_path / "r" / TOTAL).read_bytes())
        rows = rows_of(tmp_path / "r")
        gene = max(rows, key=lambda name: rows[name]["n_cells"])
        assert digests[gene].quantile(0.5) == rows[gene]["digest_median"]

    def test_a_pickle_that_is_no_digests_is_refused_by_name_and_nothing_is_written(self, corpus, tmp_path):
        shutil.copytree(corpus / "pickles", tmp_path / "in")
        bad = tmp_path / "in" / "b" / f"hostile{SUFFIX}"
        bad.write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
        with pytest.raises(InputError, match=r"hostile.*: this pickle holds os\.system, which .* does not need"):
            merge(str(tmp_path / "in"), str(tmp_path / "r"))
        assert not (tmp_path / "r").exists()

    def test_zeros_among_the_values_are_refused(self, tmp_path):
        from crick import TDigest

        made = TDigest()
        made.update(np.array([0.0, 0.0, 1.0]))
        (tmp_path / f"a{SUFFIX}").write_bytes(pickle.dumps({"ENSG1": made}))
        with pytest.raises(InputError, match="1 gene with values not above 0, such as 'ENSG1'"):
            merge(str(tmp_path), str(tmp_path / "r"))

    @pytest.mark.parametrize(("content", "says"), [({}, "there is no gene"), (None, "no gene of these digests")])
    def test_a_file_without_genes_and_genes_without_values_are_refused(self, tmp_path, content, says):
        from crick import TDigest

        (tmp_path / f"a{SUFFIX}").write_bytes(pickle.dumps({"A": TDigest()} if content is None else content))
        with pytest.raises(InputError, match=says):
            merge(str(tmp_path), str(tmp_path / "r"))


class TestResults:
    def test_of_disjoint_sources_counts_are_exact_and_medians_near(self, tmp_path):
        one, two = random_sources(1, ["db/a", "db/b"]), random_sources(2, ["db/c", "db/d", "e"])
        write_earlier(tmp_path / "1", one)
        write_earlier(tmp_path / "2", two)
        summary = merge([str(tmp_path / "2"), str(tmp_path / "1")], str(tmp_path / "r"))
        agrees(rows_of(tmp_path / "r"), *joined(one, two))
        assert (summary.sources, summary.cells, summary.cells_passed) == (5, 100, 75)
        assert (summary.target_sum, summary.compression) == (10_000.0, 200.0)
        assert summary.medians_are == "digest estimates"
        provenance = read_provenance(str(tmp_path / "r"))
        assert sorted(source.source for source in provenance.sources) == ["db/a", "db/b", "db/c", "db/d", "e"]
        assert all(source.merged_from for source in provenance.sources)

    def test_of_one_result_are_its_digests(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        merge(str(tmp_path / "1"), str(tmp_path / "r"))
        assert rows_of(tmp_path / "r") == rows_of(tmp_path / "1")
        for name in ("medians.csv", TOTAL):
            assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()

    def test_few_values_keep_their_exact_median(self, tmp_path):
        one, two = random_sources(1, ["a"], most=50), random_sources(2, ["b"], most=50)
        write_earlier(tmp_path / "1", one)
        write_earlier(tmp_path / "2", two)
        merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "r"))
        rows = rows_of(tmp_path / "r")
        values, _ = joined(one, two)
        assert {gene: rows[gene]["median"] for gene in rows if len(values[gene])} == {
            gene: np.median(found) for gene, found in values.items() if len(found)
        }

    def test_with_pickles_of_the_notebook(self, corpus, tmp_path):
        one = random_sources(3, ["x"])
        write_earlier(tmp_path / "1", one)
        summary = merge([str(tmp_path / "1"), str(corpus / "pickles")], str(tmp_path / "r"))
        values, n_sources = corpus_values(sorted((corpus / "looms").rglob("*.loom")))
        ours, ours_sources = joined(one)
        undetected = f"ENSG{7:011d}"
        agrees(
            rows_of(tmp_path / "r"),
            {**ours, **values, undetected: np.zeros(0)},
            {**ours_sources, **n_sources, undetected: 0},
        )
        assert (summary.sources, summary.cells, summary.target_sum) == (7, None, None)
        assert summary.compression == 200.0

    def test_the_largest_compression_is_taken_unless_one_is_named(self, tmp_path):
        one, two = random_sources(1, ["a"]), random_sources(2, ["b"])
        write_earlier(tmp_path / "1", one, compression=400.0)
        write_earlier(tmp_path / "2", two, compression=100.0)
        inputs = [str(tmp_path / "1"), str(tmp_path / "2")]
        assert merge(inputs, str(tmp_path / "r")).compression == 400.0
        for compression in (50.0, 100.0, 1000.0):
            out = tmp_path / f"r{compression}"
            assert merge(inputs, str(out), compression=compression).compression == compression
            agrees(rows_of(out), *joined(one, two), most=0.03)
            table = pq.read_table(out / "digests.parquet")
            assert table["compression"].unique().to_pylist() == [compression]
            assert max(map(len, table["mean"].to_pylist())) <= 2 * compression
            assert pickle.loads((out / TOTAL).read_bytes())["ENSG011"].compression == compression

    def test_a_compression_out_of_range_is_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        with pytest.raises(DigestError, match="compression must lie between 20 and 1000"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"), compression=7)

    def test_a_lone_digests_parquet_counts_as_one_source_and_says_so(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a", "b"]))
        (tmp_path / "alone").mkdir()
        shutil.copy(tmp_path / "1" / "digests.parquet", tmp_path / "alone" / "run1.parquet")
        summary = merge(str(tmp_path / "alone" / "run1.parquet"), str(tmp_path / "r"))
        assert {row["n_sources"] for row in rows_of(tmp_path / "r").values()} == {1}
        assert "ENSG000" not in rows_of(tmp_path / "r")
        assert (summary.sources, summary.cells) == (2, 40)
        assert read_provenance(str(tmp_path / "r")).merge.n_sources_are_lower_bounds

    @pytest.mark.parametrize(
        ("parameters", "says"),
        [
            ({"target_sum": 1e6}, r"target_sum 10000\.0 and .* with 1000000\.0: values that are scaled differently"),
            ({"gene_map": "f00"}, "gene_map None and .* with f00: values that count under different ids"),
        ],
    )
    def test_values_made_in_another_way_are_refused(self, tmp_path, parameters, says):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        write_earlier(tmp_path / "2", random_sources(2, ["b"]), **parameters)
        with pytest.raises(UsageError, match=says):
            merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "r"))

    def test_other_gene_types_are_warned_about(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        write_earlier(tmp_path / "2", random_sources(2, ["b"]), gene_types=["lncRNA"])
        merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "r"))
        (warning,) = read_provenance(str(tmp_path / "r")).merge.warnings
        assert "gene_types" in warning

    def test_a_lone_digests_parquet_whose_record_of_sources_is_damaged_is_named(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        path = tmp_path / "1" / "digests.parquet"
        table = pq.read_table(path)
        for damaged, words in ((b"AAAA", "its hash is not"), (b"A", "cannot be read or is damaged")):
            metadata = table.schema.metadata | {b"median_spark_sources": damaged}
            pq.write_table(table.replace_schema_metadata(metadata), path)
            with pytest.raises(TableError, match=rf"digests\.parquet: .*{words}"):
                merge(str(path), str(tmp_path / "r"))

    @pytest.mark.parametrize("name", ["digests.parquet", "medians.parquet"])
    def test_damaged_files_are_named(self, tmp_path, name):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        (tmp_path / "1" / name).write_bytes((tmp_path / "1" / name).read_bytes()[:-20])
        with pytest.raises(TableError, match=f"{name}: this file cannot be read or is damaged"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"))

    def test_digests_that_crick_could_not_hold_are_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        path = tmp_path / "1" / "digests.parquet"
        table = pq.read_table(path)
        place = table.schema.get_field_index("compression")
        pq.write_table(table.set_column(place, table.field(place), pa.array([20.0] * len(table))), path)
        with pytest.raises(TableError, match="a digest of compression 20 has at most 40 centroids"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"))

    def test_digests_beside_medians_of_another_run_are_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        write_earlier(tmp_path / "2", random_sources(2, ["b"]))
        shutil.copy(tmp_path / "2" / "medians.parquet", tmp_path / "1")
        with pytest.raises(TableError, match=r"does not belong to the digests\.parquet beside it"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"))

    def test_any_other_parquet_file_is_refused(self, tmp_path):
        pq.write_table(pa.table({"gene": ["A"], "value": [1.0]}), tmp_path / "values.parquet")
        with pytest.raises(TableError, match=r"values\.parquet: "):
            merge(str(tmp_path / "values.parquet"), str(tmp_path / "r"))


class TestNothingCountsTwice:
    def test_a_source_in_two_results_is_refused_naming_both(self, tmp_path):
        one = random_sources(1, ["db/a", "db/b"])
        write_earlier(tmp_path / "1", one)
        write_earlier(tmp_path / "2", {"db/b": one["db/b"], **random_sources(2, ["db/c"])})
        with pytest.raises(
            UsageError, match=r"/1/digests\.parquet and .*/2/digests\.parquet both hold the source 'db/b'"
        ):
            merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "r"))
        assert not (tmp_path / "r").exists()

    def test_a_copy_of_a_result_is_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        shutil.copytree(tmp_path / "1", tmp_path / "copy")
        with pytest.raises(UsageError, match="both hold the source 'a'"):
            merge(str(tmp_path), str(tmp_path / "r"))

    def test_a_merged_result_remembers_its_sources_and_pickles(self, corpus, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["x"]))
        pickled = corpus / "pickles" / f"study5{SUFFIX}"
        merge([str(tmp_path / "1"), str(pickled)], str(tmp_path / "r"))
        with pytest.raises(UsageError, match="both hold the source 'x'"):
            merge([str(tmp_path / "1"), str(tmp_path / "r")], str(tmp_path / "rr"))
        with pytest.raises(UsageError, match="both hold the source 'study5'"):
            merge([str(pickled), str(tmp_path / "r")], str(tmp_path / "rr"))

    def test_a_merged_result_merges_on_with_others(self, corpus, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["x"]))
        write_earlier(tmp_path / "2", random_sources(2, ["y"]))
        merge([str(tmp_path / "1"), str(corpus / "pickles" / f"study5{SUFFIX}")], str(tmp_path / "r"))
        summary = merge([str(tmp_path / "r"), str(tmp_path / "2")], str(tmp_path / "rr"))
        assert (summary.sources, summary.cells) == (3, None)

    def test_pickles_of_the_same_content_are_warned_about(self, corpus, tmp_path):
        shutil.copytree(corpus / "pickles", tmp_path / "in")
        shutil.copy(tmp_path / "in" / f"study5{SUFFIX}", tmp_path / "in" / f"study6{SUFFIX}")
        merge(str(tmp_path / "in"), str(tmp_path / "r"))
        (warning,) = read_provenance(str(tmp_path / "r")).merge.warnings
        assert warning.endswith(f"study6{SUFFIX} have the same content: its values count twice")

    def test_a_pickle_named_like_a_source_of_a_result_is_warned_about(self, corpus, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["db/study5"]))
        merge([str(tmp_path / "1"), str(corpus / "pickles")], str(tmp_path / "r"))
        (warning,) = read_provenance(str(tmp_path / "r")).merge.warnings
        assert "1/digests.parquet has sources of the same name as 1 pickle: 'study5'" in warning

    def test_results_of_different_files_of_one_name_are_merged_without_a_warning(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["data/study"]))
        write_earlier(tmp_path / "2", random_sources(2, ["other/study"]))
        assert merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "r")).sources == 2
        assert read_provenance(str(tmp_path / "r")).merge.warnings == []

    def test_a_file_that_is_given_twice_is_merged_once(self, corpus, tmp_path):
        file = corpus / "pickles" / f"study5{SUFFIX}"
        merge([str(file), str(file), str(corpus / "pickles")], str(tmp_path / "r"))
        merge(str(corpus / "pickles"), str(tmp_path / "once"))
        assert rows_of(tmp_path / "r") == rows_of(tmp_path / "once")
        assert f"{file} was given more than once" in read_provenance(str(tmp_path / "r")).merge.warnings[0]

    def test_the_merged_pickle_of_a_result_beside_its_digests_is_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        with pytest.raises(UsageError, match="hold the same digests: give one of them"):
            merge([str(tmp_path / "1"), str(tmp_path / "1" / TOTAL)], str(tmp_path / "r"))

    def test_a_result_is_not_merged_into_itself(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        with pytest.raises(UsageError, match="in it is an input: choose another folder"):
            merge(str(tmp_path / "1"), str(tmp_path / "1"), overwrite=True)

    def test_a_result_that_is_there_is_replaced_only_if_told(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        write_earlier(tmp_path / "r", random_sources(2, ["b"]))
        with pytest.raises(OutputError, match="replace it with overwrite=True"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"))
        merge(str(tmp_path / "1"), str(tmp_path / "r"), overwrite=True)
        assert rows_of(tmp_path / "r") == rows_of(tmp_path / "1")


class TestGenes:
    TABLE = GeneTable(
        "/genes.csv", {"ENSG005": "protein_coding", "ENSG011": "miRNA", "ENSG010": "rRNA", "ENSG999": "miRNA"}
    )

    def test_the_gene_table_makes_the_universe_and_others_are_counted(self, tmp_path):
        one = random_sources(1, ["a"])
        write_earlier(tmp_path / "1", one)
        table = GeneTable(
            "/genes.csv",
            {**dict.fromkeys(one["a"], "protein_coding"), "ENSG010": "rRNA", "ENSG999": "miRNA"},
        )
        del table.gene_types["ENSG005"]
        summary = merge(str(tmp_path / "1"), str(tmp_path / "r"), gene_table=table)
        rows = rows_of(tmp_path / "r")
        assert list(rows) == sorted(set(one["a"]) - {"ENSG005", "ENSG010"} | {"ENSG999"})
        assert rows["ENSG999"]["n_cells"] == 0
        assert summary.values == sum(len(found) for gene, found in one["a"].items() if gene in rows)
        assert read_provenance(str(tmp_path / "r")).merge.left_out == LeftOutIds(1, ["ENSG005"], 1)

    def test_types_are_chosen_from_the_table(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        merge(str(tmp_path / "1"), str(tmp_path / "r"), gene_table=self.TABLE, gene_types=("rRNA",))
        assert list(rows_of(tmp_path / "r")) == ["ENSG010"]

    def test_a_table_that_knows_few_ids_is_warned_about_and_one_that_knows_none_is_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        merge(str(tmp_path / "1"), str(tmp_path / "r"), gene_table=self.TABLE)
        (warning,) = read_provenance(str(tmp_path / "r")).merge.warnings
        assert "the gene table knows only 3 of its 12 ids, not 'ENSG000'" in warning
        with pytest.raises(InputError, match=r"none of its 12 ids is in the gene table /genes\.csv; it has 'ENSG000'"):
            merge(str(tmp_path / "1"), str(tmp_path / "rr"), gene_table=GeneTable("/genes.csv", {"X": "miRNA"}))

    def test_versions_of_the_table_alone_are_taken_off_and_told(self, tmp_path):
        plain = {"ENSG1": np.array([1.0, 2.0]), "ENSG2": np.array([3.0])}
        table = GeneTable("/genes.csv", {"ENSG1.4": "miRNA", "ENSG2.1": "lncRNA", "ENSG3.1": "miRNA"})
        write_earlier(tmp_path / "1", {"a": plain})
        merge(str(tmp_path / "1"), str(tmp_path / "r"), gene_table=table)
        assert sorted(rows_of(tmp_path / "r")) == ["ENSG1", "ENSG3"]
        assert (
            "have no versions: the gene table's were taken off"
            in read_provenance(str(tmp_path / "r")).merge.warnings[0]
        )
        write_earlier(tmp_path / "2", {"b": {"ENSG1.4": np.array([1.0])}})
        merge(str(tmp_path / "2"), str(tmp_path / "rr"), gene_table=table)
        assert sorted(rows_of(tmp_path / "rr")) == ["ENSG1.4", "ENSG3.1"]
        both = [str(tmp_path / "1"), str(tmp_path / "2")]
        with pytest.raises(
            InputError, match=r"2/.*its ids have versions, and those of .*1/.* have none: .*strip_version"
        ):
            merge(both, str(tmp_path / "rrr"), gene_table=table)

    def test_types_without_a_table_are_refused(self, tmp_path):
        write_earlier(tmp_path / "1", random_sources(1, ["a"]))
        with pytest.raises(UsageError, match="choosing gene types needs a gene table"):
            merge(str(tmp_path / "1"), str(tmp_path / "r"), gene_types=("lncRNA",))


class TestFinding:
    def lay(self, root, *names):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"")
        return [found.file.path[len(str(root)) + 1 :] for found in find_digests([str(root)]).files]

    def test_pickles_at_any_depth_and_hidden_ones_not(self, tmp_path):
        assert self.lay(
            tmp_path, f"b{SUFFIX}", f"a/b/c{SUFFIX}", f".x{SUFFIX}", f".ipynb_checkpoints/y{SUFFIX}", "note.txt"
        ) == [f"a/b/c{SUFFIX}", f"b{SUFFIX}"]

    def test_a_result_stands_for_all_that_is_in_it(self, tmp_path):
        assert self.lay(
            tmp_path, "run1/digests.parquet", f"run1/{TOTAL}", f"run1/by/a{SUFFIX}", "run2/medians/digests.parquet"
        ) == ["run1/digests.parquet", "run2/medians/digests.parquet"]

    def test_the_folder_of_a_run_stands_for_its_medians(self, tmp_path):
        assert self.lay(tmp_path, "medians/digests.parquet", f"pickles/a{SUFFIX}") == ["medians/digests.parquet"]

    def test_a_merged_pickle_is_taken_only_where_there_is_nothing_else(self, tmp_path):
        assert self.lay(tmp_path / "1", TOTAL) == [TOTAL]
        assert self.lay(tmp_path / "2", TOTAL, f"a/b{SUFFIX}") == [f"a/b{SUFFIX}"]
        (warning,) = find_digests([str(tmp_path / "2")]).warnings
        assert "was passed over" in warning

    def test_a_merged_pickle_that_is_named_with_others_is_warned_about(self, tmp_path):
        self.lay(tmp_path, TOTAL, f"a{SUFFIX}")
        (warning,) = find_digests([str(tmp_path / TOTAL), str(tmp_path / f"a{SUFFIX}")]).warnings
        assert "may be made of other files" in warning

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("nothing", "there is no such file or folder"),
            ("empty", "there are no digests in this folder or below it; it is empty"),
            ("full", "it holds 'a.loom'"),
            ("full/a.loom", "this is no file of digests"),
        ],
    )
    def test_what_holds_no_digests_is_refused(self, tmp_path, name, says):
        (tmp_path / "empty").mkdir()
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "a.loom").write_bytes(b"")
        with pytest.raises(InputError, match=says):
            find_digests([str(tmp_path / name)])


class TestPool:
    @given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 400), st.sampled_from([50.0, 100.0, 200.0]))
    def test_is_near_the_exact_median_of_any_number_of_files(self, seed, files, most, compression):
        rng = np.random.default_rng(seed)
        parts = [np.round(rng.lognormal(0, 1, int(rng.integers(1, most + 1))), 2) + 0.01 for _ in range(files)]
        pool = DigestPool(compression)
        for part in parts:
            pool.add(digests_of({"A": part}, compression), {"A": compression}, {"A": 1})
        values, digest = np.concatenate(parts), pool.digests["A"]
        assert (digest.n, digest.min, digest.max) == (len(values), values.min(), values.max())
        assert pool.n_sources == {"A": files}
        rows = median_table(GeneDigests(("A",), pool.digests, pool.n_sources, compression), None).to_pylist()
        # A cluster near the median holds up to pi / (2 compression) of all values.
        assert rank_error(values, rows[0]["median"]) <= 2 / compression + 1 / len(values)

    def test_keeps_nothing_of_a_file_but_its_digests(self):
        whole = digests_of({"A": np.arange(1.0, 9.0), "B": np.arange(1.0, 1_000.0)}, 100.0)
        pool = DigestPool(100.0)
        pool.add(whole, dict.fromkeys(whole, 100.0), dict.fromkeys(whole, 1))
        assert pool.digests["A"].means.base is None

    def test_genes_by_the_thousand(self):
        rng = np.random.default_rng(0)
        parts = [{f"G{gene:05d}": rng.random(3) + 0.1 for gene in range(5_000)} for _ in range(2)]
        pool = DigestPool(200.0)
        for part in parts:
            digests = digests_of(part, 200.0)
            pool.add(digests, dict.fromkeys(digests, 200.0), dict.fromkeys(digests, 1))
        rows = median_table(GeneDigests(tuple(parts[0]), pool.digests, pool.n_sources, 200.0), None)
        expected = [np.median(np.concatenate([part[gene] for part in parts])) for gene in parts[0]]
        assert rows["median"].to_pylist() == expected


class TestCommand:
    def test_says_what_was_merged_and_what_is_not_known(self, corpus, tmp_path, capsys):
        table = tmp_path / "genes.csv"
        ids = [f"ENSG{number:011d}" for number in range(39)]
        pd.DataFrame({"ensembl_id": ids, "gene_type": "protein_coding"}).to_csv(table)
        arguments = ["merge", str(corpus / "pickles"), "--out", str(tmp_path / "r"), "--gene-table", str(table)]
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert "merged        6 files of digests: 6 sources, an unknown number of cells that pass, " in said.out
        assert "medians       those of the merged digests, compression 100 (inputs: 100)" in said.out
        assert f"left out      1 id that the gene table lacks: 'ENSG{39:011d}'" in said.out
        assert "note          pickles do not record the total that their values are scaled to" in said.out
        assert "exact; the digests" not in said.out
        assert said.out.endswith(f"report        {tmp_path}/r/report.html\n")
        assert len(said.out.splitlines()) <= 15
        assert "merging 6 files of digests" in said.err
        assert json.loads((tmp_path / "r" / "summary.json").read_text())["cells"] is None
        assert main(["inspect", str(tmp_path / "r")]) == 0
        assert "unknown" in capsys.readouterr().out
        assert main([*arguments, "--quiet"]) == 2
        assert "replace it with --overwrite" in capsys.readouterr().err
        assert main([*arguments, "--quiet", "--overwrite"]) == 0
        assert capsys.readouterr() == ("", "")

    def test_help_explains_it(self, capsys):
        with pytest.raises(SystemExit) as end:
            main(["merge", "--help"])
        assert end.value.code == 0
        assert "pickles are read safely" in " ".join(capsys.readouterr().out.split())

    def test_loads_no_spark(self, corpus, tmp_path):
        script = (
            "import sys; from median_spark.cli import main; status = main(sys.argv[1:]); "
            "print(status, 'pyspark' in sys.modules, file=sys.stderr)"
        )
        arguments = ["merge", str(corpus / "pickles"), "--out", str(tmp_path / "r"), "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={"PATH": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.strip() == "0 False"


@pytest.mark.slow
def test_real_looms_through_the_published_procedure(real_data, tmp_path):
    looms = [real_data / "corpus/10x/pbmc_1k_v2.loom", real_data / "corpus/10x/facs_test100.loom"]
    table = real_data / "gene_info_table.csv"
    for loom in looms:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{loom.stem}{SUFFIX}").write_bytes(pickle.dumps(digest_loom(loom)))
    merge(str(tmp_path / "in"), str(tmp_path / "r"), gene_table=read_gene_table(str(table)))
    rows = rows_of(tmp_path / "r")
    assert len(rows) == 27_454
    theirs = published_merge(map(digest_loom, looms), rows)
    assert {gene: row["n_cells"] for gene, row in rows.items()} == {gene: d.size() for gene, d in theirs.items()}
    values, n_sources = corpus_values(looms, read_types(table))
    apart = []
    for gene, found in values.items():
        if len(found) == theirs[gene].size():  # of a duplicated id the published procedure keeps the last row only
            assert rows[gene]["n_sources"] == n_sources[gene]
            assert rank_error(found, rows[gene]["median"]) < 0.02
            apart.append(abs(rows[gene]["median"] / np.median(found) - 1))
    assert len(apart) > 10_000
    assert np.percentile(apart, 95) < 0.005
