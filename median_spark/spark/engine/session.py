"""The Spark session of the command line: the one that is there already, or a local one set up from conf/."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from pyspark.sql import SparkSession

from median_spark.display import TolerantStream, fill_standard_descriptors
from median_spark.errors import EngineError
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.spark.engine.class_archive import ClassArchive, class_archive
from median_spark.spark.engine.connect import check_reachable, connect_address
from median_spark.spark.engine.interrupts import interrupts_as_such, interrupts_kept
from median_spark.spark.engine.java import Java, JavaError, usable_java
from median_spark.spark.engine.processor import worker_environment
from median_spark.spark.engine.surroundings import (
    is_local,
    surroundings_problem,
    temporary_folder_option,
    use_loopback,
    use_own_spark,
)

_JAVA_OPTIONS = "spark.driver.extraJavaOptions"

_QUICK = "-XX:TieredStopAtLevel=1"
"""The JVM's option in conf/spark-local.conf by which it compiles its code quickly, and never well."""

_HOT_LOOPS = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000 "
    "-XX:Tier4BackEdgeThreshold=400000"
)
"""Options by which it compiles well only what runs ten times as often as it would by itself wait for.

Its loops, which the rows of a DataFrame pass through, are then as fast as with Java's defaults: twice as fast as with
`_QUICK`. The start of a session takes a third more processor time than with `_QUICK`, and not twice as much."""


@contextlib.contextmanager
def spark_session(
    master: str | None = None, *, debug: bool = False, progress: ProgressReporter | None = None
) -> Iterator[SparkSession]:
    """Give the session that spark-submit, a notebook or a Connect server provides, else start a local one.

    Parameters
    ----------
    master : str, optional
        Spark's master URL: ``local[4]``, ``spark://host:7077``, ``sc://host:15002``; by default all local cores.
    debug : bool
        Show the JVM's output on the console; otherwise it goes to a file that errors name.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Yields
    ------
    SparkSession
        A session that was started here is stopped when the block ends; an existing one, or a platform's, goes on.

    Raises
    ------
    EngineError
        If there is no Java 17, nothing answers at a Connect address, or Spark does not start.

    Examples
    --------
    >>> import median_spark
    >>> with median_spark.spark_session() as session:
    ...     session.range(3).count()
    3
    """
    with session_with_classes(None, master, debug=debug, progress=progress) as session:
        yield session


@contextlib.contextmanager
def session_with_classes(
    class_options: str | None,
    master: str | None = None,
    *,
    debug: bool = False,
    progress: ProgressReporter | None = None,
    tables_only: bool = False,
) -> Iterator[SparkSession]:
    """Do what `spark_session` does; a JVM that is started gets options that concern its classes.

    By default they are those that use the archive of classes. If there is none, it is made when the session has ended.
    With `tables_only`, the JVM is one that passes no values on: `gene_medians` of a DataFrame would take twice as long.
    """
    session = _existing()
    if session is not None:
        yield session
        return
    start = _prepare(class_options, master, tables_only=tables_only)
    (progress or SilentProgress()).note("starting Spark")
    quietly = _jvm_output_to_file(wanted=not (debug or start.remote or _provided()))
    with quietly as log, interrupts_kept() as interrupted:
        spark = start.session(log)
    with interrupts_as_such():
        try:
            if interrupted.is_set():
                raise KeyboardInterrupt
            yield spark
            if start.own_jvm:
                _end_accumulators(spark)
        except BaseException:
            with contextlib.suppress(Exception):  # a JVM that is gone must not hide what went wrong before
                _stop(spark)
            raise
        else:
            _stop(spark)
        finally:
            if log:
                Path(log).unlink(missing_ok=True)
    if start.archive is not None:
        start.archive.make_later()


@dataclass(frozen=True)
class _Start:
    """A session to be started.

    Attributes
    ----------
    builder
        Builder of the session.
    remote
        True if it is a Connect server's.
    own_jvm
        True if its JVM is started by this process.
    archive
        The archive of classes that this JVM uses, or whose absence it mends when it has ended.
    """

    builder: SparkSession.Builder
    remote: bool = False
    own_jvm: bool = False
    archive: ClassArchive | None = None

    def session(self, log: str | None) -> SparkSession:
        """Start it; EngineError with what `log`, a file of the JVM's output, says if that fails."""
        try:
            return self.builder.getOrCreate()
        except ImportError as error:  # pyspark tells which of gRPC's packages it lacks
            message = f"Spark did not start ({_first_line(error)}): pip install 'median_spark[connect]'"
            raise EngineError(message) from error
        except Exception as error:
            said = _reason_in(Path(log).read_text(errors="replace")) if log else ""
            message = f"Spark did not start ({_first_line(error)} {said}); see {log or 'the output above'}"
            raise EngineError(message) from error


def _prepare(class_options: str | None, master: str | None, *, tables_only: bool) -> _Start:
    """Check what can be checked before Spark starts, and say how it does."""
    builder = SparkSession.builder.appName("median-spark")
    remote = connect_address(master)
    if remote is not None:
        check_reachable(remote)
        return _Start(builder.remote(remote), remote=True)
    if _provided():
        return _Start(builder.master(master) if master and "PYSPARK_GATEWAY_PORT" not in os.environ else builder)
    java = _checked_java()
    _set_environment(master)
    archive = class_archive(java)
    if class_options is None:
        class_options = archive.options() if archive is not None else ""
    for key, value in _own_properties(master, class_options, tables_only=tables_only).items():
        builder = builder.config(key, value)
    return _Start(builder.master(master or "local[*,4]"), own_jvm=True, archive=archive)


