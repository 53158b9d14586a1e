"""Converting matrices to an expression table on Spark: outline the sources, read their units, commit each."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import EngineError, InputError, UsageError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    UnitRecord,
    check_target,
    committed_name,
    conversion_fingerprint,
    create_table,
    write_part,
)
from median_spark.matrices import (
    UNIT_ENTRIES,
    ReadOptions,
    SourceFile,
    Unit,
    find_sources,
    open_matrix,
    outline,
    read_unit,
    select_rows,
)
from median_spark.spark.progress import ConvertState, Reporter, Silent
from median_spark.spark.tasks import collect, run_tasks
from median_spark.versions import software_versions

_POLL_SECONDS = 0.5
_OUTLINES_A_TASK = 8


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
    """

    records: list[SourceRecord]
    converted: list[str]
    unchanged: list[str]
    failures: list[FailureRecord]
    seconds: float


@dataclass
class _Pending:
    """A source on its way into the table; what its units yielded gathers here."""

    source: SourceFile
    conversion: str
    found: dict[str, Any]
    units: tuple[Unit, ...]
    done: dict[int, UnitRecord] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        return next((record.error for _, record in sorted(self.done.items()) if record.error), None)

    @property
    def complete(self) -> bool:
        return len(self.done) == len(self.units)


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
    started = time.monotonic()
    if on_error not in {"fail", "skip"}:
        message = f"on_error must be 'fail' or 'skip', not {on_error!r}"
        raise UsageError(message)
    if options.gene_table is not None:
        options.gene_table.universe(options.gene_types)  # refused before anything is read if there is none
    sources = find_sources([inputs] if isinstance(inputs, str) else inputs)
    check_target(out)
    with storage.locked(storage.canonical(out), "median-spark convert"):
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
        table.sweep(keep=set() if overwrite else {wanted[source.name] for source in to_convert})
        records = {name: committed[name] for name in unchanged}
        failures: list[FailureRecord] = []
        if to_convert:
            with report.working(f"looking at {counted(len(to_convert), 'source')}"):
                pending, failures = _outline_sources(spark, table, to_convert, wanted, options, unit_entries)
            _stop_if_told(failures, on_error)
            conversion = _Conversion(spark, table, pending, options, parameters, on_error, report)
            conversion.run()
            records |= conversion.records
            failures += conversion.failures
        failures.sort(key=lambda failure: failure.source)
        for failure in failures:
            table.record_failure(failure)
    if failures and not records:
        raise InputError(_failed_text(failures, len(sources)))
    return ConvertReport(
        records=[records[name] for name in sorted(records)],
        converted=sorted(set(records) - set(unchanged)),
        unchanged=unchanged,
        failures=failures,
        seconds=time.monotonic() - started,
    )


