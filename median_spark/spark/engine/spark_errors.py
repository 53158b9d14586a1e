"""Why a Spark job failed, in one line, and what helps where it is the workers' Python, their memory or their disk.

Knows Spark by its words alone: classic sessions, Connect servers and platforms raise errors of many classes.
"""

import re

_PACK = "or give spark-submit the packed environment with --archives …#environment and conf/spark-cluster.conf"

_JVM_ENDED = (
    "Spark's own process, beside this one, has ended, and its output says why: executors may have failed too often, or "
    "it had too little memory. Run the same command again: what is done is kept"
)

_REMEDIES = (
    (
        "No module named",
        "the Python of Spark's workers lacks it: install median_spark where they run, and let PYSPARK_PYTHON name that "
        f"Python, {_PACK}",
    ),
    (
        "Cannot run program",
        f"the Python that Spark's workers shall run is not there: name one that is with PYSPARK_PYTHON, {_PACK}",
    ),
    ("pyspark.daemon's", "the workers' Python ended when it was started: standard error of an executor says why"),
    (
        "[PYTHON_VERSION_MISMATCH]",
        "PYSPARK_PYTHON and PYSPARK_DRIVER_PYTHON must name Pythons of one minor version",
    ),
    (
        "different versions of median_spark",
        "install the driver's version where the workers run, or use the same packed environment for both, under a new "
        "name, because a machine may keep an earlier archive of the same name",
    ),
    ("No space left on device", "make room there, and run the same command again: what is done is kept"),
    (
        "ExecutorLostFailure",
        "executors were lost, most often for want of memory: raise spark.executor.memoryOverhead or lower "
        "spark.executor.cores, and run the same command again: what is done is kept",
    ),
)
"""What Spark says, and what helps; the first that fits is taken."""


def explained(error: BaseException) -> str:
    """Return the reason of a failed Spark job, and after a colon what helps, if that is known."""
    text, in_python = str(error), _innermost_python_error(error)
    if _jvm_ended(error):
        return f"{reason_of(error)}: {_JVM_ENDED}"
    for sign, remedy in _REMEDIES:
        line = next((line.strip() for line in text.splitlines() if sign in line), None)
        if line is not None:
            told = in_python if sign in in_python else line[line.index(sign) :]
            return f"{told.rstrip('.')}: {remedy}"
    return reason_of(error)


def _jvm_ended(error: BaseException) -> bool:
    """Say whether an error is that nothing answers where the JVM did; py4j then names the call and nothing else."""
    networks = isinstance(error, ConnectionError) or type(error).__name__ == "Py4JNetworkError"
    return networks or re.fullmatch(r"An error occurred while calling \S+", str(error)) is not None


def reason_of(error: BaseException) -> str:
    """Return the one line that tells why a Spark job failed: the innermost Python error, else the first line.

    Where that is py4j's, which names the call, the second line has Java's error after a colon, and is returned.
    """
    lines = _lines(error)
    if len(lines) > 1 and lines[1].startswith(": "):
        lines = [lines[1].removeprefix(": ")]
    return _innermost_python_error(error) or (lines[0] if lines else type(error).__name__)


def _innermost_python_error(error: BaseException) -> str:
    """Return the line that names it, or an empty text."""
    for line in reversed(_lines(error)):
        head = line.split(":", 1)[0]
        if head.endswith(("Error", "Exception")) and " " not in head and not head.startswith(("at ", "org.", "java.")):
            return line
    return ""


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
