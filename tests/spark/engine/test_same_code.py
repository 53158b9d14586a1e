"""Work for Spark's workers that is refused where they have another median_spark; processes stand for them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from looms import random_counts, write_loom
from pyspark import cloudpickle

import median_spark
from median_spark.matrices import ReadOptions, find_sources
from median_spark.spark.datasource.matrices import MatrixReader
from median_spark.spark.engine.same_code import for_workers
from median_spark.versions import code_version

WORKER = """
import gc, pickle, sys
print(list(pickle.load(open(sys.argv[1], "rb"))(iter("abc"))))
print(gc.get_freeze_count())
"""
TWICE = f"""{WORKER}
kept = [[] for _ in range(1_000)]
print(list(pickle.load(open(sys.argv[1], "rb"))(iter("de"))))
print(gc.get_freeze_count())
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, as on another machine."""
    shutil.copytree(
        Path(median_spark.__file__).parent, tmp_path / "median_spark", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "median_spark"


def run_in(copy, program):
    """Run a program on the file `work` beside that copy of the package."""
    return subprocess.run(
        [sys.executable, "-c", program, str(copy.parent / "work")],
        cwd=copy.parent,
        env=os.environ | {"PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def called_with(copy, worker=WORKER):
    """Call a function for workers in a process that has that copy of the package."""
    prefix = "seen: "

    def work(batches):
        from median_spark.spark.engine import same_code  # this version's

        assert same_code.for_workers
        yield from (prefix + batch for batch in batches)

    (copy.parent / "work").write_bytes(cloudpickle.dumps(for_workers(work)))
    return run_in(copy, worker)


READER = """
import pickle, sys
reader, shares = pickle.load(open(sys.argv[1], "rb"))
print(sum(len(batch) for share in shares for batch in reader.read(share)))
"""


def read_with(copy):
    """Read a loom as Spark's data source does, in a process that has that copy of the package."""
    loom = copy.parent / "study.loom"
    write_loom(loom, random_counts(np.random.default_rng(5), 30, 20))
    wanted = pa.schema({"value": pa.float64()})
    reader = MatrixReader(find_sources([str(loom)]), ReadOptions(), 1_000_000, wanted)
    (copy.parent / "work").write_bytes(cloudpickle.dumps((reader, reader.partitions())))
    return run_in(copy, READER)


def edit(copy, file, what, instead):
    text = (copy / file).read_text()
    assert what in text
    (copy / file).write_text(text.replace(what, instead))


def test_the_same_code_in_another_place_does_the_work(copy):
    shutil.copy(copy / "errors.py", copy / "errors.txt")  # no code
    done = called_with(copy)
    assert done.stdout.splitlines()[0] == "['seen: a', 'seen: b', 'seen: c']", done.stderr


def test_what_tasks_have_imported_is_spared_by_the_garbage_collector_and_nothing_else_is(copy):
    done = called_with(copy, TWICE)
    first, spared, second, spared_then = done.stdout.splitlines()
    assert (first, second) == ("['seen: a', 'seen: b', 'seen: c']", "['seen: d', 'seen: e']"), done.stderr
    assert int(spared) == int(spared_then) > 10_000


def test_another_build_of_the_same_version_is_refused(copy):
    edit(copy, "spark/tables.py", "import", "import ")
    said = called_with(copy).stderr.splitlines()[-1]
    version = re.escape(median_spark.__version__)
    told = re.fullmatch(
        rf"RuntimeError: different versions of median_spark: the driver runs {version} \(code (\w{{12}})\) "
        rf"and a worker {version} \(code (\w{{12}})\)",
        said,
    )
    assert told, said
    assert told[1] != told[2]
    assert told[1] in code_version()


def test_an_older_version_is_refused_before_it_unpickles_the_work(copy):
    edit(copy, "versions.py", f'__version__ = "{median_spark.__version__}"', '__version__ = "0.1.0"')
    edit(copy, "versions.py", "def code_version", "def _code_version")
    shutil.rmtree(copy / "spark")
    said = called_with(copy).stderr.splitlines()[-1]
    assert said.startswith("RuntimeError: different versions of median_spark: the driver runs")
    assert said.endswith("and a worker 0.1.0")


def test_a_data_source_reads_with_the_same_code_in_another_place(copy):
    done = read_with(copy)
    assert int(done.stdout) > 0, done.stderr


def test_a_data_source_refuses_another_build(copy):
    edit(copy, "spark/tables.py", "import", "import ")
    said = read_with(copy).stderr.splitlines()[-1]
    assert said.startswith("RuntimeError: different versions of median_spark: the driver runs"), said
