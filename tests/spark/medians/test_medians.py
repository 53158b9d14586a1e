from contextlib import contextmanager

import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom
from oracle import corpus_values, read_types, universe
from tables import change_record
from windows import bundles

from median_spark import (
    ConvertOptions,
    MedianOptions,
    ReadOptions,
    convert,
    medians,
    merge,
    read_gene_table,
    table_medians,
)
from median_spark.cli import main
from median_spark.errors import DigestError, OutputError, TableError
from median_spark.expression import WINDOW_ROWS, open_table
from median_spark.results import read_provenance
from median_spark.spark.engine import tasks
from median_spark.spark.medians import corpus as corpus_module
from median_spark.spark.medians import refine
from median_spark.spark.medians.medians import _few

pytestmark = pytest.mark.spark


@pytest.fixture
def expression(demo_expression):
    return demo_expression


@pytest.fixture
def truth(demo_values):
    return demo_values


@pytest.fixture(scope="module")
def whole(spark, demo_expression):
    """The medians of the demo corpus in one bundle."""
    return table_medians(demo_expression, spark=spark)


def by_gene(found):
    return {row["gene"]: row for row in found.table.to_pylist()}


def test_counts_of_cells_and_sources_equal_the_oracle(whole, truth, demo):
    values, sources = truth
    found = by_gene(whole)
    assert list(found) == universe([], read_types(demo / "gene_info_table.csv"))
    assert {gene: row["n_cells"] for gene, row in found.items() if row["n_cells"]} == {
        g: len(v) for g, v in values.items()
    }
    assert {gene: row["n_sources"] for gene, row in found.items() if row["n_sources"]} == sources


def test_digest_medians_are_exact_for_genes_with_few_values_and_close_for_others(whole, truth):
    values, _ = truth
    found = by_gene(whole)
    few = [gene for gene, of_gene in values.items() if len(of_gene) <= 100]
    many = [gene for gene, of_gene in values.items() if len(of_gene) > 1000]
    assert len(few) > 100
    assert len(many) > 100
    assert all(found[gene]["digest_median"] == np.median(values[gene]) for gene in few)
    errors = [abs(found[gene]["digest_median"] / np.median(values[gene]) - 1) for gene in many]
    assert np.percentile(errors, 95) < 0.005


def test_extremes_are_exact_and_quantiles_in_order(whole, truth):
    values, _ = truth
    for gene, row in by_gene(whole).items():
        if row["n_cells"]:
            assert (row["min"], row["max"]) == (values[gene].min(), values[gene].max())
            ordered = [row[name] for name in ("min", "q05", "q25", "median", "q75", "q95", "max")]
            assert ordered == sorted(ordered)


@pytest.mark.slow
def test_merged_digests_do_not_depend_on_the_shuffle(spark, expression, monkeypatch):
    assert bundles(expression, 40_000) > 2
    found = []
    for partitions in (1, 7):
        monkeypatch.setattr(tasks, "merge_partitions", lambda _, number=partitions: number)
        found.append(table_medians(expression, spark=spark, options=MedianOptions(exact=False, window_rows=40_000)))
    assert found[0].table.equals(found[1].table)
    assert any(len(digest.means) < digest.n for digest in found[0].merged.digests.values())
    for gene, digest in found[0].merged.digests.items():
        assert digest.means.tobytes() == found[1].merged.digests[gene].means.tobytes()


@pytest.mark.parametrize("window_rows", [60_000, pytest.param(1, marks=pytest.mark.slow)])
def test_several_bundles_merge_to_all_values(spark, expression, truth, window_rows):
    assert bundles(expression, window_rows) > 2
    values, sources = truth
    found = by_gene(table_medians(expression, spark=spark, options=MedianOptions(window_rows=window_rows, exact=False)))
    detected = {gene: row for gene, row in found.items() if row["n_cells"]}
    assert {gene: row["n_cells"] for gene, row in detected.items()} == {g: len(v) for g, v in values.items()}
    assert {gene: row["n_sources"] for gene, row in detected.items()} == sources
    for gene, row in detected.items():
        assert (row["min"], row["max"]) == (values[gene].min(), values[gene].max())
    many = [gene for gene, of_gene in values.items() if len(of_gene) > 1000]
    errors = [abs(found[gene]["digest_median"] / np.median(values[gene]) - 1) for gene in many]
    assert np.percentile(errors, 95) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("window_rows", [200_000, 60_000, 1])