def _outline_sources(
    spark: SparkSession,
    table: ExpressionTable,
    sources: list[SourceFile],
    conversions: Mapping[str, str],
    options: ReadOptions,
    unit_entries: int,
) -> tuple[list[_Pending], list[FailureRecord]]:
    """Look at every source but for its counts, on the workers, so that what is wrong is known before work begins."""
    universe = options.gene_table.universe(options.gene_types) if options.gene_table else None
    gene_list = table.store_genes(universe) if universe else None
    tasks = -(-len(sources) // _OUTLINES_A_TASK) if len(sources) > _OUTLINES_A_TASK else len(sources)

    def task(number: int) -> Iterator[pa.RecordBatch]:
        rows = []
        for place in range(number, len(sources), tasks):
            try:
                with open_matrix(sources[place].file.path, options.names) as matrix:
                    seen = outline(matrix, options, unit_entries)
                found = {
                    "rows": seen.rows,
                    "cells": seen.cells,
                    "cells_passed": seen.cells_passed,
                    "genes": len(seen.genes),
                    "gene_list": gene_list or table.store_genes(seen.genes.tolist()),
                    "census": seen.census.as_json(),
                    "units": [asdict(unit) for unit in seen.units],
                }
                rows.append({"place": place, "outline": json.dumps(found), "error": None})
            except InputError as error:
                rows.append({"place": place, "outline": None, "error": str(error)})
        schema = pa.schema([("place", pa.int64()), ("outline", pa.string()), ("error", pa.string())])
        yield pa.RecordBatch.from_pylist(rows, schema=schema)

    pending, failures = [], []
    frame = run_tasks(spark, tasks, "place long, outline string, error string", task)
    for row in sorted(collect(frame, "looking at the sources"), key=lambda row: int(row["place"])):
        source = sources[row["place"]]
        if row["error"] is not None:
            failures.append(FailureRecord(source.name, source.file.path, row["error"]))
            continue
        found = json.loads(row["outline"])
        units = tuple(Unit(**unit) for unit in found.pop("units"))
        pending.append(_Pending(source, conversions[source.name], found, units))
    return pending, failures


class _Conversion:
    """One Spark job that reads units, and beside it the driver that commits sources and tells how it goes."""

    def __init__(
        self,
        spark: SparkSession,
        table: ExpressionTable,
        pending: list[_Pending],
        options: ReadOptions,
        parameters: dict[str, Any],
        on_error: str,
        report: Reporter,
    ) -> None:
        self._spark = spark
        self._table = table
        self._pending = {source.conversion: source for source in pending}
        self._options = options
        self._parameters = parameters
        self._on_error = on_error
        self._report = report
        self._stop = storage.join(table.location, "staging", "stop")
        self._failed: list[str] = []
        self._settled = 0
        self._values = 0
        self._cells_done = 0
        self._cells = sum(source.found["cells"] for source in pending)
        self._software = software_versions()
        self.records: dict[str, SourceRecord] = {}
        self.failures: list[FailureRecord] = []

    def run(self) -> None:
        """Convert what is pending.

        Raises
        ------
        InputError
            If a source failed and that was to end the run.
        EngineError
            If Spark failed.
        """
        if not self._pending:
            return
        storage.remove(self._stop)
        self._resume()
        self._settle()
        units = [
            (source.source.file.path, source.conversion, unit)
            for source in self._pending.values()
            for unit in source.units
            if unit.number not in source.done
        ]
        job = _Job(self._spark, self._table, units, self._options, self._stop)
        job.start()
        try:
            while not job.wait(_POLL_SECONDS):
                self._gather()
        except BaseException:  # an interrupt too: let the workers stop at their next unit
            storage.write_bytes(self._stop, b"")
            raise
        self._gather()
        for conversion in self._failed:
            storage.remove(self._table.staged(conversion))
        storage.remove(self._stop)
        _stop_if_told(self.failures, self._on_error)
        job.raise_error()
        if self._pending:
            left = [source.source.name for source in self._pending.values()]
            message = f"the Spark job ended and {counted(len(left), 'source')} is not complete: {left[0]}"
            raise EngineError(message)

    def _resume(self) -> None:
        """Take over the units that a killed run had finished, unless they were cut otherwise or failed."""
        for source in self._pending.values():
            found = self._table.staged_records(source.conversion, set())
            cuts = {unit.number: (unit.first, unit.last) for unit in source.units}
            sound = all(
                record.error is None and cuts.get(number) == (record.first, record.last)
                for number, record in found.items()
            )
            if sound:
                for number, record in found.items():
                    self._take(source, number, record)
            else:
                storage.remove(self._table.staged(source.conversion))

    def _gather(self) -> None:
        """Take in what the workers have finished since the last time."""
        for source in self._pending.values():
            for number, record in self._table.staged_records(source.conversion, set(source.done)).items():
                self._take(source, number, record)
        self._settle()

    def _take(self, source: _Pending, number: int, record: UnitRecord) -> None:
        source.done[number] = record
        self._values += record.values
        self._cells_done += record.last - record.first

    def _settle(self) -> None:
        """Commit the sources that are complete, and set aside those that failed."""
        for source in list(self._pending.values()):
            reason = source.error or (self._changed(source) if source.complete else None)
            if reason is not None:
                self.failures.append(FailureRecord(source.source.name, source.source.file.path, reason))
                self._failed.append(source.conversion)
                self._cells_done += sum(
                    unit.last - unit.first for unit in source.units if unit.number not in source.done
                )
                if self._on_error == "fail":
                    storage.write_bytes(self._stop, b"")
            elif source.complete:
                record = self._record(source)
                self._table.commit(record)
                self.records[record.source] = record
            else:
                continue
            del self._pending[source.conversion]
            self._settled += 1
        self._report.convert_state(
            ConvertState(self._settled, self._settled + len(self._pending), self._cells_done, self._cells, self._values)
        )

    def _changed(self, source: _Pending) -> str | None:
        file = source.source.file
        if storage.stat(file.path) == file:
            return None
        return f"{file.path}: this file was changed while it was being read; convert it again"

    def _record(self, source: _Pending) -> SourceRecord:
        parts = []
        for number in sorted(source.done):
            part = source.done[number].part
            if part is not None:
                parts.append(replace(part, name=committed_name(number, source.conversion)))
        return SourceRecord(
            source=source.source.name,
            input=source.source.file,
            conversion=source.conversion,
            values=sum(record.values for record in source.done.values()),
            parameters=self._parameters,
            software=self._software,
            parts=tuple(parts),
            **source.found,
        )


class _Job(threading.Thread):
    """The Spark job, in a thread of its own, so that the driver can commit while it runs."""

    def __init__(
        self,
        spark: SparkSession,
        table: ExpressionTable,
        units: list[tuple[str, str, Unit]],
        options: ReadOptions,
        stop: str,
    ) -> None:
        super().__init__(name="median-spark convert", daemon=True)
        self._spark = spark
        self._table = table
        self._units = units
        self._options = options
        self._stop_marker = stop
        self._error: BaseException | None = None

    def run(self) -> None:
        """Convert all units; what goes wrong is kept for `raise_error`."""
        if not self._units:
            return
        table, units, options, stop = self._table, self._units, self._options, self._stop_marker

        def task(number: int) -> Iterator[pa.RecordBatch]:
            path, conversion, unit = units[number]
            convert_unit(table, path, conversion, unit, options, stop)
            yield pa.RecordBatch.from_pydict({"unit": pa.array([number], pa.int64())})

        try:
            collect(run_tasks(self._spark, len(units), "unit long", task), "converting")
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float) -> bool:
        """Wait a while, and say whether the job has ended."""
        self.join(seconds)
        return not self.is_alive()

    def raise_error(self) -> None:
        """Raise what the job raised, if it did."""
        if self._error is not None:
            raise self._error


