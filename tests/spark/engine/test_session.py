"""The properties of a Spark that is started here, and its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark.spark.engine import session
from median_spark.spark.engine.processor import DISABLED

OPTIONS = "spark.driver.extraJavaOptions"


@pytest.fixture
def own(monkeypatch):
    """Return a function that gives the properties, on a processor that sorts faster without one of numpy's features."""
    monkeypatch.setattr(session, "worker_environment", lambda: {DISABLED: "X86_V4"})
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)

    def properties(master=None, classes="", *, tables_only=False):
        return session._own_properties(master, classes, tables_only=tables_only)

    return properties


def test_the_jvm_compiles_quickly_for_tables_and_hot_loops_well_for_dataframes(own):
    assert "-XX:TieredStopAtLevel=1" in own(tables_only=True)[OPTIONS].split()
    assert "-XX:TieredStopAtLevel=1" not in own()[OPTIONS]
    assert "-XX:Tier4BackEdgeThreshold=400000" in own()[OPTIONS].split()


def test_the_jvm_gets_the_options_of_its_classes_and_of_its_log(own):
    options = own(classes="-XX:SharedArchiveFile=a.jsa")[OPTIONS]
    assert options.endswith("-XX:SharedArchiveFile=a.jsa")
    assert "log4j2.properties" in options


def test_workers_leave_features_of_numpy_where_they_have_this_processor_and_this_numpy(own, monkeypatch):
    name = f"spark.executorEnv.{DISABLED}"
    assert own()[name] == own("local[2]")[name] == "X86_V4"
    assert name not in own("spark://host:7077")
    monkeypatch.setenv("PYSPARK_PYTHON", "/usr/bin/other-python")
    assert name not in own()


def test_the_end_does_not_wait_for_pyspark_s_accumulators():
    waiting, ended = threading.Event(), threading.Event()

    class Server:
        def shutdown(self):
            waiting.wait(60)
            ended.set()

    class Context:
        _accumulatorServer = Server()

    class Spark:
        sparkContext = Context()

    session._end_accumulators(Spark)
    assert Spark.sparkContext._accumulatorServer is None
    assert not ended.is_set()
    waiting.set()
    assert ended.wait(60)


TWO_SESSIONS = """
import median_spark
for _ in range(2):
    with median_spark.spark_session("local[1]") as spark:
        print(spark.range(3).mapInArrow(lambda batches: batches, "id long").count())
"""


@pytest.mark.spark
@pytest.mark.slow
def test_one_session_after_another_in_one_process():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", TWO_SESSIONS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3"]
    assert "Traceback" not in done.stderr


JVM_KILLED = """
import os, signal
import median_spark
from median_spark.spark.engine.tasks import collect
import pyarrow as pa
with median_spark.spark_session("local[1]") as spark:
    frame = spark.range(3)
    os.kill(spark._jvm.java.lang.ProcessHandle.current().pid(), signal.SIGKILL)
    collect(frame, pa.schema({"id": pa.int64()}), "counting")
"""


JVM_OUT_OF_MEMORY = """
import os
import median_spark
from median_spark.spark.engine.tasks import collect, run_tasks
import pyarrow as pa
schema = pa.schema({"content": pa.binary()})
def large(task):
    yield pa.RecordBatch.from_pydict({"content": [os.urandom(110_000_000)]}, schema)
with median_spark.spark_session("local[4]") as spark:
    collect(run_tasks(spark, 4, schema, large), schema, "collecting")
"""


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize(("program", "what"), [(JVM_KILLED, "counting"), (JVM_OUT_OF_MEMORY, "collecting")])
def test_a_jvm_that_ends_is_an_error_which_its_end_does_not_hide(program, what):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"median_spark.errors.EngineError: {what}: the Spark job failed: ")
    assert "Spark's own process, beside this one, has ended" in said
    assert ("java.lang.OutOfMemoryError" in done.stdout + done.stderr) == (program == JVM_OUT_OF_MEMORY)


@pytest.mark.slow
@pytest.mark.spark
def test_an_interrupt_while_spark_starts_leaves_no_jvm(tmp_path):
    write_loom(tmp_path / "corpus" / "study.loom", random_counts(np.random.default_rng(3), 30, 20))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "median_spark", "run", "corpus", "--out", "result"]
    run = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr.readline() == "starting Spark\n"
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=300)  # a JVM that is left would keep standard output open
    assert run.returncode == 130
    assert said.startswith("Interrupted.")
