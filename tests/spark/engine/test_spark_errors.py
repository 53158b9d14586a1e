"""What a failed Spark job is told as, by the words of real failures."""

import pytest

from median_spark.spark.engine.spark_errors import explained, reason_of

MISSING = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/spark/python/lib/pyspark.zip/pyspark/worker.py", line 1, in main
ModuleNotFoundError: No module named 'median_spark'

\tat org.apache.spark.api.python.BasePythonRunner.compute(PythonRunner.scala:1)
"""

NO_PYTHON = """An error occurred while calling o66.collectAsArrowToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 8 times, most recent \
failure: Lost task 0.7 in stage 0.0 (TID 9) (10.0.0.7 executor 1): java.io.IOException: Cannot run program \
"./environment/bin/python": error=2, No such file or directory
\tat java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1143)
"""


def test_the_innermost_python_error_is_the_reason():
    assert reason_of(RuntimeError(MISSING)) == "ModuleNotFoundError: No module named 'median_spark'"


def test_without_one_it_is_the_first_line():
    assert reason_of(RuntimeError("\n  all is lost\nat once\n")) == "all is lost"
    assert reason_of(RuntimeError()) == "RuntimeError"


def test_where_py4j_names_its_call_javas_error_is_the_reason():
    text = "An error occurred while calling o7.sql.\n: ApiException: java.net.ConnectException\n\tat A.b(A.java:1)\n"
    assert reason_of(RuntimeError(text)) == "ApiException: java.net.ConnectException"


def test_a_missing_package_leads_to_the_environment():
    said = explained(RuntimeError(MISSING))
    assert said.startswith(
        "ModuleNotFoundError: No module named 'median_spark': the Python of Spark's workers lacks it"
    )
    assert "--archives" in said


def test_a_missing_python_is_named():
    said = explained(RuntimeError(NO_PYTHON))
    assert said.startswith(
        'Cannot run program "./environment/bin/python": error=2, No such file or directory: the Python'
    )
    assert "PYSPARK_PYTHON" in said


@pytest.mark.parametrize(
    ("said", "reason", "helps"),
    [
        (
            "org.apache.spark.SparkException: EOFException occurred while reading from pyspark.daemon's stdout",
            "pyspark.daemon's stdout",
            "standard error of an executor",
        ),
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has version 3.9, driver 3.11",
            "[PYTHON_VERSION_MISMATCH] Python in worker has version 3.9, driver 3.11",
            "of one minor version",
        ),
        (
            "RuntimeError: different versions of median_spark: the driver runs 0.3 (code a) and a worker 0.2",
            "RuntimeError: different versions of median_spark: the driver runs 0.3 (code a) and a worker 0.2",
            "the same packed environment",
        ),
        (
            "median_spark.errors.OutputError: /x: this file cannot be written (No space left on device)",
            "median_spark.errors.OutputError: /x: this file cannot be written (No space left on device)",
            "make room",
        ),
        (
            "Lost task 1.7 (TID 9): ExecutorLostFailure (executor 3 exited).",
            "ExecutorLostFailure (executor 3 exited)",
            "spark.executor.memoryOverhead",
        ),
    ],
    ids=["no start", "version", "other code", "disk", "lost"],
)
def test_what_helps_follows_the_reason(said, reason, helps):
    told = explained(RuntimeError(f"Job aborted\n{said}\n\tat java.lang.Thread.run"))
    assert told.startswith(f"{reason}: ")
    assert helps in told


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(111, "Connection refused"), RuntimeError("An error occurred while calling o41.sc")],
    ids=["refused", "call"],
)
def test_a_jvm_that_has_ended_is_told_as_such(error):
    assert explained(error).startswith(f"{error}: Spark's own process, beside this one, has ended")


def test_what_is_not_known_stays_as_it_is():
    assert explained(RuntimeError("ValueError: no such thing")) == "ValueError: no such thing"
