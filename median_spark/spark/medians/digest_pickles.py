"""Each source's digests on Spark, in the published procedure's files; a large source takes several sweeps."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from median_spark import storage
from median_spark.digests import PICKLE_ENDING, DigestFiles, digest_sources, tasks_of_sources
from median_spark.errors import MedianSparkError, OutputError, TableError, counted
from median_spark.expression import Grouping, SweepPlan, rows_at_once
from median_spark.results import Stopwatch
from median_spark.spark.engine.tasks import collect_sound, run_tasks
from median_spark.spark.engine.watch import watched_tasks
from median_spark.spark.medians.corpus import CorpusJob, CorpusMedians

_DONE_SCHEMA = pa.schema(
    [("task", pa.int64()), ("values", pa.int64()), ("error", pa.string()), ("error_class", pa.string())]
)


def write_digest_pickles(job: CorpusJob, cells: Grouping, corpus: CorpusMedians, folder: str, watch: Stopwatch) -> None:
    """Digest each source by itself, and write a file for each to a folder.

    Raises
    ------
    TableError
        If a part cannot be read, or the table changes under way.
    OutputError
        If a file cannot be written.
    EngineError
        If a Spark job fails.
    """
    records = cells.records
    plan = job.plan(cells, corpus.merged.universe)
    too_large = _too_large(plan, len(records), job.options.values_per_window)
    files = DigestFiles(
        job.table,
        tuple(record.gene_list for record in records),
        tuple(storage.join(folder, record.source + PICKLE_ENDING) for record in records),
        corpus.merged.compression,
    )
    others = [number for number in range(len(records)) if number not in too_large]
    values = [records[number].values for number in others]
    tasks = [[others[place] for place in places] for places in tasks_of_sources(values)]
    with job.progress.working(f"working on {counted(len(records), 'source')} by themselves"):
        _digest(job, plan, tasks, files, sum(values))
    for number in sorted(too_large):
        job.progress.note(f"{records[number].source} is too large for one worker: all of them share it")
        own = job.medians_of(cells.of_source(records[number]))
        files.write(number, own.merged.digests)
    watch.lap("digest_pickles", tasks=len(tasks) + len(too_large))


def _too_large(plan: SweepPlan, sources: int, window_rows: int) -> frozenset[int]:
    """Return the sources whose parts cannot be read side by side; one part alone always can."""
    several = np.bincount(plan.source_of_part, minlength=sources) > 1
    return frozenset(np.flatnonzero((rows_at_once(plan, sources) > window_rows) & several).tolist())


def _digest(job: CorpusJob, plan: SweepPlan, tasks: Sequence[Sequence[int]], files: DigestFiles, expected: int) -> None:
    """Run one Spark job over sources."""
    if not tasks:
        return

    def task(number: int) -> Iterator[pa.RecordBatch]:
        done: dict[str, object] = {"task": number}
        try:
            done["values"] = digest_sources(plan, tasks[number], files)
        except MedianSparkError as error:
            kind = OutputError if isinstance(error, OutputError) else TableError
            done |= {"error": error.text, "error_class": kind.__name__}
        yield pa.RecordBatch.from_pylist([done], schema=_DONE_SCHEMA)

    frame = run_tasks(job.spark, len(tasks), _DONE_SCHEMA, task)
    description = f"work on {counted(sum(map(len, tasks)), 'source')} by themselves"
    with watched_tasks(job.spark, job.progress, len(tasks)):
        rows = collect_sound(frame, _DONE_SCHEMA, "working source by source", description)
    read = pc.sum(rows["values"]).as_py()
    if read != expected:
        message = f"source by source {read:,} values were read where the sources' records say {expected:,}"
        raise TableError(message)