def test_exact_medians_do_not_depend_on_the_window(spark, expression, whole, window_rows):
    assert bundles(expression, WINDOW_ROWS) == 1 < bundles(expression, window_rows)
    expected = whole.table
    found = table_medians(expression, spark=spark, options=MedianOptions(window_rows=window_rows)).table
    for name in ("gene", "median", "n_cells", "n_sources", "min", "max"):
        assert found[name].equals(expected[name])
    assert found["median"].drop_null().to_numpy().tobytes() == expected["median"].drop_null().to_numpy().tobytes()


def test_estimates_of_one_and_of_several_bundles_are_near(spark, expression, truth):
    values, _ = truth
    assert bundles(expression, 60_000) > 2
    whole = by_gene(table_medians(expression, spark=spark, options=MedianOptions(exact=False)))
    merged = by_gene(table_medians(expression, spark=spark, options=MedianOptions(exact=False, window_rows=60_000)))
    for gene, of_gene in values.items():
        ordered = np.sort(of_gene)
        for estimate in (whole[gene]["median"], merged[gene]["median"]):
            below, up_to = np.searchsorted(ordered, estimate, "left"), np.searchsorted(ordered, estimate, "right")
            off = max(below - len(ordered) / 2, len(ordered) / 2 - up_to, 0)
            assert off <= max(0.01 * len(ordered), 1)  # a cluster at the median is pi / 400 of all values


@pytest.mark.slow
def test_digests_of_one_bundle_do_not_depend_on_how_sources_are_cut(spark, demo, expression, whole, tmp_path):
    options = ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))
    convert(str(demo), str(tmp_path / "x"), spark=spark, reading=options, options=ConvertOptions(unit_entries=20_000))
    cut, uncut = (
        sum(len(record.parts) for record in open_table(str(x)).sources()) for x in (tmp_path / "x", expression)
    )
    assert cut > 2 * uncut
    other = table_medians(str(tmp_path / "x"), spark=spark)
    assert whole.table.equals(other.table)
    for gene, digest in whole.merged.digests.items():
        assert digest.means.tobytes() == other.merged.digests[gene].means.tobytes()
        assert digest.weights.tobytes() == other.merged.digests[gene].weights.tobytes()


@pytest.mark.parametrize(("window_rows", "shuffles"), [(WINDOW_ROWS, 0), (60_000, 1)])
def test_values_are_shuffled_only_where_there_are_several_bundles(
    spark, expression, monkeypatch, window_rows, shuffles
):
    plans = []

    def collected(frame, *more):
        plans.append(frame._jdf.queryExecution().executedPlan().toString())
        return tasks.collect_sound(frame, *more)

    monkeypatch.setattr(corpus_module, "collect_sound", collected)
    table_medians(expression, spark=spark, options=MedianOptions(window_rows=window_rows, exact=False))
    (plan,) = plans
    assert plan.count("Exchange ") == shuffles


@contextmanager
def refinements(monkeypatch):
    """Note the queries of each round of the second pass."""
    rounds = []
    once = refine._refine_once
    with monkeypatch.context() as patched:
        patched.setattr(refine, "_refine_once", lambda *given: rounds.append(len(given[2])) or once(*given))
        yield rounds


def test_the_table_is_read_once_where_there_is_one_bundle(spark, expression, monkeypatch):
    with refinements(monkeypatch) as rounds:
        table_medians(expression, spark=spark)
        assert rounds == []
        table_medians(expression, spark=spark, options=MedianOptions(window_rows=60_000))
        assert len(rounds) >= 1


def test_chosen_sources_only(spark, expression, demo):
    name = "database2/data/study1"
    types = read_types(demo / "gene_info_table.csv")
    values, _ = corpus_values([demo / f"{name}.loom"], types)
    found = by_gene(table_medians(expression, spark=spark, sources=[name]))
    assert {gene for gene, row in found.items() if row["n_cells"]} == set(values)


def test_a_source_that_is_not_there_is_named(spark, expression):
    with pytest.raises(TableError, match="no source 'study7'"):
        table_medians(expression, spark=spark, sources=["study7"])


