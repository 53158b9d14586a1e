"""`python -m median_spark.spark.make_class_archive`: let a JVM run what this package does, and archive its classes."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from median_spark.errors import EngineError
from median_spark.spark.dataframe.gene_medians import gene_medians
from median_spark.spark.engine.class_archive import class_archive, end_jvm
from median_spark.spark.engine.java import JavaError, usable_java
from median_spark.spark.engine.session import session_with_classes
from median_spark.spark.engine.surroundings import use_own_spark
from median_spark.spark.engine.tasks import collect, merge_by_gene, run_tasks

_VALUES = pa.table({"gene": ["A", "A", "B"], "value": [1.0, 2.0, 3.0], "source": ["a", "b", "b"]})


def make_class_archive() -> Path | None:
    """Make the archive unless it is there, or is being made; return where it is, or None if there is none.

    Raises
    ------
    JavaError
        If Spark cannot run on this machine's Java.
    EngineError
        If Spark does not run, or the JVM could not write the archive.
    """
    use_own_spark()
    archive = class_archive(usable_java())
    if archive is None:
        return None
    with archive.making() as options:
        if options is not None:
            with session_with_classes(options, "local[2]") as spark:
                _use(spark)
            status = end_jvm()
            if status:
                message = f"the JVM that archives its classes ended with status {status}"
                raise EngineError(message)
    return archive.path if archive.path.exists() else None


def _use(spark: SparkSession) -> None:
    """Run a few rows through what conversions and medians use of Spark."""
    schema = _VALUES.schema

    def values(_: int) -> Iterator[pa.RecordBatch]:
        yield from _VALUES.to_batches()

    def as_they_are(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    tasks = run_tasks(spark, 2, schema, values)
    collect(tasks, schema, "archiving classes")
    collect(merge_by_gene(tasks, 2, ("gene", "source"), as_they_are, schema), schema, "archiving classes")
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(_VALUES, Path(folder) / "values.parquet")
        gene_medians(spark.read.parquet(folder), source_col="source")


if __name__ == "__main__":
    try:
        made = make_class_archive()
    except (EngineError, JavaError) as error:
        sys.exit(f"note: Spark starts without an archive of its classes: {error}")
    print(f"classes of Spark: {made}" if made else "note: Spark starts without an archive of its classes")
