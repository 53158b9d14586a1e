"""SIGKILL at fifty random moments of a run: the driver, a Python worker or its reader, or the whole process group."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom
from processes import SUPPORT, guarded_readers, kill_group, python_workers, start
from tables import fingerprint

from median_spark import ResultOptions
from median_spark.expression import open_table
from median_spark.spark.run import run

pytestmark = [pytest.mark.spark, pytest.mark.slow]

WHOLE_GROUPS, DRIVERS, WORKERS = 6, 6, 38
WORKERS_A_READER = 4  # a reader killed five times over one source ends the run, and is meant to
SOURCES = 8
BY_TISSUE = ResultOptions(by=("tissue",))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "corpus"
    rng = np.random.default_rng(12)
    for number in range(SOURCES):
        tissues = rng.choice(["liver", "lung", "skin"], 700).tolist()
        write_loom(folder / f"study{number}.loom", random_counts(rng, 1_500, 700, density=0.15), col_tissue=tissues)
    return folder


@pytest.fixture(scope="module")
def reference(spark, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference")
    begin = time.monotonic()
    run(str(corpus), str(out), spark=spark, outputs=BY_TISSUE)
    return fingerprint(out / "medians"), time.monotonic() - begin


def assert_no_half(out):
    """What a reader sees at this moment: every source that is there is whole, and a result too."""
    if (out / "expression" / "format.json").exists():
        for record in open_table(str(out / "expression")).sources():
            folder = out / "expression" / "values" / f"source={record.source}"
            assert sum(pq.read_metadata(folder / part.name).num_rows for part in record.parts) == record.values
            folder = out / "expression" / "cells" / f"source={record.source}"
            kept = sum(pq.read_metadata(folder / entry.name).num_rows for entry in record.cells_parts)
            assert kept == record.cells_passed
    if (out / "medians").exists():
        assert pq.read_metadata(out / "medians" / "medians.parquet").num_rows == 1_500
        assert (out / "medians" / "summary.json").exists()
        assert pq.read_metadata(out / "medians" / "groups.parquet").num_rows == 3


@pytest.mark.parametrize(("whole", "times"), [(True, WHOLE_GROUPS), (False, DRIVERS)], ids=["group", "driver"])
def test_a_killed_run_resumes_to_the_same_bytes(spark, corpus, tmp_path, reference, whole, times):
    """Killed again and again at random moments, with a finished resumption after some of them."""
    moments, out = random.Random(20 + whole), tmp_path / "out"
    for number in range(times):
        process = start("run", corpus, "--out", out, "--by", "tissue", "--master", "local[2]", "--quiet")
        try:
            deadline = time.monotonic() + 60
            while not (out / "lock").exists() and time.monotonic() < deadline:
                time.sleep(0.01)  # Spark starts; nothing is written before
            time.sleep(moments.uniform(0, 1.2 * reference[1] + 6))
            if whole:
                kill_group(process)
            else:
                process.kill()
                process.wait()
            assert_no_half(out)
        finally:
            kill_group(process)
        if number % 3 == 2 or number == times - 1:
            run(str(corpus), str(out), spark=spark, outputs=BY_TISSUE)
            assert fingerprint(out / "medians") == reference[0]
            assert not [path.name for path in out.iterdir() if path.name not in {"expression", "lock", "medians"}]
            shutil.rmtree(out)


def test_killed_workers_change_nothing(corpus, tmp_path, reference):
    """Workers of one long-lived driver, and what reads files for them, killed while one run after the other goes on."""
    driver = subprocess.Popen(
        [sys.executable, str(SUPPORT / "again_and_again.py"), str(corpus), str(tmp_path)],
        start_new_session=True,
    )
    moments, killed, deadline = random.Random(7), 0, time.monotonic() + 900
    try:
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(moments.uniform(0, 2.5))
            kind = guarded_readers if killed % WORKERS_A_READER == 0 else python_workers
            found = kind(driver.pid)
            if found and killed < WORKERS:
                with suppress(ProcessLookupError):
                    os.kill(moments.choice(sorted(found)), signal.SIGKILL)
                    killed += 1
            if killed == WORKERS:
                (tmp_path / "enough").touch()
        assert driver.poll() == 0
    finally:
        kill_group(driver)
    results = sorted(tmp_path.glob("out*/medians"))
    assert results
    assert all(fingerprint(result) == reference[0] for result in results)
