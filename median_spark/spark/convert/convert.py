"""Converting matrices to an expression table on Spark: outline the sources, read their units, commit each."""

import pickle
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import InputError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    conversion_fingerprint,
    create_table,
    reason_of,
    slow_marker,
)
from median_spark.guard import read_guarded
from median_spark.job_options import ConvertOptions
from median_spark.matrices import ReadOptions, SourceFile, SourceOutline, current, outline_of
from median_spark.preparation import ConvertPlan, failures_text, prepare_conversion, stop_at_failures
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import Stage, Stopwatch
from median_spark.spark.convert.conversion import Conversion
from median_spark.spark.convert.listed_cells import CellListUse, ListedCells
from median_spark.spark.convert.pending import PendingSource, SourceHead
from median_spark.spark.convert.slow_sources import SlowSources
from median_spark.spark.engine.session import active_session
from median_spark.spark.engine.tasks import collect, run_tasks
from median_spark.spark.engine.watch import watched_tasks

_OUTLINES_PER_TASK = 8

_OUTLINE_SCHEMA = pa.schema([("place", pa.int64()), ("head", pa.binary()), ("error", pa.string())])


@dataclass(frozen=True)
class ConversionSummary:
    """What a conversion did.

    Attributes
    ----------
    records : list of SourceRecord
        Every input that is now in the table, ascending by name.
    converted, unchanged : list of str
        Names of those converted now, and of those that were up to date.
    failures : list of FailureRecord
        Inputs that could not be converted.
    seconds : float
        Time it took.
    stages : tuple of Stage
        The same, by stage, with the figures of each.
    cell_list : CellListUse or None
        How many cells of the list were found, if there is one.
    """

    records: list[SourceRecord]
    converted: list[str]
    unchanged: list[str]
    failures: list[FailureRecord]
    seconds: float
    stages: tuple[Stage, ...] = ()
    cell_list: CellListUse | None = None


def convert(
    inputs: str | Sequence[str],
    out: str,
    *,
    spark: SparkSession | None = None,
    reading: ReadOptions | None = None,
    options: ConvertOptions | None = None,
    progress: ProgressReporter | None = None,
) -> ConversionSummary:
    """Convert matrices to an expression table, source by source; up-to-date sources stay as they are.

    Parameters
    ----------
    inputs : str or sequence of str
        Matrices, or folders of them, as paths or URIs.
    out : str
        Folder of the expression table, new or existing.
    spark : SparkSession, optional
        Session to work on; by default the active one.
    reading : ReadOptions, optional
        Options that decide the values.
    options : ConvertOptions, optional
        Options that decide how the work is done.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    ConversionSummary
        What is in the table now, and what is not.

    Raises
    ------
    InputError
        If a source cannot be converted and ``options.on_error`` is ``"fail"``, or if none can.
    OutputError
        If the target contains something else or cannot be written.
    BusyError
        If another run is writing to the table.
    EngineError
        If there is no Spark session, or the Spark job fails.

    Examples
    --------
    >>> import median_spark
    >>> genes = median_spark.read_gene_table("corpus/gene_info_table.csv")
    >>> reading = median_spark.ReadOptions(gene_table=genes)
    >>> done = median_spark.convert("corpus", "expression", spark=spark, reading=reading)
    >>> len(done.records)
    5
    """
    plan = prepare_conversion(inputs, out, reading, options)
    return execute_conversion(plan, active_session(spark), progress or SilentProgress())