@pytest.mark.parametrize("compression", [19, 1001, float("nan")])
def test_a_compression_that_crick_would_change_is_refused(spark, expression, compression):
    with pytest.raises(DigestError, match="between 20 and 1000"):
        table_medians(expression, spark=spark, options=MedianOptions(compression=compression))


def test_a_folder_that_is_no_table_is_refused(spark, tmp_path):
    with pytest.raises(TableError, match="no expression table"):
        table_medians(str(tmp_path), spark=spark)


@pytest.mark.parametrize("window_rows", [WINDOW_ROWS, 1])
def test_a_missing_part_is_named(spark, tmp_path, window_rows):
    for number in range(2):
        counts = random_counts(np.random.default_rng(number), 50, 40)
        write_loom(tmp_path / "corpus" / f"s{number}.loom", counts)
    convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark)
    assert bundles(tmp_path / "x", window_rows) == (1 if window_rows > 1 else 2)
    part = next((tmp_path / "x" / "values" / "source=s1").rglob("*.parquet"))
    part.unlink()
    with pytest.raises(TableError, match=rf"source=s1/{part.name}: this part is listed .* not there"):
        table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=window_rows))


@pytest.mark.parametrize("window_rows", [WINDOW_ROWS, 1])
def test_a_table_with_fewer_values_than_its_records_say_is_refused(spark, tmp_path, window_rows):
    for number in range(2):
        counts = random_counts(np.random.default_rng(number), 50, 40)
        write_loom(tmp_path / "corpus" / f"s{number}.loom", counts)
    convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark)
    change_record(tmp_path / "x", "s1", lambda record: record.update(values=record["values"] + 5))
    with pytest.raises(TableError, match=r"values were digested where the sources' records say"):
        table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=window_rows))


def test_sources_that_cannot_be_pooled_are_refused(spark, tmp_path):
    for name, target_sum in (("one", 1e4), ("two", 1e6)):
        path = write_loom(tmp_path / f"{name}.loom", np.ones((5, 5), int))
        convert(path, str(tmp_path / "x"), spark=spark, reading=ReadOptions(target_sum=target_sum))
    with pytest.raises(TableError, match="different values of 'target_sum'"):
        table_medians(str(tmp_path / "x"), spark=spark)


def test_a_corpus_without_any_value_is_refused(spark, tmp_path):
    path = write_loom(tmp_path / "s.loom", np.zeros((5, 5), int))
    convert(path, str(tmp_path / "x"), spark=spark)
    with pytest.raises(TableError, match="no value at all"):
        table_medians(str(tmp_path / "x"), spark=spark)


def test_a_result_is_replaced_only_when_told(spark, expression, tmp_path):
    medians(expression, str(tmp_path / "r"), spark=spark)
    with pytest.raises(OutputError, match="overwrite=True"):
        medians(expression, str(tmp_path / "r"), spark=spark)
    medians(expression, str(tmp_path / "r"), spark=spark, options=MedianOptions(compression=50), overwrite=True)
    assert '"compression": 50' in (tmp_path / "r" / "summary.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_study_as_loom_and_as_h5ad_is_named_everywhere(spark, tmp_path, capsys):
    rng = np.random.default_rng(3)
    counts, other = (random_counts(rng, 200, 400, density=0.3) for _ in range(2))
    write_loom(tmp_path / "in/a/study.loom", counts)
    write_h5ad(tmp_path / "in/b/study.h5ad", counts)
    write_loom(tmp_path / "in/c/other.loom", other)
    assert main(["run", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: 'a/study'")]
    assert said.startswith("warning: 'a/study', 'b/study' have equally many cells that pass")
    folder = tmp_path / "out" / "medians"
    assert list(read_provenance(str(folder)).source_warnings) == [said.removeprefix("warning: ")]
    assert "each of them counts twice" in (folder / "report.html").read_text()
    merge(str(folder), str(tmp_path / "merged"))
    assert list(read_provenance(str(tmp_path / "merged")).source_warnings) == [said.removeprefix("warning: ")]


def test_many_warnings_of_one_kind_are_counted():
    assert _few([]) == []
    assert _few(["a", "b", "c"]) == ["warning: a", "warning: b", "warning: c"]
    assert _few([*"abcde"])[3:] == ["warning: 2 more like these, in provenance.json"]
