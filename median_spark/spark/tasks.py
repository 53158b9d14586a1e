"""Running n numbered tasks on Spark, in the way that works on every Spark from 3.5, classic and Connect."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from median_spark.errors import EngineError

Task = Callable[[int], Iterator[pa.RecordBatch]]

_TASKS_A_MERGE = 4
_MOST_MERGES = 512


def run_tasks(spark: SparkSession, tasks: int, schema: str, task: Task) -> DataFrame:
    """Return a lazy DataFrame of what numbered tasks yield, one Spark partition a task.

    Parameters
    ----------
    spark : SparkSession
        Any session.
    tasks : int
        How many; task i is called with i.
    schema : str
        Of the batches, in Spark's DDL.
    task : callable
        Pure but for what it reads and writes; shipped to the workers, and perhaps called again after a failure.
    """

    def on_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from task(number)

    return spark.range(0, tasks, numPartitions=tasks).mapInArrow(on_worker, schema)


def merge_partitions(tasks: int) -> int:
    """Return into how many partitions the output of tasks is shuffled; what comes out does not depend on it."""
    return min(_MOST_MERGES, -(-tasks // _TASKS_A_MERGE))


def run_and_merge(
    spark: SparkSession,
    tasks: int,
    task: Task,
    task_schema: str,
    order: tuple[str, ...],
    merge: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    merged_schema: str,
) -> DataFrame:
    """Return a lazy DataFrame of what numbered tasks yield, shuffled by gene and merged.

    Parameters
    ----------
    spark, tasks, task, task_schema
        See `run_tasks`; the batches have a column ``gene``.
    order : tuple of str
        Columns by which `merge` finds rows ordered, first of all ``gene``; all rows of a gene come to one call.
    merge : callable
        Pure; shipped to the workers.
    merged_schema : str
        Of what `merge` yields, in Spark's DDL.
    """
    return (
        run_tasks(spark, tasks, task_schema, task)
        .repartition(merge_partitions(tasks), "gene")
        .sortWithinPartitions(*order)
        .mapInArrow(merge, merged_schema)
    )


def collect(frame: DataFrame, schema: pa.Schema, what: str) -> pa.Table:
    """Run a Spark job and return its rows.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Few rows.
    schema : pyarrow.Schema
        Of its rows.
    what : str
        What is being done, for errors.

    Raises
    ------
    EngineError
        If the Spark job fails; the message is the last line of the worker's own words.
    """
    try:
        if hasattr(frame, "toArrow"):
            return frame.toArrow().cast(schema)
        return pa.Table.from_pylist([row.asDict() for row in frame.collect()], schema=schema)
    except Exception as error:  # pyspark's own, py4j's or gRPC's, by the kind of session
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise EngineError(f"{what}: the Spark job failed: {reason_of(error)}") from error  # noqa: EM102


def _interrupted(error: BaseException | None) -> bool:
    """Say whether an error came up while a KeyboardInterrupt was on its way, as pyspark's do that wait for the job."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """Return the one line that tells why a Spark job failed: the innermost Python error, else the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in reversed(lines):
        head = line.split(":", 1)[0]
        if head.endswith(("Error", "Exception")) and " " not in head and not head.startswith(("at ", "org.", "java.")):
            return line
    return lines[0] if lines else type(error).__name__
