import numpy as np
import pytest
from looms import random_counts, write_loom
from oracle import corpus_values, read_types, universe

from median_spark import ReadOptions, convert, gene_medians, medians, read_gene_table
from median_spark.errors import DigestError, OutputError, TableError
from median_spark.spark import medians as medians_module
from median_spark.spark import tasks

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def expression(spark, demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "expression"
    options = ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))
    convert(str(demo), str(out), spark=spark, options=options)
    return str(out)


@pytest.fixture(scope="module")
def truth(demo):
    return corpus_values(sorted(demo.rglob("*.loom")), read_types(demo / "gene_info_table.csv"))


def by_gene(found):
    return {row["gene"]: row for row in found.table.to_pylist()}


def test_counts_of_cells_and_sources_equal_the_oracle(spark, expression, truth, demo):
    values, sources = truth
    found = by_gene(gene_medians(expression, spark=spark))
    assert list(found) == universe([], read_types(demo / "gene_info_table.csv"))
    assert {gene: row["n_cells"] for gene, row in found.items() if row["n_cells"]} == {
        g: len(v) for g, v in values.items()
    }
    assert {gene: row["n_sources"] for gene, row in found.items() if row["n_sources"]} == sources


def test_digest_medians_are_exact_for_genes_with_few_values_and_close_for_others(spark, expression, truth):
    values, _ = truth
    found = by_gene(gene_medians(expression, spark=spark))
    few = [gene for gene, of_gene in values.items() if len(of_gene) <= 100]
    many = [gene for gene, of_gene in values.items() if len(of_gene) > 1000]
    assert len(few) > 100
    assert len(many) > 100
    assert all(found[gene]["digest_median"] == np.median(values[gene]) for gene in few)
    errors = [abs(found[gene]["digest_median"] / np.median(values[gene]) - 1) for gene in many]
    assert np.percentile(errors, 95) < 0.005


def test_extremes_are_exact_and_quantiles_in_order(spark, expression, truth):
    values, _ = truth
    for gene, row in by_gene(gene_medians(expression, spark=spark)).items():
        if row["n_cells"]:
            assert (row["min"], row["max"]) == (values[gene].min(), values[gene].max())
            ordered = [row[name] for name in ("min", "q05", "q25", "median", "q75", "q95", "max")]
            assert ordered == sorted(ordered)


def test_the_digest_estimate_does_not_depend_on_the_shuffle(spark, expression, monkeypatch):
    plan = medians_module.plan_digests
    monkeypatch.setattr(medians_module, "plan_digests", lambda *given: plan(*given, task_rows=100_000))
    found = []
    for partitions in (1, 7):
        monkeypatch.setattr(tasks, "merge_partitions", lambda _, number=partitions: number)
        found.append(gene_medians(expression, spark=spark, exact=False))
    assert found[0].table.equals(found[1].table)
    assert any(len(digest.means) < digest.n for digest in found[0].merged.digests.values())


def test_several_tasks_merge_to_all_values(spark, expression, truth, monkeypatch):
    plan = medians_module.plan_digests
    monkeypatch.setattr(medians_module, "plan_digests", lambda *given: plan(*given, task_rows=50_000))
    values, _ = truth
    found = by_gene(gene_medians(expression, spark=spark))
    many = [gene for gene, of_gene in values.items() if len(of_gene) > 1000]
    assert sum(row["n_cells"] for row in found.values()) == sum(map(len, values.values()))
    errors = [abs(found[gene]["digest_median"] / np.median(values[gene]) - 1) for gene in many]
    assert np.percentile(errors, 95) < 0.005


def test_chosen_sources_only(spark, expression, demo):
    name = "database2/data/study1"
    types = read_types(demo / "gene_info_table.csv")
    values, _ = corpus_values([demo / f"{name}.loom"], types)
    found = by_gene(gene_medians(expression, spark=spark, sources=[name]))
    assert {gene for gene, row in found.items() if row["n_cells"]} == set(values)


def test_a_source_that_is_not_there_is_named(spark, expression):
    with pytest.raises(TableError, match="no source 'study7'"):
        gene_medians(expression, spark=spark, sources=["study7"])


@pytest.mark.parametrize("compression", [19, 1001, float("nan")])
def test_a_compression_that_crick_would_change_is_refused(spark, expression, compression):
    with pytest.raises(DigestError, match="between 20 and 1000"):
        gene_medians(expression, spark=spark, compression=compression)


def test_a_folder_that_is_no_table_is_refused(spark, tmp_path):
    with pytest.raises(TableError, match="no expression table"):
        gene_medians(str(tmp_path), spark=spark)


def test_a_missing_part_is_named(spark, tmp_path):
    write_loom(tmp_path / "corpus" / "s.loom", random_counts(np.random.default_rng(0), 50, 40))
    convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark)
    part = next((tmp_path / "x" / "values").rglob("*.parquet"))
    part.unlink()
    with pytest.raises(TableError, match=rf"{part.name}: this part is listed .* not there"):
        gene_medians(str(tmp_path / "x"), spark=spark)


def test_sources_that_cannot_be_pooled_are_refused(spark, tmp_path):
    for name, target_sum in (("one", 1e4), ("two", 1e6)):
        path = write_loom(tmp_path / f"{name}.loom", np.ones((5, 5), int))
        convert(path, str(tmp_path / "x"), spark=spark, options=ReadOptions(target_sum=target_sum))
    with pytest.raises(TableError, match="different values of 'target_sum'"):
        gene_medians(str(tmp_path / "x"), spark=spark)


def test_a_corpus_without_any_value_is_refused(spark, tmp_path):
    path = write_loom(tmp_path / "s.loom", np.zeros((5, 5), int))
    convert(path, str(tmp_path / "x"), spark=spark)
    with pytest.raises(TableError, match="no value at all"):
        gene_medians(str(tmp_path / "x"), spark=spark)


def test_a_result_is_replaced_only_when_told(spark, expression, tmp_path):
    medians(expression, str(tmp_path / "r"), spark=spark)
    with pytest.raises(OutputError, match="--overwrite"):
        medians(expression, str(tmp_path / "r"), spark=spark)
    medians(expression, str(tmp_path / "r"), spark=spark, compression=50, overwrite=True)
    assert '"compression": 50' in (tmp_path / "r" / "summary.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