def _stop(spark: SparkSession) -> None:
    if not _on_databricks():
        spark.stop()


def _end_accumulators(spark: SparkSession) -> None:
    """End the server to which the JVM sends accumulators of finished jobs, and do not wait for it.

    It looks twice a second if it should end, and pyspark, when Spark is stopped, waits for that; so would Python at its
    end for a thread that is no daemon.
    """
    context = spark.sparkContext
    server = getattr(context, "_accumulatorServer", None)
    if server is not None:
        threading.Thread(target=server.shutdown, name="median-spark accumulators", daemon=True).start()
        context._accumulatorServer = None


def will_start_here(master: str | None) -> bool:
    """Say whether `spark_session` would start a Spark with workers on this machine, and see to its environment.

    EngineError if that Spark cannot be started here.
    """
    if connect_address(master) is not None or _provided() or not is_local(master) or _existing() is not None:
        return False
    _checked_java()
    _set_environment(master)
    return True


def _set_environment(master: str | None) -> None:
    """Set the variables of the environment by which Spark is found and started."""
    use_own_spark()
    use_loopback(master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


def _checked_java() -> Java:
    """Return the Java that Spark will run on; EngineError if Spark cannot be started here."""
    try:
        java = _java_of(*map(os.environ.get, ("JAVA_HOME", "PATH")))
    except JavaError as error:
        raise EngineError(str(error)) from error
    problem = surroundings_problem()
    if problem:
        raise EngineError(problem)
    return java


@lru_cache(maxsize=1)
def _java_of(*_: str | None) -> Java:
    """Return the Java that the environment names, asked once for its version."""
    return usable_java()


def _own_properties(master: str | None, class_options: str, *, tables_only: bool) -> dict[str, str]:
    """Return the properties of a Spark that is started here."""
    properties = local_properties()
    compiling = properties[_JAVA_OPTIONS]
    if not tables_only:
        compiling = compiling.replace(_QUICK, _HOT_LOOPS)
    options = (compiling, temporary_folder_option(), class_options)
    properties[_JAVA_OPTIONS] = " ".join(filter(None, options))
    if is_local(master) and os.environ["PYSPARK_PYTHON"] == sys.executable:  # workers have this processor and numpy
        properties |= {f"spark.executorEnv.{name}": value for name, value in worker_environment().items()}
    return properties


def active_session(spark: SparkSession | None = None) -> SparkSession:
    """Return the session itself or, without one, this thread's active session.

    Raises
    ------
    EngineError
        If there is none.
    """
    session = spark or _existing()
    if session is None:
        message = (
            "there is no active Spark session: give one as spark=…, or make one with "
            "'with median_spark.spark_session() as spark:'"
        )
        raise EngineError(message)
    return session


def local_properties() -> dict[str, str]:
    """Return the properties of ``conf/spark-local.conf``, with the place of ``log4j2.properties`` filled in."""
    properties = {}
    for line in _conf_file("spark-local.conf").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            key, value = text.split(None, 1)
            properties[key] = " ".join(map(_with_place, value.split()))
    return properties


def _with_place(option: str) -> str:
    """Fill the place of ``log4j2.properties`` into a JVM option; in quotes, for the checkout's path may hold spaces."""
    name = "conf/log4j2.properties"
    return f'"{option.replace(name, str(_conf_file("log4j2.properties")))}"' if name in option else option


def _existing() -> SparkSession | None:
    """Return this thread's session or, where another thread has made one, that; it is not ours to stop."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    try:
        session = SparkSession.active()
        session.range(0).count()  # pyspark still names one whose context has been stopped
    except Exception:  # that there is none, or that it is dead: each version and kind has a class of its own for it
        return None
    return session


def _provided() -> bool:
    """Say whether Spark was set up from outside this process: by spark-submit, a Connect address, or a platform."""
    return _on_databricks() or any(name in os.environ for name in ("PYSPARK_GATEWAY_PORT", "SPARK_REMOTE"))


def _on_databricks() -> bool:
    """Say whether Databricks started this process: its one session is shared with whatever else runs there."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def _conf_file(name: str) -> Path:
    """Return a file of conf/, from the installed package or from the checkout that this file is in."""
    installed = Path(str(resources.files("median_spark"))) / "conf" / name
    return installed if installed.exists() else Path(__file__).parents[3] / "conf" / name


@contextlib.contextmanager
def _jvm_output_to_file(*, wanted: bool) -> Iterator[str | None]:
    """While a JVM is started, let standard error be a file: the JVM inherits it and keeps it while it runs."""
    if not wanted:
        yield None
        return
    fill_standard_descriptors()
    descriptor, name = tempfile.mkstemp(prefix="median-spark-", suffix=".log")
    TolerantStream(sys.stderr).flush()
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    try:
        yield name
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _reason_in(log: str) -> str:
    """Return the line of a JVM's output that says why it ended: its last exception's, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"(Caused by: |Exception in |Error: )", line)]
    return (causes or lines or [""])[-1]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