def execute_conversion(plan: ConvertPlan, spark: SparkSession, progress: ProgressReporter) -> ConversionSummary:
    """Do what a plan says; see `convert`."""
    started, watch = time.monotonic(), Stopwatch()
    for note in plan.notes:
        progress.note(note)
    failures = list(plan.failures)
    with storage.locked(storage.canonical(plan.location), "median-spark convert") as lease:
        table = create_table(plan.location)
        committed = {record.source: record for record in table.sources()}
        parameters = plan.reading.as_json()
        wanted = {source.name: conversion_fingerprint(source.name, source.file, parameters) for source in plan.sources}
        unchanged = [
            name
            for name, conversion in wanted.items()
            if not plan.options.overwrite
            and name in committed
            and committed[name].conversion == conversion
            and current(committed[name].layout)
        ]
        to_convert = [source for source in plan.sources if source.name not in set(unchanged)]
        staged = set() if plan.options.overwrite else {wanted[source.name] for source in to_convert}
        table.discard_leftovers(keep=staged, records=committed.values())
        records = {name: committed[name] for name in unchanged}
        cells = ListedCells(plan.reading.cell_list)
        if to_convert:
            plan = replace(plan, reading=_for_workers(plan.reading))
            with progress.working(f"looking at {counted(len(to_convert), 'source')}"):
                pending, rejected = _outline_sources(spark, table, to_convert, wanted, plan, progress)
            failures += rejected
            stop_at_failures(failures, plan.options)
            watch.lap("look", tasks=_outline_tasks(len(to_convert)))
            conversion = Conversion(spark, table, pending, plan, progress, lease)
            for source in pending:
                cells.add(source.head.listed)
            conversion.run()
            records |= conversion.records
            failures += conversion.failures
            watch.lap("convert", tasks=conversion.tasks, **_figures_of(conversion.records.values()))
        else:
            watch.lap("look", tasks=0)
        failures.sort(key=lambda failure: failure.source)
        for failure in failures:
            table.record_failure(failure)
    if failures and not records:
        sources = len(plan.sources) + len(plan.failures)
        raise InputError(*failures_text(failures, f"none of the {sources:,} sources can be converted"))
    return ConversionSummary(
        records=[records[name] for name in sorted(records)],
        converted=sorted(set(records) - set(unchanged)),
        unchanged=unchanged,
        failures=failures,
        seconds=time.monotonic() - started,
        stages=watch.stages,
        cell_list=cells.used(records.values()),
    )


def _figures_of(converted: Collection[SourceRecord]) -> dict[str, int]:
    """Return how many sources were converted, the bytes of their files, and those of their parts."""
    return {
        "sources": len(converted),
        "bytes_in": sum(record.input.size for record in converted),
        "bytes_out": sum(part.size for record in converted for part in record.parts),
    }


def _outline_tasks(sources: int) -> int:
    return -(-sources // _OUTLINES_PER_TASK) if sources > _OUTLINES_PER_TASK else sources


def _for_workers(reading: ReadOptions) -> ReadOptions:
    """Return options without the names of genes, which decide nothing and would be shipped with every task."""
    if reading.gene_table is None:
        return reading
    return replace(reading, gene_table=replace(reading.gene_table, gene_names={}))


def _outline_sources(
    spark: SparkSession,
    table: ExpressionTable,
    sources: list[SourceFile],
    conversions: Mapping[str, str],
    plan: ConvertPlan,
    progress: ProgressReporter,
) -> tuple[list[PendingSource], list[FailureRecord]]:
    """Inspect every source without reading counts, on the workers, so that faults are known before work begins."""
    reading, entries, limits = plan.reading, plan.options.entries_per_unit, plan.options.limits
    gene_table = reading.gene_table
    universe = table.store_genes(gene_table.universe(reading.gene_types)) if gene_table else None

    def gene_list(outline: SourceOutline) -> str:
        if gene_table is not None and outline.row_counts.versions_ignored:
            return table.store_genes(gene_table.without_versions.universe(reading.gene_types))
        return universe or table.store_genes(outline.genes.tolist())

    tasks = _outline_tasks(len(sources))
    staging = table.staging

    def task(number: int) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, object]] = []
        for place in range(number, len(sources), tasks):
            file = sources[place].file
            try:
                with slow_marker(staging, conversions[sources[place].name]) as tell:
                    outline = read_guarded(
                        file.path,
                        outline_of,
                        file.path,
                        reading.of_source(sources[place].name),
                        entries,
                        limits=limits,
                        on_slow=tell,
                    )
            except InputError as error:
                rows.append({"place": place, "head": None, "error": reason_of(error, file)})
                continue
            head = pickle.dumps(SourceHead.of(outline, gene_list(outline)))
            rows.append({"place": place, "head": head, "error": None})
        yield pa.RecordBatch.from_pylist(rows, schema=_OUTLINE_SCHEMA)

    frame = run_tasks(spark, tasks, _OUTLINE_SCHEMA, task)
    names = {conversions[source.name]: source.name for source in sources}
    with SlowSources(staging, names, limits, progress).watched(), watched_tasks(spark, progress, tasks):
        rows = collect(
            frame, _OUTLINE_SCHEMA, "looking at the sources", f"look at {counted(len(sources), 'source')}"
        ).to_pylist()
    pending, failures = [], []
    for row in sorted(rows, key=lambda row: int(row["place"])):
        source = sources[row["place"]]
        if row["error"] is not None:
            failures.append(FailureRecord(source.name, source.file.path, row["error"]))
        else:
            pending.append(PendingSource(source, conversions[source.name], pickle.loads(row["head"])))
    return pending, failures
