"""How many tasks of a job are done: asked of Spark only if somebody wants to know, and without a trace."""

import subprocess
import sys

import pyarrow as pa
import pytest

from median_spark.errors import EngineError
from median_spark.progress import SilentProgress
from median_spark.spark.engine import watch
from median_spark.spark.engine.tasks import collect, merge_by_gene, run_tasks
from median_spark.spark.engine.watch import watched_tasks

pytestmark = pytest.mark.spark

GROUP = "spark.jobGroup.id"
SCHEMA = pa.schema([("gene", pa.string())])


class Told(SilentProgress):
    """Remembers how far the stage was."""

    def __init__(self):
        self.states = []
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def stage_state(self, state):
        self.states.append((state.done, state.total))


@pytest.fixture
def group(spark):
    """A function that returns this thread's job group, which is as before when the test has ended."""
    context = spark.sparkContext
    context.setLocalProperty(GROUP, None)
    yield lambda: context.getLocalProperty(GROUP)
    context.setLocalProperty(GROUP, None)


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.02)


def slow_task(number):
    import time

    time.sleep(0.2)
    yield pa.RecordBatch.from_pydict({"gene": [f"gene {number}"]}, schema=SCHEMA)


def run_slowly(spark, progress, tasks=6, merges=2):
    frame = merge_by_gene(run_tasks(spark, tasks, SCHEMA, slow_task), merges, ("gene",), lambda rows: rows, SCHEMA)
    with watched_tasks(spark, progress, tasks + merges):
        return collect(frame, SCHEMA, "working")


def test_the_tasks_done_of_all_are_reported_in_order(spark, group):
    told = Told()
    assert len(run_slowly(spark, told)) == 6
    done = [done for done, _ in told.states]
    assert {total for _, total in told.states} == {8}
    assert done == sorted(done)
    assert len(set(done) - {0, 8}) >= 2
    assert group() is None


def test_the_callers_group_stays_and_its_earlier_jobs_do_not_count(spark, group):
    spark.sparkContext.setLocalProperty(GROUP, "cell 7")
    run_slowly(spark, SilentProgress())
    told = Told()
    run_slowly(spark, told)
    assert told.states[0][0] < 6
    assert group() == "cell 7"


def test_nothing_is_asked_if_nobody_wants_to_know(spark, group, monkeypatch):
    monkeypatch.setattr(watch, "_Watch", None)
    assert len(run_slowly(spark, SilentProgress())) == 6


def test_a_job_that_fails_leaves_no_group(spark, group):
    def fail(number):
        raise ValueError("broken")  # noqa: EM101

    with pytest.raises(EngineError, match="broken"), watched_tasks(spark, Told(), 1):
        collect(run_tasks(spark, 1, SCHEMA, fail), SCHEMA, "working")
    assert group() is None


def test_a_tracker_that_fails_does_not_end_the_job(spark, group, monkeypatch):
    def fail(self):
        raise RuntimeError("gone")  # noqa: EM101

    monkeypatch.setattr(watch._Watch, "_tasks_done", fail)
    told = Told()
    assert len(run_slowly(spark, told)) == 6
    assert told.states == []


def test_no_start_of_workers_is_explained_where_these_start_at_once(spark, group, monkeypatch):
    monkeypatch.setattr(watch, "_START_SECONDS", 0.0)
    monkeypatch.setattr(watch, "_started_contexts", set())
    told = Told()
    run_slowly(spark, told)
    assert told.states[0][0] == 0
    assert told.notes == []


ON_A_CLUSTER = """
import sys

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.progress import PlainLines
from median_spark.spark.engine import watch
from median_spark.spark.engine.tasks import collect, run_tasks

SCHEMA = pa.schema([("number", pa.int64())])
watch._POLL_SECONDS, watch._START_SECONDS = 0.1, 0.5

def task(number):
    import time
    time.sleep(2)
    yield pa.RecordBatch.from_pydict({"number": [number]}, schema=SCHEMA)

with SparkSession.builder.master("local-cluster[1,1,1024]").getOrCreate() as spark:
    for _ in range(2):
        with watch.watched_tasks(spark, PlainLines(sys.stdout), 1):
            collect(run_tasks(spark, 1, SCHEMA, task), SCHEMA, "working")
"""


@pytest.mark.slow
def test_the_start_of_a_clusters_workers_is_explained_once():
    done = subprocess.run([sys.executable, "-c", ON_A_CLUSTER], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: no task has ended yet: before its first task ends, each worker unpacks")
