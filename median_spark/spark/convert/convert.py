"""Converting matrices to an expression table on Spark: outline the sources, read their units, commit each."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import InputError, counted
from median_spark.expression import (
    SMALL_BYTES,
    Columns,
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    WantedSource,
    conversion_fingerprint,
    create_table,
)
from median_spark.job_options import ConvertOptions
from median_spark.matrices import ReadOptions, SourceFile, current
from median_spark.preparation import ConvertPlan, failures_text, prepare_conversion, stop_at_failures
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import Stage, Stopwatch
from median_spark.spark.convert.conversion import Conversion
from median_spark.spark.convert.listed_cells import CellListUse, ListedCells
from median_spark.spark.engine.later import LaterSession, started
from median_spark.spark.engine.session import active_session


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
        Number of cells of the list that were found, if there is one.
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
        Contents of the table now, and what is missing.

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
    return execute_conversion(plan, started(active_session(spark)), progress or SilentProgress())


def execute_conversion(
    plan: ConvertPlan,
    session: LaterSession,
    progress: ProgressReporter,
    check: Callable[[Mapping[str, Columns]], None] | None = None,
) -> ConversionSummary:
    """Do what a plan says; see `convert`.

    `check` gets the columns of the cells of each source as soon as all of them are known, before large sources are
    converted; what it raises ends the conversion.
    """
    begin, watch = time.monotonic(), Stopwatch()
    for note in plan.notes:
        progress.note(note)
    failures = list(plan.failures)
    with storage.locked(storage.canonical(plan.location), "median-spark convert") as lease:
        table = create_table(plan.location)
        committed = {record.source: record for record in table.sources()}
        parameters = plan.reading.as_json() | plan.options.as_parameters()
        wanted = {source.name: conversion_fingerprint(source.name, source.file, parameters) for source in plan.sources}
        records = {} if plan.options.overwrite else _up_to_date(committed, wanted)
        unchanged = list(records)
        to_convert = [source for source in plan.sources if source.name not in records]
        staged = set() if plan.options.overwrite else {wanted[source.name] for source in to_convert}
        table.discard_leftovers(keep=staged, records=committed.values())
        cells = ListedCells(plan.reading.cell_list)
        if to_convert:
            plan = replace(plan, reading=_for_workers(plan.reading))
            known = committed.keys() | {failure.source for failure in table.failures()}
            conversion = Conversion(session, table, plan, known, progress, lease)
            looked_at = [WantedSource(source, wanted[source.name]) for source in to_convert]
            conversion.begin(looked_at, _universe(table, plan.reading))
            with progress.working(looking_text(to_convert)):
                conversion.look()
            stop_at_failures([*failures, *conversion.failures], plan.options)
            _check(check, records, conversion.columns())
            watch.lap("look", tasks=conversion.look_tasks)
            for places in conversion.listed:
                cells.add(places)
            conversion.convert()
            records |= conversion.records
            failures += conversion.failures
            watch.lap("convert", tasks=conversion.tasks, **_figures_of(conversion.records.values()))
        else:
            _check(check, records, {})
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
        seconds=time.monotonic() - begin,
        stages=watch.stages,
        cell_list=cells.used(records.values()),
    )


def _up_to_date(committed: Mapping[str, SourceRecord], wanted: Mapping[str, str]) -> dict[str, SourceRecord]:
    """Return the records of the sources that were converted as is wanted now, in the order of the wanted ones."""
    return {
        name: committed[name]
        for name, conversion in wanted.items()
        if name in committed and committed[name].conversion == conversion and current(committed[name].layout)
    }


def looking_text(sources: Sequence[SourceFile]) -> str:
    """Return what the first Spark job does: it also converts sources whose files are small."""
    small = sum(source.file.size <= SMALL_BYTES for source in sources)
    if small == len(sources):
        return f"reading {counted(small, 'source')}"
    at_once = f", reading the {small:,} small ones at once" if small > 1 else ", reading the small one at once"
    return f"looking at {counted(len(sources), 'source')}{at_once if small else ''}"


def _check(
    check: Callable[[Mapping[str, Columns]], None] | None,
    unchanged: Mapping[str, SourceRecord],
    looked_at: Mapping[str, Columns],
) -> None:
    """Call the check of columns, unless there is no source that has any."""
    columns = {name: record.cell_columns for name, record in unchanged.items()} | dict(looked_at)
    if check is not None and columns:
        check(dict(sorted(columns.items())))


def _figures_of(converted: Collection[SourceRecord]) -> dict[str, int]:
    """Return how many sources were converted, the bytes of their files, and those of their parts."""
    return {
        "sources": len(converted),
        "bytes_in": sum(record.input.size for record in converted),
        "bytes_out": sum(record.stored_bytes for record in converted),
    }


def _for_workers(reading: ReadOptions) -> ReadOptions:
    """Return options without the names of genes, which decide nothing and would be shipped with every task."""
    if reading.gene_table is None:
        return reading
    return replace(reading, gene_table=replace(reading.gene_table, gene_names={}))


def _universe(table: ExpressionTable, reading: ReadOptions) -> str | None:
    """Store the universe of the gene table, and return its fingerprint; None without a gene table."""
    if reading.gene_table is None:
        return None
    return table.store_genes(reading.gene_table.universe(reading.gene_types))
