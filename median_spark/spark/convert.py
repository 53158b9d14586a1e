"""Converting matrices to an expression table on Spark: outline the sources, read their units, commit each."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

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
)
from median_spark.matrices import (
    UNIT_ENTRIES,
    ReadOptions,
    SourceFile,
    SourceOutline,
    Unit,
    find_sources,
    open_matrix,
    outline,
)
from median_spark.results import Stage, Stopwatch
from median_spark.spark.conversion import Conversion, PendingSource, failures_text, stop_if_told
from median_spark.spark.progress import Reporter, Silent
from median_spark.spark.tasks import collect, run_tasks

_OUTLINES_A_TASK = 8

_OUTLINE_SCHEMA = pa.schema([("place", pa.int64()), ("outline", pa.string()), ("error", pa.string())])


@dataclass(frozen=True)
class ConvertReport:
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
    report: Reporter | None = None,
) -> ConvertReport:
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
    report : Reporter, optional
        Who is told how it goes.

    Returns
    -------
    ConvertReport
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
    options, report = options or ReadOptions(), report or Silent()
    started, watch = time.monotonic(), Stopwatch()
    if on_error not in {"fail", "skip"}:
        message = f"on_error must be 'fail' or 'skip', not {on_error!r}"
        raise UsageError(message)
    if options.gene_table is not None:
        options.gene_table.universe(options.gene_types)  # refused before anything is read if there is none
    sources = find_sources([inputs] if isinstance(inputs, str) else inputs)
    check_target(out)
    with storage.locked(storage.canonical(out), "median-spark convert") as right:
        table = create_table(out)
        committed = {record.source: record for record in table.sources()}
        parameters = options.as_json()
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
        failures: list[FailureRecord] = []
        if to_convert:
            with report.working(f"looking at {counted(len(to_convert), 'source')}"):
                pending, failures = _outline_sources(spark, table, to_convert, wanted, options, unit_entries)
            stop_if_told(failures, on_error)
            watch.lap("look", tasks=_outline_tasks(len(to_convert)))
            conversion = Conversion(spark, table, pending, options, parameters, on_error, report, right)
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
        raise InputError(failures_text(failures, f"none of the {len(sources):,} sources can be converted"))
    return ConvertReport(
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


def _outline_sources(
    spark: SparkSession,
    table: ExpressionTable,
    sources: list[SourceFile],
    conversions: Mapping[str, str],
    options: ReadOptions,
    unit_entries: int,
) -> tuple[list[PendingSource], list[FailureRecord]]:
    """Look at every source but for its counts, on the workers, so that what is wrong is known before work begins."""
    whole = options.gene_table
    universe = table.store_genes(whole.universe(options.gene_types)) if whole else None

    def gene_list(seen: SourceOutline) -> str:
        if whole is not None and seen.census.versions_ignored:
            return table.store_genes(whole.without_versions.universe(options.gene_types))
        return universe or table.store_genes(seen.genes.tolist())

    tasks = _outline_tasks(len(sources))

    def task(number: int) -> Iterator[pa.RecordBatch]:
        rows = []
        for place in range(number, len(sources), tasks):
            try:
                with open_matrix(sources[place].file.path, options.names, options.layer) as matrix:
                    seen = outline(matrix, options, unit_entries)
                found = {
                    "rows": seen.rows,
                    "cells": seen.cells,
                    "cells_passed": seen.cells_passed,
                    "median_n_counts": seen.median_n_counts,
                    "genes": len(seen.genes),
                    "gene_list": gene_list(seen),
                    "census": seen.census.as_json(),
                    "warnings": list(seen.warnings),
                    "units": [asdict(unit) for unit in seen.units],
                }
                rows.append({"place": place, "outline": json.dumps(found), "error": None})
            except InputError as error:
                rows.append({"place": place, "outline": None, "error": str(error)})
        yield pa.RecordBatch.from_pylist(rows, schema=_OUTLINE_SCHEMA)

    pending, failures = [], []
    frame = run_tasks(spark, tasks, "place long, outline string, error string", task)
    found_rows = collect(
        frame, _OUTLINE_SCHEMA, "looking at the sources", f"look at {counted(len(sources), 'source')}"
    ).to_pylist()
    for row in sorted(found_rows, key=lambda row: int(row["place"])):
        source = sources[row["place"]]
        if row["error"] is not None:
            failures.append(FailureRecord(source.name, source.file.path, row["error"]))
            continue
        found = json.loads(row["outline"])
        units = tuple(Unit(**unit) for unit in found.pop("units"))
        pending.append(PendingSource(source, conversions[source.name], found, units))
    return pending, failures
