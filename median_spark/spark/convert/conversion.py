"""One conversion under way: beside the Spark job that reads units, the driver commits each source as it is complete."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import BusyError, EngineError, counted, listed
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    UnitRecord,
    committed_name,
)
from median_spark.matrices import matrix_stat
from median_spark.preparation import ConvertPlan, stop_at_failures
from median_spark.progress import ConvertState, ProgressReporter
from median_spark.spark.convert.pending import PendingSource
from median_spark.spark.convert.slow_sources import SlowSources
from median_spark.spark.convert.unit_job import UnitJob
from median_spark.versions import software_versions

_POLL_SECONDS = 0.5

_STORE_POLL_SECONDS = 3.0
"""The same where each look is requests to a store."""

_COMMITS_AT_ONCE = 8
"""Sources that are committed side by side on a store, which takes its time to copy their parts."""

_SEEN_LATE_SECONDS = 75.0
"""After the job, what workers wrote must be seen by then; NFS keeps a folder's listing for 60 seconds at most."""

_Ending = tuple[str | None, SourceRecord | None]
"""Why a source cannot be committed, or its record."""


class Conversion:
    """The driver's work while units are read: it commits sources as they are complete, and reports progress."""

    def __init__(
        self,
        spark: SparkSession,
        table: ExpressionTable,
        pending: list[PendingSource],
        plan: ConvertPlan,
        progress: ProgressReporter,
        lease: storage.Lease,
    ) -> None:
        self._spark = spark
        self._table = table
        self._staging = table.staging
        self._lease = lease
        self._poll_seconds = _POLL_SECONDS if storage.is_local(table.location) else _STORE_POLL_SECONDS
        self._pending = {source.conversion: source for source in pending}
        self._plan = plan
        self._progress = progress
        names = {source.conversion: source.source.name for source in pending}
        self._slow = SlowSources(self._staging, names, plan.options.limits, progress)
        self._failed: list[str] = []
        self._last_state: ConvertState | None = None
        self._settled = 0
        self._values = 0
        self._cells_done = 0
        self._cells = sum(source.head.cells for source in pending)
        self._software = software_versions()
        self.tasks = 0
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
        storage.remove(self._staging.stop)
        self._resume()
        self._settle()
        units = [
            (source.source, source.conversion, unit) for source in self._pending.values() for unit in source.units_left
        ]
        self.tasks = len(units)
        job = UnitJob(self._spark, self._staging, units, self._plan)
        job.start()
        try:
            with self._slow.watched():
                while not job.wait(self._poll_seconds):
                    self._gather()
        except BaseException:  # an interrupt too: let the workers stop at their next unit
            self._stop_workers()
            raise
        self._gather()
        self._lease.require()
        if job.succeeded and not (self.failures and self._plan.options.on_error == "fail"):
            self._gather_late()
        settled = {*self._failed, *(record.conversion for record in self.records.values())}
        for conversion in sorted(self._staging.conversions() & settled):
            self._staging.discard(conversion)
        storage.remove(self._staging.stop)
        storage.remove(self._staging.slow)
        stop_at_failures(self.failures, self._plan.options)
        job.raise_error()
        if self._pending:
            left = [source.source.name for source in self._pending.values()]
            message = (
                f"{self._table.location}: the workers have read all cells, but of {counted(len(left), 'source')} "
                f"({listed(left, 3)}) what they wrote is not to be seen from here: this must be one folder for the "
                "driver and every worker, on a shared disk, or a URI such as s3://bucket/folder"
            )
            raise EngineError(message)

    def _resume(self) -> None:
        """Take over the units that a killed run had finished, unless they were cut otherwise or failed."""
        staged = self._staging.records({conversion: set() for conversion in self._pending})
        for conversion, found in staged.items():
            source = self._pending[conversion]
            cuts = {unit.number: (unit.first, unit.last) for unit in source.head.units}
            sound = all(
                record.error is None and cuts.get(number) == (record.first, record.last)
                for number, record in found.items()
            )
            if sound:
                for number, record in found.items():
                    self._take(source, number, record)
            else:
                storage.remove(self._staging.folder(source.conversion))

    def _gather(self) -> None:
        """Take in what the workers have finished since the last time; only sources under way are looked at."""
        done = {conversion: set(source.done) for conversion, source in self._pending.items()}
        for conversion, found in self._staging.records(done).items():
            for number, record in found.items():
                self._take(self._pending[conversion], number, record)
        self._settle()

    def _gather_late(self) -> None:
        """Wait for what all workers have written to be seen: a network disk may show an old listing for a while."""
        deadline = time.monotonic() + _SEEN_LATE_SECONDS
        while self._pending and time.monotonic() < deadline:
            time.sleep(self._poll_seconds)
            self._gather()

    def _take(self, source: PendingSource, number: int, record: UnitRecord) -> None:
        source.done[number] = record
        self._values += record.values
        self._cells_done += record.last - record.first

    def _settle(self) -> None:
        """Commit the sources that are complete, and set aside those that failed."""
        ended = [source for source in self._pending.values() if source.error or source.complete]
        for source, (reason, record) in zip(ended, self._side_by_side(self._finish, ended), strict=True):
            if reason is not None:
                self.failures.append(FailureRecord(source.source.name, source.source.file.path, reason))
                self._failed.append(source.conversion)
                self._cells_done += sum(unit.last - unit.first for unit in source.units_left)
                if self._plan.options.on_error == "fail":
                    self._stop_workers()
            elif record is not None:
                self.records[record.source] = record
            del self._pending[source.conversion]
            self._settled += 1
        sources = self._settled + len(self._pending)
        state = ConvertState(self._settled, sources, self._cells_done, self._cells, self._values)
        if state != self._last_state:
            self._last_state = state
            self._progress.convert_state(state)

    def _stop_workers(self) -> None:
        """Let the workers stop at their next unit; those of another run go on, if the table is another run's by now."""
        with contextlib.suppress(BusyError):
            self._lease.require()
            storage.write_bytes(self._staging.stop, b"")

    def _side_by_side(
        self, finish: Callable[[PendingSource], "_Ending"], sources: list[PendingSource]
    ) -> Iterator["_Ending"]:
        """Finish one source after the other; on an object store, some at once."""
        if storage.has_folders(self._table.location) or len(sources) < 2:
            yield from map(finish, sources)
            return
        with ThreadPoolExecutor(_COMMITS_AT_ONCE) as committers:
            yield from committers.map(finish, sources)

    def _finish(self, source: PendingSource) -> "_Ending":
        """Commit a source that is complete; return why it cannot be, or its record."""
        reason = source.error or self._changed(source)
        if reason is not None:
            return reason, None
        record = self._record(source)
        self._lease.require()
        self._table.commit(record)
        return None, record

    def _changed(self, source: PendingSource) -> str | None:
        file = source.source.file
        if matrix_stat(file.path) == file:
            return None
        return f"{file.path}: this file was changed while it was being read; convert it again"

    def _record(self, source: PendingSource) -> SourceRecord:
        head, token = source.head, uuid.uuid4().hex[:8]
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
            parameters=head.parameters,
            layout=head.layout,
            cells_listed=None if head.listed is None else len(head.listed),
            software=self._software,
            parts=tuple(parts),
            rows=head.rows,
            cells=head.cells,
            cells_passed=head.cells_passed,
            median_n_counts=head.median_n_counts,
            genes=head.genes,
            gene_list=head.gene_list,
            row_counts=head.row_counts,
            warnings=head.warnings,
        )
