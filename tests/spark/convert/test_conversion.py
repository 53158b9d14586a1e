"""Workers whose parts the driver cannot see, copies of tasks that come late, and what they leave."""

import time
from pathlib import Path

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark import ConvertOptions, ReadOptions, convert, storage
from median_spark.errors import EngineError
from median_spark.expression import create_table, open_table, stage_unit
from median_spark.matrices import Unit
from median_spark.spark.convert import conversion, look_job, unit_job

CELLS = 300


@pytest.fixture
def loom(tmp_path):
    return write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(3), 200, CELLS, density=0.3))


def stage(loom, table):
    """Do what a task does, and return the content and time of each file that is staged then."""
    stage_unit(table.staging, storage.stat(loom), "a1b2", Unit(0, 0, CELLS), ReadOptions())
    staged = Path(table.staging.folder("a1b2"))
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in staged.iterdir()}


def test_a_unit_that_is_staged_is_not_read_again(loom, tmp_path):
    table = create_table(str(tmp_path / "x"))
    first = stage(loom, table)
    assert sorted(first) == ["cells-00000.parquet", "part-00000.json", "part-00000.parquet"]
    assert stage(loom, table) == first


@pytest.mark.parametrize("lost", ["part-00000.json", "part-00000.parquet", "cells-00000.parquet"])
def test_a_unit_that_is_half_staged_is_read_again_to_the_same_bytes(loom, tmp_path, lost):
    table = create_table(str(tmp_path / "x"))
    first = stage(loom, table)
    (Path(table.staging.folder("a1b2")) / lost).unlink()
    again = stage(loom, table)
    assert {name: read for name, (read, _) in again.items()} == {name: read for name, (read, _) in first.items()}


@pytest.fixture(params=["units", "batches"])
def by_units(request, monkeypatch):
    """Whether sources are converted unit by unit, or, as they are small, while they are looked at."""
    if request.param == "units":
        monkeypatch.setattr(conversion, "SMALL_BYTES", -1)
    return request.param == "units"


@pytest.mark.spark
def test_workers_that_write_where_the_driver_cannot_see_it_are_told_of(spark, loom, tmp_path, monkeypatch, by_units):
    """As where --out is a folder of each machine's own disk: the job succeeds, and the driver sees nothing of it."""
    elsewhere = create_table(str(tmp_path / "elsewhere"))
    stage_unit, stage_batch = unit_job.stage_unit, look_job.stage_batch

    def unit_on_its_own_disk(staging, *arguments):
        stage_unit(elsewhere.staging, *arguments)

    def batch_on_its_own_disk(wanted, looking, staging, *arguments):
        return stage_batch(wanted, looking, staging if by_units else elsewhere.staging, *arguments)

    monkeypatch.setattr(unit_job, "stage_unit", unit_on_its_own_disk)
    monkeypatch.setattr(look_job, "stage_batch", batch_on_its_own_disk)
    monkeypatch.setattr(conversion, "_SEEN_LATE_SECONDS", 1.0)
    with pytest.raises(EngineError, match=r"x: the workers have read all cells, but of 1 source \('study'\) what they"):
        convert(loom, str(tmp_path / "x"), spark=spark)
    assert list((tmp_path / "elsewhere" / "staging").rglob("*.parquet"))


@pytest.mark.spark
def test_what_a_late_copy_of_a_task_stages_is_gone_when_the_run_ends(spark, loom, tmp_path, monkeypatch, by_units):
    table = create_table(str(tmp_path / "x"))
    module, name = (unit_job, "stage_unit") if by_units else (look_job, "stage_batch")
    seen = getattr(module, name)

    def twice(*arguments):
        """The second time when the source is committed, as a copy of the task may be that began before."""
        seen(*arguments)
        records = Path(table.location) / "sources"
        deadline = time.monotonic() + 60
        while not list(records.glob("*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return seen(*arguments)

    monkeypatch.setattr(module, name, twice)
    convert(loom, str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"))
    (record,) = open_table(table.location).sources()
    assert record.values
    assert not list((tmp_path / "x" / "staging").iterdir())
