"""The Spark job of a conversion: one task a unit, beside the driver's own work."""

from collections.abc import Iterator, Sequence
from inspect import signature

import pyarrow as pa
from pyspark import InheritableThread
from pyspark.sql import SparkSession

from median_spark.errors import counted
from median_spark.expression import Staging, stage_unit
from median_spark.matrices import SourceFile, Unit
from median_spark.preparation import ConvertPlan
from median_spark.spark.engine.tasks import collect, run_tasks

_UNIT_SCHEMA = pa.schema([("unit", pa.int64())])


class UnitJob:
    """The Spark job, in a thread of its own, so that the driver can commit while it runs.

    The thread inherits what the caller has set on Spark, such as the job group by which a notebook cancels a cell.
    `units` has the source, the fingerprint of its conversion and the cells of each task.
    """

    def __init__(
        self,
        spark: SparkSession,
        staging: Staging,
        units: Sequence[tuple[SourceFile, str, Unit]],
        plan: ConvertPlan,
    ) -> None:
        # Spark 3.5 has no tags on classic sessions to take over, and no such parameter.
        tags = {"session": spark} if "session" in signature(InheritableThread).parameters else {}
        self._thread = InheritableThread(self._run, **tags, name="median-spark convert", daemon=True)
        self._spark = spark
        self._staging = staging
        self._units = units
        self._plan = plan
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin to convert all units."""
        self._thread.start()

    def _run(self) -> None:
        """Convert all units; what goes wrong is kept for `raise_error`."""
        if not self._units:
            return
        staging, units = self._staging, self._units
        reading, limits = self._plan.reading, self._plan.options.limits

        def task(number: int) -> Iterator[pa.RecordBatch]:
            source, conversion, unit = units[number]
            stage_unit(staging, source.file, conversion, unit, reading.of_source(source.name), limits)
            yield pa.RecordBatch.from_pydict({"unit": [number]}, schema=_UNIT_SCHEMA)

        try:
            sources = len({conversion for _, conversion, _ in units})
            description = f"convert {counted(sources, 'source')}, {counted(len(units), 'unit')}"
            collect(run_tasks(self._spark, len(units), _UNIT_SCHEMA, task), _UNIT_SCHEMA, "converting", description)
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float) -> bool:
        """Wait a while, and say whether the job has ended."""
        self._thread.join(seconds)
        alive: bool = self._thread.is_alive()
        return not alive

    @property
    def succeeded(self) -> bool:
        """Whether nothing has gone wrong."""
        return self._error is None

    def raise_error(self) -> None:
        """Raise what the job raised, if it did."""
        if self._error is not None:
            raise self._error
