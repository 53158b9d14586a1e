"""The Spark job that looks at sources before a conversion, and converts the small ones: some sources a task."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.errors import counted
from median_spark.expression import LookedAt, Looking, WantedSource, stage_batch
from median_spark.guard import Kept, Limits
from median_spark.progress import ProgressReporter
from median_spark.spark.convert.slow_sources import SlowSources
from median_spark.spark.engine.tasks import Shipped, collect, run_tasks
from median_spark.spark.engine.watch import watched_tasks

_MOST_SOURCES, _MOST_BYTES = 64, 32 << 20
"""Sources of a task, and bytes of small ones: a second's work or two, which is what a killed worker does again."""

_TASKS = 64
"""Tasks that are made before one gets more than one source, so that clusters of up to so many cores are busy."""

_SCHEMA = pa.schema([("task", pa.int64()), ("looked_at", pa.binary())])


@dataclass
class LookJob:
    """A look at some sources.

    Attributes
    ----------
    looking : Looking
        Everything that the workers need.
    wanted : list of WantedSource
        The sources.
    software : dict of str to str
        Versions for the records of those that are converted at once.
    limits : Limits
        Time and memory that reading a source may take.
    outcomes : list of LookedAt
        When it has run: what the look at each source brought.
    """

    looking: Looking
    wanted: list[WantedSource]
    software: dict[str, str]
    limits: Limits
    outcomes: list[LookedAt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._groups = _dealt([one.source.file.size for one in self.wanted], self.looking.small_bytes)

    @property
    def tasks(self) -> int:
        """Number of Spark tasks."""
        return len(self._groups)

    def run(self, spark: SparkSession, progress: ProgressReporter) -> None:
        """Look at the sources; fills `outcomes`."""
        if not self.wanted:
            return
        groups = Shipped([[self.wanted[place] for place in group] for group in self._groups], 1)
        looking, staging, software, limits = (
            Kept.of(self.looking),
            self.looking.table.staging,
            self.software,
            self.limits,
        )

        def task(number: int) -> Iterator[pa.RecordBatch]:
            looked_at = pickle.dumps(stage_batch(groups[number], looking, staging, software, limits))
            yield pa.RecordBatch.from_pydict({"task": [number], "looked_at": [looked_at]}, schema=_SCHEMA)

        frame = run_tasks(spark, self.tasks, _SCHEMA, task)
        names = {one.conversion: one.source.name for one in self.wanted}
        with SlowSources(staging, names, limits, progress).watched(), watched_tasks(spark, progress, self.tasks):
            rows = collect(
                frame, _SCHEMA, "looking at the sources", f"look at {counted(len(self.wanted), 'source')}"
            ).to_pylist()
        outcomes = {
            place: looked_at
            for row in rows
            for place, looked_at in zip(self._groups[row["task"]], pickle.loads(row["looked_at"]), strict=True)
        }
        self.outcomes = [outcomes[place] for place in range(len(self.wanted))]


def _dealt(sizes: Sequence[int], small_bytes: int) -> list[list[int]]:
    """Deal files to tasks by their sizes, so that tasks have about equally much to do; return the places of each."""
    small = sum(size for size in sizes if size <= small_bytes)
    each = min(_MOST_SOURCES, -(-len(sizes) // _TASKS)) or 1
    tasks = min(len(sizes), max(-(-len(sizes) // each), -(-small // _MOST_BYTES)))
    order = sorted(range(len(sizes)), key=lambda place: (-sizes[place], place))
    return [sorted(order[first::tasks]) for first in range(tasks)]
