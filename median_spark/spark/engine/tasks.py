"""Running n numbered tasks on Spark, in the way that works on every Spark from 3.5, classic and Connect."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from median_spark.errors import EngineError, MedianSparkError, OutputError, TableError
from median_spark.spark.engine.job_description import job_description
from median_spark.spark.engine.same_code import for_workers
from median_spark.spark.engine.spark_errors import explained

Task = Callable[[int], Iterator[pa.RecordBatch]]
Merge = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

Item = TypeVar("Item")

_DDL_TYPES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float64(): "double",
}

_ERRORS: dict[str, type[MedianSparkError]] = {error.__name__: error for error in (TableError, OutputError)}
"""Errors that tasks may yield as rows, by name."""

_TASKS_PER_MERGE = 4
_MOST_MERGES = 512


class Shipped(Generic[Item]):
    """Items that travel with a task, pickled by the block: a task that takes one of many unpickles only its block."""

    def __init__(self, items: Sequence[Item], block: int = 64) -> None:
        self._block = block
        self._pickled = [pickle.dumps(items[at : at + block]) for at in range(0, len(items), block)]

    def __getitem__(self, number: int) -> Item:
        items: Sequence[Item] = pickle.loads(self._pickled[number // self._block])
        return items[number % self._block]


def run_tasks(spark: SparkSession, tasks: int, schema: pa.Schema, task: Task) -> DataFrame:
    """Return a lazy DataFrame of what numbered tasks yield, one Spark partition per task.

    Parameters
    ----------
    tasks
        Number of tasks; task i is called with i.
    schema
        Schema of the batches.
    task
        Pure but for what it reads and writes; shipped to the workers, and perhaps called again after a failure.
    """

    def on_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from task(number)

    return spark.range(0, tasks, numPartitions=tasks).mapInArrow(for_workers(on_worker), ddl_of(schema))


def merge_partitions(tasks: int) -> int:
    """Return into how many partitions the output of tasks is shuffled; the result does not depend on it."""
    return min(_MOST_MERGES, -(-tasks // _TASKS_PER_MERGE))


def merge_by_gene(
    frame: DataFrame, partitions: int | None, order: tuple[str, ...], merge: Merge, schema: pa.Schema
) -> DataFrame:
    """Return a lazy DataFrame of rows shuffled by ``gene`` and merged; all rows of a gene come to one call.

    Parameters
    ----------
    partitions
        Number of partitions to shuffle into. With None, adaptive query execution derives it from the bytes to shuffle,
        or the session's setting applies. The session is asked for neither: serverless compute does not tell.
    order
        Columns by which `merge` finds rows ordered, first of all ``gene``.
    merge
        Pure; shipped to the workers.
    schema
        Schema of what `merge` yields.
    """
    by_gene = frame.repartition("gene") if partitions is None else frame.repartition(partitions, "gene")
    return by_gene.sortWithinPartitions(*order).mapInArrow(for_workers(merge), ddl_of(schema))


def local_frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return a DataFrame whose few rows lie in its plan, so that nothing is computed again when it is used."""
    schema = ddl_of(table.schema)
    if hasattr(DataFrame, "toArrow"):  # Spark 4 takes Arrow as it is
        return spark.createDataFrame(table, schema)
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return spark.createDataFrame(rows, schema)


def ddl_of(schema: pa.Schema) -> str:
    """Return a schema of string, binary, bool, int32, int64 and float64 columns in Spark's DDL."""
    return ", ".join(
        f"`{field.name}` {_DDL_TYPES[field.type]}{'' if field.nullable else ' not null'}" for field in schema
    )


def collect(frame: DataFrame, schema: pa.Schema, what: str, description: str | None = None) -> pa.Table:
    """Run a Spark job and return its few rows.

    Parameters
    ----------
    schema
        Schema of the rows. Where it has a column ``error``, tasks yield what is wrong with the data as rows of it.
    what
        Name of the work, for errors.
    description
        Text on Spark's own pages about the job, see `job_description`; by default `what`.

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


def collect_sound(frame: DataFrame, schema: pa.Schema, what: str, description: str | None = None) -> pa.Table:
    """Run a Spark job as `collect` does, and raise the first error that its tasks yield.

    Raises
    ------
    TableError, OutputError
        The error of a row: of the class that its column ``error_class`` names, where the schema has one.
    """
    rows = collect(frame, schema, what, description)
    for row in rows.filter(pc.is_valid(rows["error"])).to_pylist():
        raise _ERRORS[row.get("error_class") or TableError.__name__](row["error"])
    return rows


def _interrupted(error: BaseException | None) -> bool:
    """Say whether an error came up while a KeyboardInterrupt was on its way, as pyspark's do that wait for the job."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False
