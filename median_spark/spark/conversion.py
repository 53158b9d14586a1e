"""One conversion under way: a Spark job reads units; beside it the driver commits each source as it is complete."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import EngineError, InputError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    UnitRecord,
    committed_name,
    stage_unit,
)
from median_spark.matrices import ReadOptions, SourceFile, Unit
from median_spark.spark.progress import ConvertState, Reporter
from median_spark.spark.tasks import collect, run_tasks
from median_spark.versions import software_versions

_POLL_SECONDS = 0.5

_UNIT_SCHEMA = pa.schema([("unit", pa.int64())])


@dataclass
class PendingSource:
    """A source on its way into the table; what its units yielded gathers here.

    Attributes
    ----------
    source : SourceFile
        Its name and file.
    conversion : str
        Fingerprint of file and parameters.
    found : dict
        The fields of its `SourceRecord` that are known before its counts are read.
    units : tuple of Unit
        How its cells are cut.
    done : dict of int to UnitRecord
        What each unit yielded, by its number.
    """

    source: SourceFile
    conversion: str
    found: dict[str, Any]
    units: tuple[Unit, ...]
    done: dict[int, UnitRecord] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """Why it cannot be converted, by its first unit that failed."""
        return next((record.error for _, record in sorted(self.done.items()) if record.error), None)

    @property
    def complete(self) -> bool:
        """Whether all its units are done."""
        return len(self.done) == len(self.units)


class Conversion:
    """One Spark job that reads units, and beside it the driver that commits sources and tells how it goes."""

    def __init__(
        self,
        spark: SparkSession,
        table: ExpressionTable,
        pending: list[PendingSource],
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
        self._told: ConvertState | None = None
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
        stop_if_told(self.failures, self._on_error)
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
        """Take in what the workers have finished since the last time; only sources under way are looked at."""
        under_way = self._table.staged_conversions() & self._pending.keys()
        for source in [self._pending[conversion] for conversion in sorted(under_way)]:
            for number, record in self._table.staged_records(source.conversion, set(source.done)).items():
                self._take(source, number, record)
        self._settle()

    def _take(self, source: PendingSource, number: int, record: UnitRecord) -> None:
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
        sources = self._settled + len(self._pending)
        state = ConvertState(self._settled, sources, self._cells_done, self._cells, self._values)
        if state != self._told:
            self._told = state
            self._report.convert_state(state)

    def _changed(self, source: PendingSource) -> str | None:
        file = source.source.file
        if storage.stat(file.path) == file:
            return None
        return f"{file.path}: this file was changed while it was being read; convert it again"

    def _record(self, source: PendingSource) -> SourceRecord:
        token = uuid.uuid4().hex[:8]
        parts = []
        for number in sorted(source.done):
            part = source.done[number].part
            if part is not None:
                parts.append(replace(part, name=committed_name(number, token)))
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
            stage_unit(table, path, conversion, unit, options, stop)
            yield pa.RecordBatch.from_pydict({"unit": [number]}, schema=_UNIT_SCHEMA)

        try:
            collect(run_tasks(self._spark, len(units), "unit long", task), _UNIT_SCHEMA, "converting")
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


def stop_if_told(failures: Sequence[FailureRecord], on_error: str) -> None:
    """Raise what the failures say if the first failure ends the run.

    Raises
    ------
    InputError
        If there is a failure and `on_error` is ``"fail"``.
    """
    if failures and on_error == "fail":
        raise InputError(failures_text(failures, f"{counted(len(failures), 'source')} cannot be converted"))


def failures_text(failures: Sequence[FailureRecord], heading: str) -> str:
    """Say why sources failed: one sentence for one, else a line each under a heading."""
    if len(failures) == 1:
        return failures[0].reason
    return "\n".join([f"{heading}:", *(f"  {failure.reason}" for failure in failures)])
