"""A run that is killed, and one that comes too early, as processes of their own."""

import json
import os
import signal
import subprocess

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom
from processes import frozen, kill_group, start, wait_for
from tables import record_file, stored_records

from median_spark import ConvertOptions, convert
from median_spark.errors import BusyError
from median_spark.expression import SMALL_BYTES, open_table

pytestmark = pytest.mark.spark

SOURCES = 10


def write_sources(folder, cells):
    rng = np.random.default_rng(11)
    for number in range(SOURCES):
        write_loom(folder / f"study{number}.loom", random_counts(rng, 2_000, cells, density=0.15))
    return folder


@pytest.fixture
def corpus(tmp_path):
    return write_sources(tmp_path / "corpus", 1_000)


def rows(expression):
    table = ds.dataset(f"{expression}/values", partitioning="hive").to_table()
    return table.select(["source", "gene", "cell", "value"]).to_pandas()


def cells(expression):
    return ds.dataset(f"{expression}/cells", partitioning="hive").to_table().to_pandas()


@pytest.mark.slow
def test_a_killed_conversion_refused_a_second_one_shows_no_half_and_resumes(spark, tmp_path):
    corpus = write_sources(tmp_path / "corpus", 6_000)  # too large to be converted while Spark starts
    assert all(path.stat().st_size > SMALL_BYTES for path in corpus.iterdir())
    expression = tmp_path / "x"
    given = ("--out", expression, "--master", "local[2]", "--quiet")
    process = start("convert", corpus, *given)
    try:
        wait_for(lambda: stored_records(expression), process)
        holder = f"'median-spark convert' .process {process.pid} on"
        with frozen(process):
            with pytest.raises(BusyError, match=holder):
                convert(str(corpus), str(expression), spark=spark)
            kill_group(process)  # while it cannot commit what its workers have finished meanwhile
    finally:
        kill_group(process)
    committed = open_table(str(expression)).sources()
    assert 0 < len(committed) < SOURCES
    for record in committed:
        for part in record.parts:
            path = expression / "values" / f"source={record.source}" / part.name
            assert pq.read_metadata(path).num_rows == part.rows
        for entry in record.cells_parts:
            path = expression / "cells" / f"source={record.source}" / entry.name
            assert pq.read_metadata(path).num_rows == entry.rows
    resumed = convert(str(corpus), str(expression), spark=spark)
    assert set(resumed.unchanged) == {record.source for record in committed}
    convert(str(corpus), str(tmp_path / "fresh"), spark=spark)
    assert rows(expression).equals(rows(tmp_path / "fresh"))
    assert cells(expression).equals(cells(tmp_path / "fresh"))
    assert not (expression / "staging").exists() or not list((expression / "staging").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["converting", "medians"])
def test_an_interrupted_run_says_so_and_resumes(spark, corpus, tmp_path, stage):
    out = tmp_path / "out"
    wanted = 1 if stage == "converting" else SOURCES
    given = ("--out", out, "--on-error", "skip", "--master", "local[2]")
    process = start("run", corpus, *given, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(stored_records(out / "expression")) >= wanted, process)
        if stage == "medians":
            assert any(line.startswith("digesting") for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        kill_group(process)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "Interrupted. Finished sources are kept; run the same command to resume."
    assert convert(str(corpus), str(out / "expression"), spark=spark).unchanged


def test_units_of_a_source_that_were_done_are_not_read_again(spark, tmp_path):
    path = write_loom(tmp_path / "s.loom", random_counts(np.random.default_rng(0), 300, 640, density=0.3))
    expression = tmp_path / "x"
    convert(path, str(tmp_path / "fresh"), spark=spark, options=ConvertOptions(unit_entries=10_000))
    convert(path, str(expression), spark=spark, options=ConvertOptions(unit_entries=10_000))
    record = open_table(str(expression)).sources()[0]
    assert len(record.parts) > 3
    # As a run leaves it that was killed before the commit, with one unit missing.
    staging = expression / "staging" / record.conversion
    staging.mkdir(parents=True)
    kept = {}
    for unit, part in enumerate(record.parts[:-1]):
        committed = expression / "values" / "source=s" / part.name
        staged = staging / f"part-{unit:05d}.parquet"
        committed.rename(staged)
        kept[unit] = staged.stat().st_mtime_ns
        (expression / "cells" / "source=s" / part.name).rename(staging / f"cells-{unit:05d}.parquet")
        (staging / f"part-{unit:05d}.json").write_text(unit_record(record, unit))
    record_file(expression).unlink()
    convert(path, str(expression), spark=spark, options=ConvertOptions(unit_entries=10_000))
    again = [expression / "values" / "source=s" / part.name for part in open_table(str(expression)).sources()[0].parts]
    assert {unit: again[unit].stat().st_mtime_ns for unit in kept} == kept
    assert len(again) == len(record.parts)
    assert rows(expression).equals(rows(tmp_path / "fresh"))
    assert cells(expression).equals(cells(tmp_path / "fresh"))


def unit_record(record, unit):
    part = record.as_json()["parts"][unit]
    width = 64 * -(-640 // (64 * len(record.parts)))
    cells = [unit * width, min(640, (unit + 1) * width)]
    values = sum(group[0] for group in part["row_groups"])
    _, size, rows = record.as_json()["cells_parts"][unit]
    return json.dumps(
        {
            "cells": cells,
            "values": values,
            "part": {**part, "name": f"part-{unit:05d}.parquet"},
            "error": None,
            "cells_part": [f"cells-{unit:05d}.parquet", size, rows],
        }
    )
