import json

import numpy as np
import pytest
from looms import random_counts, write_loom
from oracle import corpus_values, read_types
from windows import bundles

from median_spark import (
    ConvertOptions,
    MedianOptions,
    ReadOptions,
    convert,
    medians,
    read_gene_table,
    run,
    table_medians,
)
from median_spark.expression import WINDOW_ROWS

pytestmark = pytest.mark.spark


def assert_exact(found, values):
    rows = {row["gene"]: row for row in found.table.to_pylist() if row["n_cells"]}
    assert rows.keys() == values.keys()
    for gene, row in rows.items():
        of_gene = values[gene]
        assert row["median"] == np.median(of_gene)
        below, up_to = np.sum(of_gene < row["digest_median"]), np.sum(of_gene <= row["digest_median"])
        middle = len(of_gene) / 2
        assert row["digest_rank_error"] * len(of_gene) == pytest.approx(max(below - middle, middle - up_to, 0))


@pytest.mark.parametrize(
    ("window_rows", "several"), [(WINDOW_ROWS, False), (40_000, True), pytest.param(1, True, marks=pytest.mark.slow)]
)
def test_every_median_of_the_demo_corpus_is_exact(spark, demo_expression, demo_values, window_rows, several):
    assert (bundles(demo_expression, window_rows) > 1) == several
    found = table_medians(demo_expression, spark=spark, options=MedianOptions(window_rows=window_rows))
    assert_exact(found, demo_values[0])


@pytest.mark.slow
def test_every_median_of_real_looms_is_exact(spark, real_data, tmp_path):
    table, looms = real_data / "gene_info_table.csv", sorted((real_data / "corpus").rglob("*.loom"))
    options = ReadOptions(gene_table=read_gene_table(str(table)))
    convert(str(real_data / "corpus"), str(tmp_path / "x"), spark=spark, reading=options)
    expected = corpus_values(looms, read_types(table))[0]
    for window_rows, several in ((WINDOW_ROWS, False), (500_000, True)):
        assert (bundles(tmp_path / "x", window_rows) > 1) == several
        assert_exact(
            table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=window_rows)), expected
        )


@pytest.mark.slow
@pytest.mark.parametrize("window_rows", [WINDOW_ROWS, 10_000])
def test_values_spread_over_hundreds_of_parts(spark, tmp_path, window_rows):
    counts = random_counts(np.random.default_rng(0), 12, 64 * 220, density=0.6)
    path = write_loom(tmp_path / "wide.loom", counts)
    convert(path, str(tmp_path / "x"), spark=spark, options=ConvertOptions(unit_entries=100))
    assert len(list((tmp_path / "x").rglob("part-*.parquet"))) > 200
    assert bundles(tmp_path / "x", window_rows) == 1 or bundles(tmp_path / "x", window_rows) > 5
    assert_exact(
        table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=window_rows)),
        corpus_values([path])[0],
    )


@pytest.mark.slow
@pytest.mark.parametrize("window_rows", [WINDOW_ROWS, 2_000])
def test_hard_distributions_come_out_right_where_the_digest_does_not(spark, tmp_path, window_rows):
    cells = 6_000
    rng = np.random.default_rng(0)
    counts = np.zeros((8, cells), dtype=np.int64)
    counts[0, :] = np.where(np.arange(cells) < cells / 2 + 1, 1, 3)  # two values, one cell off half and half
    counts[1, :] = np.where(np.arange(cells) < cells / 2, 1, 3)  # exactly half and half: the mean of both
    counts[2, :] = 1  # all alike
    counts[3, 17] = 5  # one value
    counts[4, :2] = (2, 9)  # two values
    counts[5, :] = rng.integers(1, 4, cells)  # heavy ties
    counts[6, :] = rng.geometric(1e-4, cells)  # spread
    counts[7, : cells - 1] = rng.integers(1, 1000, cells - 1)  # an odd number of them
    path = write_loom(tmp_path / "hard.loom", counts, n_counts=np.full(cells, 10_000.0))
    convert(path, str(tmp_path / "x"), spark=spark, options=ConvertOptions(unit_entries=5_000))
    assert (bundles(tmp_path / "x", window_rows) > 1) == (window_rows < WINDOW_ROWS)
    found = table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=window_rows))
    assert_exact(found, corpus_values([path])[0])
    first = found.table.to_pylist()[0]
    assert first["median"] == 1.0
    assert abs(first["digest_median"] - 1.0) > 0.3


@pytest.mark.slow
def test_brackets_too_wide_for_memory_are_narrowed_by_counting(spark, tmp_path, monkeypatch):
    from median_spark.exact import queries
    from median_spark.spark.medians import refine

    rounds = []
    once = refine._refine_once
    monkeypatch.setattr(refine, "_refine_once", lambda *given: rounds.append(len(given[2])) or once(*given))
    monkeypatch.setattr(queries, "_CLUSTERS", 1e9)  # brackets as wide as all values
    cells = 1_000_000  # a sweep has two parts: more values inside a bracket than it may yield
    counts = random_counts(np.random.default_rng(5), 2, cells, density=1.0)
    totals = np.random.default_rng(6).uniform(1e3, 1e5, cells)  # hardly a value occurs twice
    path = write_loom(tmp_path / "many.loom", counts, n_counts=totals)
    convert(path, str(tmp_path / "x"), spark=spark, options=ConvertOptions(unit_entries=cells))
    assert bundles(tmp_path / "x", cells) > 1
    found = table_medians(str(tmp_path / "x"), spark=spark, options=MedianOptions(window_rows=cells))
    assert_exact(found, corpus_values([path])[0])
    assert len(rounds) >= 2


def test_without_exactness_the_digests_medians_stand(spark, demo, tmp_path):
    done = run(str(demo), str(tmp_path / "out"), spark=spark, options=MedianOptions(exact=False))
    assert done.summary.medians_are == "digest estimates"
    assert done.summary.worst_digest_rank_error is None
    found = table_medians(str(tmp_path / "out" / "expression"), spark=spark, options=MedianOptions(exact=False)).table
    assert found["median"].equals(found["digest_median"])
    assert found["digest_rank_error"].null_count == len(found)


def test_the_summary_states_the_digests_errors(spark, demo_expression, tmp_path):
    medians(demo_expression, str(tmp_path / "medians"), spark=spark)
    summary = json.loads((tmp_path / "medians" / "summary.json").read_text())
    errors = table_medians(demo_expression, spark=spark).table["digest_rank_error"].drop_null().to_numpy()
    assert summary["medians_are"] == "exact"
    assert summary["worst_digest_rank_error"] == errors.max() > 0
    assert summary["p99_digest_rank_error"] == pytest.approx(np.percentile(errors, 99))
