"""Source by source on Spark: each one's medians and digests, how they compare with the corpus's, which stand apart.

Tasks write their results to storage, because they are too large for the driver, which reads them back one source at a
time.
"""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark import storage
from median_spark.digests import (
    PICKLE_ENDING,
    DigestFiles,
    SourceSweep,
    cut_sources,
    source_medians,
    sweep_sources,
    write_source_medians,
)
from median_spark.errors import MedianSparkError, OutputError, TableError, counted
from median_spark.expression import ExpressionTable, SourceRecord, SweepPlan, rows_at_once
from median_spark.job_options import ResultOptions
from median_spark.results import (
    SourceComparison,
    SourceRatio,
    Stopwatch,
    assemble_by_source,
    change_of,
    sources_table,
    stand_apart,
)
from median_spark.spark.engine.tasks import collect_sound, run_tasks
from median_spark.spark.engine.watch import watched_tasks
from median_spark.spark.medians.corpus import CorpusJob, CorpusMedians

MOST_LEFT_OUT = 5
"""Of the sources that stand apart, so many are left out in turn, the farthest first: each is another pass."""

_DONE_SCHEMA = pa.schema(
    [("task", pa.int64()), ("values", pa.int64()), ("error", pa.string()), ("error_class", pa.string())]
)


@contextlib.contextmanager
def source_by_source(
    job: CorpusJob, corpus: CorpusMedians, target: str, outputs: ResultOptions, watch: Stopwatch
) -> Iterator[SourceComparison | None]:
    """Work source by source, and lend what a result says about its sources while the block runs.

    Parameters
    ----------
    job
        Computes the medians of sources too large for one sweep, and those without a source.
    corpus
        Medians and sources of the corpus.
    target
        Canonical location of the result: what tasks write is staged beside it.
    outputs
        Whether the sources are compared, and the folder for their digests.

    Yields
    ------
    SourceComparison or None
        None where the sources are not compared.

    Raises
    ------
    TableError
        If a part cannot be read, or the table changes under way.
    OutputError
        If something cannot be written.
    EngineError
        If a Spark job fails, or what workers write is not visible to the driver.
    """
    by_source, folder = outputs.by_source, outputs.digest_pickles
    if not by_source and folder is None:
        yield None
        return
    records = corpus.records
    plan = job.plan(records, corpus.merged.universe)
    too_large = _too_large(plan, len(records), job.options.values_per_window)
    tasks = cut_sources([record.values for record in records], whole=folder is not None, alone=too_large)
    files = _digest_files(job.table, records, folder, corpus.merged.compression) if folder is not None else None
    with _staging(target) as (shared, local):
        pieces = [storage.join(shared, f"piece-{number:06d}.parquet") for number in range(len(tasks))]
        places = pieces if by_source else [None] * len(tasks)
        by_workers = [number for number, sweeps in enumerate(tasks) if sweeps[0].source not in too_large]
        with job.progress.working(f"working on {counted(len(records), 'source')} by themselves"):
            _work(job, plan, records, [(tasks[number], places[number]) for number in by_workers], files)
        for number in sorted(set(range(len(tasks))) - set(by_workers)):
            source = tasks[number][0].source
            job.progress.note(f"{records[source].source} is too large for one worker: all of them share it")
            _write_large(source, job.exactly().medians_of([records[source]]), plan.genes, places[number], files)
        if not by_source:
            watch.lap("by_source", tasks=len(tasks))
            yield None
            return
        ratios = assemble_by_source(pieces, records, corpus.table, local / "by_source.parquet")
        sources = _compared(job, corpus, ratios)
        watch.lap("by_source", tasks=len(tasks))
        yield SourceComparison(sources, local / "by_source.parquet")


def _too_large(plan: SweepPlan, sources: int, window_rows: int) -> frozenset[int]:
    """Return the sources whose parts cannot be read side by side; one part alone always can."""
    several = np.bincount(plan.source_of_part, minlength=sources) > 1
    return frozenset(np.flatnonzero((rows_at_once(plan, sources) > window_rows) & several).tolist())


def _digest_files(
    table: ExpressionTable, records: Sequence[SourceRecord], folder: str, compression: float
) -> DigestFiles:
    return DigestFiles(
        table,
        tuple(record.gene_list for record in records),
        tuple(storage.join(folder, record.source + PICKLE_ENDING) for record in records),
        compression,
    )


@contextlib.contextmanager
def _staging(target: str) -> Iterator[tuple[str, Path]]:
    """Make a folder that workers and driver see, and a local one, both gone when the block ends, however it ends."""
    with contextlib.ExitStack() as stack:
        if storage.is_local(target):
            shared = storage.new_folder_for(target)
            local = Path(shared)
        else:
            parent, _, name = target.rpartition("/")
            # A bucket's root has no neighbour.
            beside = target if parent.endswith("/") else parent
            shared = storage.join(beside, f".{name}.{uuid.uuid4().hex[:12]}.unfinished")
            local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="median-spark-")))
        stack.callback(storage.remove, shared)
        yield shared, local


def _work(
    job: CorpusJob,
    plan: SweepPlan,
    records: Sequence[SourceRecord],
    tasks: Sequence[tuple[tuple[SourceSweep, ...], str | None]],
    files: DigestFiles | None,
) -> None:
    """Run one Spark job over sweeps of sources."""
    if not tasks:
        return

    def task(number: int) -> Iterator[pa.RecordBatch]:
        sweeps, location = tasks[number]
        done: dict[str, object] = {"task": number}
        try:
            done["values"] = sweep_sources(plan, sweeps, location, files)
        except MedianSparkError as error:
            kind = OutputError if isinstance(error, OutputError) else TableError
            done |= {"error": error.text, "error_class": kind.__name__}
        yield pa.RecordBatch.from_pylist([done], schema=_DONE_SCHEMA)

    sources = {each.source for sweeps, _ in tasks for each in sweeps}
    frame = run_tasks(job.spark, len(tasks), _DONE_SCHEMA, task)
    description = f"work on {counted(len(sources), 'source')} by themselves"
    with watched_tasks(job.spark, job.progress, len(tasks)):
        rows = collect_sound(frame, _DONE_SCHEMA, "working source by source", description)
    read, expected = pc.sum(rows["values"]).as_py(), sum(records[source].values for source in sources)
    if read != expected:
        message = f"source by source {read:,} values were read where the sources' records say {expected:,}"
        raise TableError(message)


def _write_large(
    source: int, own: CorpusMedians, genes: npt.NDArray[np.str_], piece: str | None, files: DigestFiles | None
) -> None:
    """Write what a task would have written of a source whose medians took several sweeps."""
    detected = own.table.filter(pc.greater(own.table["n_cells"], 0))
    if piece is not None:
        places = np.searchsorted(genes, np.array(detected["gene"].to_pylist(), dtype=np.str_))
        columns = (detected[name].to_numpy() for name in ("n_cells", "median"))
        write_source_medians(piece, [source_medians(source, places, *columns)])
    if files is not None:
        files.write(source, own.merged.digests)


def _compared(job: CorpusJob, corpus: CorpusMedians, ratios: Sequence[SourceRatio]) -> pa.Table:
    """Say which sources stand apart, and what leaving out the farthest of them would change."""
    records = corpus.records
    verdict = stand_apart(ratios)
    changes = {}
    for number in verdict.most_apart(MOST_LEFT_OUT):
        left_out = records[number].source
        job.progress.note(f"'{left_out}' stands apart: computing the medians without it")
        without = job.medians_of([record for record in records if record.source != left_out])
        changes[number] = change_of(corpus.table, without.table)
    return sources_table(records, ratios, verdict, changes)
