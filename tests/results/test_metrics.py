"""The metrics row: every figure of the summary, what stages took, and the same columns whatever a run did."""

import csv
import io
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import digests_of, record_of

from median_spark.expression import FailureRecord
from median_spark.results import (
    METRICS_SCHEMA,
    Stage,
    Stopwatch,
    figures_of,
    median_table,
    provenance_of,
    write_result,
)

VALUES = {"ENSG1": [0.3, 0.1, 0.2], "ENSG2": [], "ENSG3": np.random.default_rng(0).lognormal(size=1_500)}
STAGES = (
    Stage("look", 0.5, {"tasks": 1}),
    Stage("convert", 2.0, {"tasks": 3, "sources": 2, "bytes_in": 200, "bytes_out": 150}),
    Stage("digest", 1.0, {"tasks": 4, "bytes_in": 150, "bytes_out": 90}),
)


FAILURE = FailureRecord("db/c", "/looms/db/c.loom", "is cut off")


def write(location, stages=STAGES, failures=(FAILURE,)):
    merged = digests_of(VALUES)
    records = [record_of("db/a", values=30), record_of("db/b", values=30)]
    provenance = provenance_of("/expression", records, failures, {}, "4.0")
    figures = figures_of(records, failures)
    table = median_table(merged, None)
    return write_result(str(location), table, merged, figures, provenance, stages=stages), provenance


def row_in(folder):
    (row,) = pq.read_table(Path(folder) / "metrics.parquet").to_pylist()
    return row


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics") / "result"
    summary, provenance = write(folder)
    return folder, summary, provenance


def test_has_every_figure_of_the_summary_and_lists_counted(written):
    folder, summary, _ = written
    row = row_in(folder)
    plain = {name: found for name, found in summary.as_json().items() if name not in {"geneformer", "failed_sources"}}
    assert {name: row[name] for name in plain} == plain
    assert (row["failed_sources"], row["groups_apart"]) == (1, None)


def test_says_when_where_and_what_by(written):
    folder, _, provenance = written
    row = row_in(folder)
    assert row["written"] == datetime.strptime(provenance.written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert row["result"] == str(folder)
    for name in ("median_spark", "python", "spark", "numpy", "pyarrow", "crick"):
        assert row[f"{name}_version"] == provenance.software[name]


def test_has_what_each_stage_took_and_null_for_those_that_were_not(written):
    row = row_in(written[0])
    for stage in STAGES:
        assert row[f"{stage.name}_seconds"] == stage.seconds
        assert {figure: row[f"{stage.name}_{figure}"] for figure in stage.figures} == stage.figures
    assert 0 < row["write_seconds"] < 60
    assert row["seconds"] == pytest.approx(3.5 + row["write_seconds"])
    others = ("refine_", "groups_", "digest_pickles_", "merge_")
    assert {row[name] for name in METRICS_SCHEMA.names if name.startswith(others)} == {None}


def test_bytes_of_the_writing_are_those_of_the_other_files(written):
    files = [path for path in written[0].rglob("*") if path.is_file() and not path.name.startswith("metrics.")]
    assert row_in(written[0])["write_bytes_out"] == sum(path.stat().st_size for path in files)


def test_columns_are_the_same_whatever_was_done_so_that_rows_append(written, tmp_path):
    write(tmp_path / "merged", [Stage("look", 0.1, {}), Stage("merge", 0.2, {"files": 3, "bytes_in": 10})], failures=())
    tables = [pq.read_table(folder / "metrics.parquet") for folder in (written[0], tmp_path / "merged")]
    both = pa.concat_tables(tables)
    assert both.schema.equals(METRICS_SCHEMA)
    assert both["merge_files"].to_pylist() == [None, 3]
    assert both["failed_sources"].to_pylist() == [1, 0]
    assert len(set(both["run_id"].to_pylist())) == 2


def test_csv_says_the_same(written):
    row = row_in(written[0])
    (line,) = csv.DictReader(io.StringIO((written[0] / "metrics.csv").read_text(encoding="utf-8")))
    assert list(line) == METRICS_SCHEMA.names
    assert datetime.fromisoformat(line.pop("written")) == row.pop("written")
    for field in METRICS_SCHEMA:
        if field.name in line:
            read = {pa.int64(): int, pa.float64(): float}.get(field.type, str)
            assert (read(line[field.name]) if line[field.name] else None) == row[field.name], field.name


@pytest.mark.parametrize("stage", [Stage("digest", 1.0, {"cores": 4}), Stage("rest", 1.0, {})], ids=["figure", "stage"])
def test_what_has_no_column_is_a_mistake_and_nothing_is_written(tmp_path, stage):
    with pytest.raises(KeyError, match=f"{stage.name}_"):
        write(tmp_path / "result", [stage])
    assert list(tmp_path.iterdir()) == []


class TestStopwatch:
    def test_stages_follow_on_each_other_without_a_gap(self, monkeypatch):
        clock = iter([100.0, 102.0, 105.0, 112.0])
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        watch = Stopwatch()
        for name in ("look", "convert", "digest"):
            watch.lap(name)
        monkeypatch.undo()
        assert [(stage.name, stage.seconds) for stage in watch.stages] == [("look", 2), ("convert", 3), ("digest", 7)]

    @given(st.lists(st.tuples(st.sampled_from(["refine", "digest"]), st.integers(0, 9), st.integers(0, 9)), max_size=9))
    def test_a_stage_that_comes_again_adds_up(self, laps):
        watch = Stopwatch([Stage("look", 5.0, {"tasks": 7})])
        for name, tasks, rows in laps:
            watch.lap(name, tasks=tasks, values_in=rows)
        found = {stage.name: dict(stage.figures) for stage in watch.stages}
        assert found.pop("look") == {"tasks": 7}
        assert found == {
            name: {
                "tasks": sum(tasks for other, tasks, _ in laps if other == name),
                "values_in": sum(rows for other, _, rows in laps if other == name),
            }
            for name in {name for name, _, _ in laps}
        }

    def test_goes_on_after_the_stages_of_others(self):
        watch = Stopwatch([Stage("refine", 5.0, {"rounds": 1})])
        watch.lap("refine", rounds=2, tasks=3)
        (stage,) = watch.stages
        assert 5.0 <= stage.seconds < 5.5
        assert stage.figures == {"rounds": 3, "tasks": 3}
