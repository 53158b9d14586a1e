"""The Spark job of a conversion: one task a unit, beside the driver's own work."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.errors import counted
from median_spark.expression import Staging, stage_unit
from median_spark.guard import Kept
from median_spark.matrices import SourceFile, Unit
from median_spark.preparation import ConvertPlan
from median_spark.spark.engine.tasks import Shipped, collect, run_tasks

_UNIT_SCHEMA = pa.schema([("unit", pa.int64())])


def convert_units(
    spark: SparkSession, staging: Staging, units: Sequence[tuple[SourceFile, str, Unit]], plan: ConvertPlan
) -> None:
    """Stage all units; each has the source, the fingerprint of the source's conversion and the cells of a task."""
    if not units:
        return
    reading, limits, shipped = Kept.of(plan.reading), plan.options.limits, Shipped(units)
    cell_columns = plan.options.cell_columns

    def task(number: int) -> Iterator[pa.RecordBatch]:
        source, conversion, unit = shipped[number]
        stage_unit(staging, source.file, conversion, unit, reading, limits, source.name, cell_columns)
        yield pa.RecordBatch.from_pydict({"unit": [number]}, schema=_UNIT_SCHEMA)

    sources = len({conversion for _, conversion, _ in units})
    description = f"convert {counted(sources, 'source')}, {counted(len(units), 'unit')}"
    collect(run_tasks(spark, len(units), _UNIT_SCHEMA, task), _UNIT_SCHEMA, "converting", description)
