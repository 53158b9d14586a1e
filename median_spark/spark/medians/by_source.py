"""Source by source on Spark: each one's medians and digests, how they compare with the corpus's, which stand apart.

Tasks write what they find to storage, for it is too much for the driver, which reads it back one source at a time.
"""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.digests import PICKLE_ENDING, DigestFiles, Share, cut_shares, piece_table, work_on, write_piece
from median_spark.errors import MedianSparkError, OutputError, TableError, counted
from median_spark.expression import ExpressionTable, SourceRecord, SweepPlan, plan_sweeps, rows_at_once
from median_spark.progress import ProgressReporter
from median_spark.results import (
    SourceComparison,
    SourceRatio,
    Stopwatch,
    assemble_by_source,
    change_of,
    sources_table,
    stand_apart,
)
from median_spark.spark.engine.tasks import collect, run_tasks

if TYPE_CHECKING:
    from median_spark.spark.medians.medians import CorpusMedians

MOST_LEFT_OUT = 5
"""Of the sources that stand apart, so many are left out in turn, the farthest first: each is another pass."""

_DONE_SCHEMA = pa.schema(
    [("task", pa.int64()), ("values", pa.int64()), ("error", pa.string()), ("writing", pa.bool_())]
)
_DONE_DDL = "task long, values long, error string, writing boolean"


class MediansOf(Protocol):
    """Computes the medians of some sources of a table, as `median_spark.gene_medians` does."""

    def __call__(self, records: list[SourceRecord], *, exact: bool) -> "CorpusMedians":
        """Return them."""


@contextlib.contextmanager
def source_by_source(
    spark: SparkSession,
    table: ExpressionTable,
    found: "CorpusMedians",
    medians_of: MediansOf,
    *,
    target: str,
    by_source: bool,
    digest_pickles: str | None,
    exact: bool,
    window_rows: int,
    progress: ProgressReporter,
    watch: Stopwatch,
) -> Iterator[SourceComparison | None]:
    """Work source by source, and lend what a result tells about its sources while the block runs.

    Parameters
    ----------
    spark : SparkSession
        What the work runs on.
    table : ExpressionTable
        Where the values are.
    found : CorpusMedians
        Its medians and sources.
    medians_of : callable
        For sources too large for one sweep, and for what leaving one out changes.
    target : str
        Canonical location of the result: what tasks write is staged beside it.
    by_source : bool
        Whether the sources are compared.
    digest_pickles : str, optional
        Canonical location of a folder for each source's digests, as the published procedure keeps them.
    exact : bool
        Whether the medians without a source are exact; those by source always are.
    window_rows : int
        Values that a worker holds at once.
    progress : ProgressReporter
        Who is told how it goes.
    watch : Stopwatch
        What times it.

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
        If a Spark job fails, or what workers write is not to be seen from here.
    """
    if not by_source and digest_pickles is None:
        yield None
        return
    records, universe = found.records, found.merged.universe
    plan = plan_sweeps(table.values, records, universe, window_rows=window_rows)
    too_large = _too_large(plan, len(records), window_rows)
    whole = digest_pickles is not None
    tasks = cut_shares([record.values for record in records], whole=whole, alone=too_large)
    files = _digest_files(table, records, digest_pickles, found.merged.compression) if digest_pickles else None
    with _staging(target) as (shared, local):
        pieces = [storage.join(shared, f"piece-{number:06d}.parquet") for number in range(len(tasks))]
        places = pieces if by_source else [None] * len(tasks)
        by_workers = [number for number, shares in enumerate(tasks) if shares[0].source not in too_large]
        with progress.working(f"working on {counted(len(records), 'source')} by themselves"):
            _work(spark, plan, records, [(tasks[number], places[number]) for number in by_workers], files)
        for number in sorted(set(range(len(tasks))) - set(by_workers)):
            source = tasks[number][0].source
            progress.note(f"{records[source].source} is too large for one worker: all of them share it")
            _work_on_large(source, medians_of([records[source]], exact=True), plan.genes, places[number], files)
        if not by_source:
            watch.lap("by_source", tasks=len(tasks))
            yield None
            return
        ratios = assemble_by_source(pieces, records, found.table, local / "by_source.parquet")
        sources = _compared(records, ratios, found, medians_of, exact=exact, progress=progress)
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
    spark: SparkSession,
    plan: SweepPlan,
    records: Sequence[SourceRecord],
    tasks: Sequence[tuple[tuple[Share, ...], str | None]],
    files: DigestFiles | None,
) -> None:
    """Run one Spark job over shares of sources."""
    if not tasks:
        return

    def task(number: int) -> Iterator[pa.RecordBatch]:
        shares, piece = tasks[number]
        done: dict[str, object] = {"task": number}
        try:
            done["values"] = work_on(plan, shares, piece, files)
        except MedianSparkError as error:
            done |= {"error": error.text, "writing": isinstance(error, OutputError)}
        yield pa.RecordBatch.from_pylist([done], schema=_DONE_SCHEMA)

    sources = {share.source for shares, _ in tasks for share in shares}
    frame = run_tasks(spark, len(tasks), _DONE_DDL, task)
    description = f"work on {counted(len(sources), 'source')} by themselves"
    rows = collect(frame, _DONE_SCHEMA, "working source by source", description).to_pylist()
    for row in sorted(rows, key=lambda row: int(row["task"])):
        if row["error"] is not None:
            raise OutputError(row["error"]) if row["writing"] else TableError(row["error"])
    read, expected = sum(row["values"] for row in rows), sum(records[source].values for source in sources)
    if read != expected:
        message = f"source by source {read:,} values were read where the sources' records say {expected:,}"
        raise TableError(message)


def _work_on_large(
    source: int, own: "CorpusMedians", genes: npt.NDArray[np.str_], piece: str | None, files: DigestFiles | None
) -> None:
    """Write what a task would have written of a source whose medians took several sweeps."""
    detected = own.table.filter(pc.greater(own.table["n_cells"], 0))
    if piece is not None:
        places = np.searchsorted(genes, np.array(detected["gene"].to_pylist(), dtype=np.str_))
        columns = (detected[name].to_numpy() for name in ("n_cells", "median"))
        write_piece(piece, [piece_table(source, places, *columns)])
    if files is not None:
        files.write(source, own.merged.digests)


def _compared(
    records: Sequence[SourceRecord],
    ratios: Sequence[SourceRatio],
    found: "CorpusMedians",
    medians_of: MediansOf,
    *,
    exact: bool,
    progress: ProgressReporter,
) -> pa.Table:
    """Say which sources stand apart, and what leaving out the farthest of them would change."""
    verdict = stand_apart(ratios)
    changes = {}
    for number in verdict.most_apart(MOST_LEFT_OUT):
        left_out = records[number].source
        progress.note(f"'{left_out}' stands apart: computing the medians without it")
        without = medians_of([record for record in records if record.source != left_out], exact=exact)
        changes[number] = change_of(found.table, without.table)
    return sources_table(records, ratios, verdict, changes)
