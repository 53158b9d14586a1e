"""Converting matrices to an expression table on Spark: outline the sources, read their units, commit each."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import InputError, UsageError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    check_target,
    conversion_fingerprint,
    create_table,
    reason_of,
    told_if_slow,
)
from median_spark.guard import DEFAULT_LIMITS, Limits, read_guarded
from median_spark.matrices import (
    UNIT_ENTRIES,
    ReadOptions,
    SourceFile,
    SourceOutline,
    Unit,
    equal_contents,
    find_sources,
    outline_of,
)
from median_spark.options import Style, worded
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import Stage, Stopwatch
from median_spark.spark.convert.conversion import Conversion, PendingSource, failures_text, stop_if_told
from median_spark.spark.convert.slow_sources import SlowSources
from median_spark.spark.engine.tasks import collect, run_tasks

_OUTLINES_A_TASK = 8

_OUTLINE_SCHEMA = pa.schema([("place", pa.int64()), ("outline", pa.string()), ("error", pa.string())])


@dataclass(frozen=True)
class ConversionSummary:
    """What a conversion did.

    Attributes
    ----------
    records : list of SourceRecord
        Every input that is now in the table, ascending by name.
    converted, unchanged : list of str
        The names of those converted now, and of those that were up to date.
    failures : list of FailureRecord
        Inputs that could not be converted.
    seconds : float
        Time it took.
    stages : tuple of Stage
        The same, by stages, and what is known of each.
    """

    records: list[SourceRecord]
    converted: list[str]
    unchanged: list[str]
    failures: list[FailureRecord]
    seconds: float
    stages: tuple[Stage, ...] = ()


def convert(
    inputs: str | Sequence[str],
    out: str,
    *,
    spark: SparkSession,
    options: ReadOptions | None = None,
    on_error: str = "fail",
    overwrite: bool = False,
    unit_entries: int = UNIT_ENTRIES,
    limits: Limits = DEFAULT_LIMITS,
    progress: ProgressReporter | None = None,
) -> ConversionSummary:
    """Convert matrices to an expression table, source by source; those that are there already stay as they are.

    Parameters
    ----------
    inputs : str or sequence of str
        Matrices, or folders of them, as paths or URIs.
    out : str
        Folder of the expression table, new or existing.
    spark : SparkSession
        What the work runs on.
    options : ReadOptions, optional
        What decides the values.
    on_error : {"fail", "skip"}
        Whether a source that cannot be converted ends the run, or is reported while the others are finished.
    overwrite : bool
        Whether sources that are up to date are converted again.
    unit_entries : int
        Entries other than zero that a task reads at most; a worker needs about 40 bytes for each. What comes out does
        not depend on it.
    limits : Limits
        Processor time, waiting time and memory that reading a source may use before that source fails.
    progress : ProgressReporter, optional
        Who is told how it goes.

    Returns
    -------
    ConversionSummary
        What is in the table now, and what is not.

    Raises
    ------
    InputError
        If a source cannot be converted and `on_error` is ``"fail"``, or if none can.
    OutputError
        If the target holds something else or cannot be written.
    BusyError
        If another run is writing to the table.
    """
    options, progress = options or ReadOptions(), progress or SilentProgress()
    started, watch = time.monotonic(), Stopwatch()
    if on_error not in {"fail", "skip"}:
        message = f"on_error must be 'fail' or 'skip', not {on_error!r}"
        raise UsageError(message)
    if options.gene_table is not None:
        options.gene_table.universe(options.gene_types)  # refused before anything is read if there is none
    found = find_sources([inputs] if isinstance(inputs, str) else inputs)
    sources = [source for source in found if source.problem is None]
    failures = [FailureRecord(one.name, one.file.path, one.problem) for one in found if one.problem is not None]
    check_target(out)
    stop_if_told(failures, on_error)
    for note in [*found.notes(), *equal_contents(sources)]:
        progress.note(note)
    with storage.locked(storage.canonical(out), "median-spark convert") as lease:
        table = create_table(out)
        committed = {record.source: record for record in table.sources()}
        parameters = options.as_json()
        options = _for_workers(options)
        wanted = {source.name: conversion_fingerprint(source.name, source.file, parameters) for source in sources}
        unchanged = [
            source.name
            for source in sources
            if not overwrite and source.name in committed and committed[source.name].conversion == wanted[source.name]
        ]
        to_convert = [source for source in sources if source.name not in set(unchanged)]
        staged = set() if overwrite else {wanted[source.name] for source in to_convert}
        table.discard_leftovers(keep=staged, records=committed.values())
        records = {name: committed[name] for name in unchanged}
        if to_convert:
            with progress.working(f"looking at {counted(len(to_convert), 'source')}"):
                pending, refused = _outline_sources(
                    spark, table, to_convert, wanted, options, unit_entries, limits, progress
                )
            failures += refused
            stop_if_told(failures, on_error)
            watch.lap("look", tasks=_outline_tasks(len(to_convert)))
            conversion = Conversion(spark, table, pending, options, limits, parameters, on_error, progress, lease)
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
        raise InputError(*failures_text(failures, f"none of the {len(found):,} sources can be converted"))
    return ConversionSummary(
        records=[records[name] for name in sorted(records)],
        converted=sorted(set(records) - set(unchanged)),
        unchanged=unchanged,
        failures=failures,
        seconds=time.monotonic() - started,
        stages=watch.stages,
    )


def _figures_of(converted: Collection[SourceRecord]) -> dict[str, int]:
    """Return how many sources were converted, the bytes of their files, and those of their parts."""
    return {
        "sources": len(converted),
        "bytes_in": sum(record.input.size for record in converted),
        "bytes_out": sum(part.size for record in converted for part in record.parts),
    }


def _outline_tasks(sources: int) -> int:
    return -(-sources // _OUTLINES_A_TASK) if sources > _OUTLINES_A_TASK else sources


def _for_workers(options: ReadOptions) -> ReadOptions:
    """Return options without the names of genes, which decide nothing and would be shipped with every task."""
    if options.gene_table is None:
        return options
    return replace(options, gene_table=replace(options.gene_table, gene_names={}))


def _outline_sources(
    spark: SparkSession,
    table: ExpressionTable,
    sources: list[SourceFile],
    conversions: Mapping[str, str],
    options: ReadOptions,
    unit_entries: int,
    limits: Limits,
    progress: ProgressReporter,
) -> tuple[list[PendingSource], list[FailureRecord]]:
    """Look at every source but for its counts, on the workers, so that what is wrong is known before work begins."""
    whole = options.gene_table
    universe = table.store_genes(whole.universe(options.gene_types)) if whole else None

    def gene_list(seen: SourceOutline) -> str:
        if whole is not None and seen.row_counts.versions_ignored:
            return table.store_genes(whole.without_versions.universe(options.gene_types))
        return universe or table.store_genes(seen.genes.tolist())

    tasks = _outline_tasks(len(sources))
    staging = table.staging

    def task(number: int) -> Iterator[pa.RecordBatch]:
        rows = []
        for place in range(number, len(sources), tasks):
            file = sources[place].file
            try:
                with told_if_slow(staging, conversions[sources[place].name]) as tell:
                    seen = read_guarded(
                        file.path, outline_of, file.path, options, unit_entries, limits=limits, on_slow=tell
                    )
            except InputError as error:
                rows.append({"place": place, "outline": None, "error": reason_of(error, file)})
                continue
            rows.append({"place": place, "outline": json.dumps(_found(seen, gene_list(seen))), "error": None})
        yield pa.RecordBatch.from_pylist(rows, schema=_OUTLINE_SCHEMA)

    frame = run_tasks(spark, tasks, "place long, outline string, error string", task)
    names = {conversions[source.name]: source.name for source in sources}
    with SlowSources(staging, names, limits, progress).watched():
        rows = collect(
            frame, _OUTLINE_SCHEMA, "looking at the sources", f"look at {counted(len(sources), 'source')}"
        ).to_pylist()
    pending, failures = [], []
    for row in sorted(rows, key=lambda row: int(row["place"])):
        source = sources[row["place"]]
        if row["error"] is not None:
            failures.append(FailureRecord(source.name, source.file.path, row["error"]))
            continue
        found = json.loads(row["outline"])
        units = tuple(Unit(**unit) for unit in found.pop("units"))
        pending.append(PendingSource(source, conversions[source.name], found, units))
    return pending, failures


def _found(seen: SourceOutline, gene_list: str) -> dict[str, Any]:
    """Return the fields of a `SourceRecord` that an outline tells, and the units."""
    return {
        "rows": seen.rows,
        "cells": seen.cells,
        "cells_passed": seen.cells_passed,
        "median_n_counts": seen.median_n_counts,
        "genes": len(seen.genes),
        "gene_list": gene_list,
        "row_counts": seen.row_counts.as_json(),
        "warnings": [worded(warning, Style.FLAGS) for warning in seen.warnings],
        "units": [asdict(unit) for unit in seen.units],
    }
