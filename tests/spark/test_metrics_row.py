"""The metrics row of real runs: its bytes are those on the disk, its tasks those that Spark ran."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from looms import write_looms
from windows import bundles

from median_spark import ConvertOptions, MedianOptions, ResultOptions, convert, medians, merge, run
from median_spark.results import read_summary

pytestmark = pytest.mark.spark

WINDOW = 30_000
STAGES = ("look", "convert", "digest", "refine", "groups", "digest_pickles", "merge", "write")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    names = [f"study{number}" for number in range(3)]
    return write_looms(tmp_path_factory.mktemp("metered") / "corpus", names, 6, 60, 1_000, density=0.4)


def row_in(folder):
    (row,) = pq.read_table(Path(folder) / "metrics.parquet").to_pylist()
    return row


def size(folder, pattern):
    return sum(path.stat().st_size for path in Path(folder).glob(pattern))


def stages_in(row):
    return [stage for stage in STAGES if row[f"{stage}_seconds"] is not None]


def test_of_a_run_has_all_its_stages(spark, corpus, tmp_path):
    conversion = ConvertOptions(unit_entries=20_000)  # in one unit, they would be converted where they are looked at
    run(str(corpus), str(tmp_path / "out"), spark=spark, conversion=conversion, outputs=ResultOptions(by=("source",)))
    row = row_in(tmp_path / "out" / "medians")
    parts = size(tmp_path / "out" / "expression" / "values", "*/*.parquet")
    assert stages_in(row) == ["look", "convert", "digest", "groups", "write"]
    assert (row["look_tasks"], row["convert_tasks"], row["convert_sources"]) == (3, 6, 3)
    assert row["convert_bytes_in"] == size(corpus, "*.loom")
    assert row["digest_bytes_in"] == parts
    assert row["convert_bytes_out"] == parts + size(tmp_path / "out" / "expression" / "cells", "*/*.parquet")
    assert row["digest_bytes_out"] > 0
    assert row["groups_tasks"] >= 1
    assert row["seconds"] == pytest.approx(sum(row[f"{stage}_seconds"] for stage in stages_in(row)))
    summary = read_summary(str(tmp_path / "out" / "medians"))
    assert (row["sources"], row["cells"], row["values"]) == (3, 3_000, summary.values)


def test_of_a_run_that_found_all_converted_says_so(spark, corpus, tmp_path):
    for _ in range(2):
        run(str(corpus), str(tmp_path / "out"), spark=spark)
    row = row_in(tmp_path / "out" / "medians")
    assert stages_in(row) == ["look", "digest", "write"]
    assert (row["look_tasks"], row["convert_tasks"]) == (0, None)


def test_counts_only_what_was_converted_now(spark, corpus, tmp_path):
    run(str(corpus / "study0.loom"), str(tmp_path / "out"), spark=spark)
    run(str(corpus), str(tmp_path / "out"), spark=spark)
    row = row_in(tmp_path / "out" / "medians")
    assert (row["sources"], row["convert_sources"]) == (3, 2)
    assert row["convert_bytes_in"] == size(corpus, "study[12].loom")


def test_of_medians_in_several_bundles_counts_the_second_pass(spark, corpus, tmp_path):
    report = convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert [stage.name for stage in report.stages] == ["look", "convert"]
    assert sum(stage.seconds for stage in report.stages) <= report.seconds + 0.01
    assert bundles(tmp_path / "x", WINDOW) > 1
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark, options=MedianOptions(window_rows=WINDOW))
    row = row_in(tmp_path / "r")
    assert stages_in(row) == ["digest", "refine", "write"]
    assert row["refine_rounds"] >= 1
    assert row["refine_tasks"] >= row["refine_rounds"] * 2
    assert 0 < row["refine_values_in"] <= row["refine_rounds"] * row["values"]


def test_of_a_merge_counts_its_files(spark, corpus, tmp_path):
    results = []
    for name in ("study0", "study1"):
        run(str(corpus / f"{name}.loom"), str(tmp_path / name), spark=spark)
        results.append(str(tmp_path / name / "medians"))
    merge(results, str(tmp_path / "merged"))
    row = row_in(tmp_path / "merged")
    assert stages_in(row) == ["look", "merge", "write"]
    assert row["merge_files"] == 2
    assert row["merge_bytes_in"] == sum(size(folder, "digests.parquet") for folder in results)
    assert row["spark_version"] is None


def test_converting_alone_leaves_none_in_the_table(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert not list((tmp_path / "x").rglob("metrics*"))