def convert_unit(
    table: ExpressionTable, path: str, conversion: str, unit: Unit, options: ReadOptions, stop: str
) -> None:
    """Read one unit, write its part, and then its record; on a worker.

    Nothing is done if the run was stopped or another unit of the source has failed. A matrix that cannot be read is
    recorded and not raised: Spark would only try it again.

    Parameters
    ----------
    table : ExpressionTable
        Where parts are staged.
    path : str
        The matrix.
    conversion : str
        Fingerprint of the source's conversion.
    unit : Unit
        The cells to read.
    options : ReadOptions
        What decides the values.
    stop : str
        A file that is there once the run shall stop.
    """
    part_location, record_location = table.staged_unit(conversion, unit.number)
    failed = storage.join(table.staged(conversion), "failed")
    if storage.stat(stop) is not None or storage.stat(failed) is not None:
        return
    try:
        with open_matrix(path, options.names) as matrix:
            runs, cell_ids = read_unit(matrix, select_rows(matrix, options), unit, options)
    except InputError as error:
        storage.write_bytes(failed, b"")
        record = UnitRecord(unit.first, unit.last, 0, None, str(error))
    else:
        part = write_part(part_location, runs, cell_ids) if len(runs.values) else None
        record = UnitRecord(unit.first, unit.last, len(runs.values), part)
    storage.write_json(record_location, record.as_json())


def _stop_if_told(failures: list[FailureRecord], on_error: str) -> None:
    if failures and on_error == "fail":
        raise InputError(_failed_text(failures, None))


def _failed_text(failures: list[FailureRecord], of: int | None) -> str:
    """Say why sources failed: one sentence for one, else a line each."""
    if len(failures) == 1:
        return failures[0].reason
    many = f"{len(failures):,} sources" if of is None else f"none of the {of:,} sources"
    verb = "cannot be converted" if of is None else "can be converted"
    return "\n".join([f"{many} {verb}:", *(f"  {failure.reason}" for failure in failures)])
