"""Running n numbered tasks on Spark, in the way that works on every Spark from 3.5, classic and Connect."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from median_spark.errors import EngineError
from median_spark.spark.engine.job_description import job_description
from median_spark.spark.engine.spark_errors import explained

Task = Callable[[int], Iterator[pa.RecordBatch]]

_DDL_TYPES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float64(): "double",
}

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


def local_frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return a DataFrame whose rows lie in its plan, so that nothing is computed again when it is used.

    Parameters
    ----------
    spark : SparkSession
        Any session.
    table : pyarrow.Table
        Few rows.
    """
    schema = ddl_of(table.schema)
    if hasattr(DataFrame, "toArrow"):  # Spark 4 takes Arrow as it is
        return spark.createDataFrame(table, schema)
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return spark.createDataFrame(rows, schema)


def ddl_of(schema: pa.Schema) -> str:
    """Return a schema in Spark's DDL.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of string, binary, bool, int32, int64 and float64 alone.
    """
    return ", ".join(
        f"`{field.name}` {_DDL_TYPES[field.type]}{'' if field.nullable else ' not null'}" for field in schema
    )


def collect(frame: DataFrame, schema: pa.Schema, what: str, description: str | None = None) -> pa.Table:
    """Run a Spark job and return its rows.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Few rows.
    schema : pyarrow.Schema
        Of its rows.
    what : str
        What is being done, for errors.
    description : str, optional
        What Spark's own pages say about the job, see `job_description`; by default `what`.

    Raises
    ------
    EngineError
        If the Spark job fails; the message is the last line of the worker's own words.
    """
    try:
        with job_description(frame.sparkSession, description or what):
            if hasattr(frame, "toArrow"):
                return frame.toArrow().cast(schema)
            return pa.Table.from_pylist([row.asDict() for row in frame.collect()], schema=schema)
    except Exception as error:  # pyspark's own, py4j's or gRPC's, by the kind of session
        if _interrupted(error):
            raise KeyboardInterrupt from error
        message = f"{what}: the Spark job failed: {explained(error)}"
        raise EngineError(message) from error


def _interrupted(error: BaseException | None) -> bool:
    """Say whether an error came up while a KeyboardInterrupt was on its way, as pyspark's do that wait for the job."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False
