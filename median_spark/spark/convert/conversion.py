"""One conversion under way: beside the Spark jobs, the driver commits each source as it is complete."""

import contextlib
import time
import uuid
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import BusyError, EngineError, counted, listed
from median_spark.expression import (
    SMALL_BYTES,
    Columns,
    ExpressionTable,
    FailureRecord,
    LookedAt,
    Looking,
    SourceRecord,
    StagedSource,
    UnitRecord,
    WantedSource,
    change_of,
    committed_name,
)
from median_spark.matrices import current
from median_spark.preparation import ConvertPlan, stop_at_failures
from median_spark.progress import ConvertState, ProgressReporter
from median_spark.spark.convert.background import BackgroundJob
from median_spark.spark.convert.look_ahead import looking_ahead
from median_spark.spark.convert.look_job import LookJob
from median_spark.spark.convert.pending import PendingSource
from median_spark.spark.convert.slow_sources import SlowSources
from median_spark.spark.convert.unit_job import convert_units
from median_spark.spark.engine.later import LaterSession
from median_spark.versions import software_versions

_POLL_SECONDS = 0.5

_STORE_POLL_SECONDS = 3.0
"""The same where each look is requests to a store."""

_COMMITTED_AT_ONCE = 256
"""Most sources whose records are one file; if the driver is killed while it moves their parts, they are read again."""

_CHECKS_AT_ONCE = 8
"""Sources that are compared with their files side by side on a store."""

_SEEN_LATE_SECONDS = 75.0
"""After the job, what workers wrote must be seen by then; NFS keeps a folder's listing for 60 seconds at most."""


class Conversion:
    """The driver's work while sources are read: it commits them as they are complete, and reports progress.

    `begin` comes first, then `look`, then `convert`. `known` are the names of sources that the table has, or has
    failures of.
    """

    def __init__(
        self,
        session: LaterSession,
        table: ExpressionTable,
        plan: ConvertPlan,
        known: Set[str],
        progress: ProgressReporter,
        lease: storage.Lease,
    ) -> None:
        self._session = session
        self._table = table
        self._staging = table.staging
        self._lease = lease
        self._poll_seconds = _POLL_SECONDS if storage.is_local(table.location) else _STORE_POLL_SECONDS
        self._pending: dict[str, PendingSource] = {}
        self._plan = plan
        self._known = known
        self._software = software_versions()
        self._progress = progress
        self._batches: dict[str, list[StagedSource]] = {}
        self._taken: set[str] = set()
        self._failed: list[str] = []
        self._last_state: ConvertState | None = None
        self._settled = 0
        self._sources = 0
        self._is_looking = False
        self._began = 0.0
        self._values = 0
        self._cells_done = 0
        self._cells = 0
        self._wanted: dict[str, WantedSource] = {}
        self._left: list[WantedSource] = []
        self._ahead: dict[str, LookedAt] = {}
        self.look_tasks = 0
        self.tasks = 0
        self.records: dict[str, SourceRecord] = {}
        self.failures: list[FailureRecord] = []
        self.listed: list[npt.NDArray[np.int64]] = []

    def begin(self, wanted: Sequence[WantedSource], universe: str | None) -> None:
        """Take over what a killed run has staged; start Spark if need be, and look at local sources meanwhile."""
        self._began = time.monotonic()
        self._wanted = {one.conversion: one for one in wanted}
        self._take_batches(self._wanted, partly=True)
        self._left = [one for one in wanted if one.conversion not in self._taken]
        options = self._plan.options
        self._looking = Looking(
            self._table,
            self._plan.reading,
            options.entries_per_unit,
            universe,
            uuid.uuid4().hex,
            SMALL_BYTES,
            options.cell_columns,
        )
        if self._session.pending and self._left and storage.is_local(self._table.location):
            with looking_ahead(self._looking, self._left, self._software, options.limits) as self._ahead:
                self._session.get()

    def look(self) -> None:
        """Look at every source on the workers, so that faults are known before work begins; small ones are staged.

        They are committed meanwhile if a failure does not end the conversion, and else by `convert`.

        Raises
        ------
        EngineError
            If Spark failed, or what the workers wrote cannot be seen.
        """
        spark, options = self._session.get(), self._plan.options
        wanted_by_conversion = self._wanted
        self._sources, self._is_looking = len(self._wanted), True
        on_workers = [one for one in self._left if one.conversion not in self._ahead]
        job = LookJob(self._looking, on_workers, self._software, options.limits)
        self.look_tasks = job.tasks
        background = BackgroundJob(spark, "look", lambda: job.run(spark, self._progress))
        try:
            while not background.wait(self._poll_seconds):
                if options.on_error == "skip":
                    self._take_batches(wanted_by_conversion)
                    self._commit_batches()
        except BaseException:
            self._stop_workers()
            raise
        background.raise_error()
        by_workers = {one.conversion: outcome for one, outcome in zip(on_workers, job.outcomes, strict=True)}
        outcomes = [(one, (self._ahead | by_workers)[one.conversion]) for one in self._left]
        for one, looked_at in outcomes:
            if looked_at.listed is not None:
                self.listed.append(looked_at.listed)
            if looked_at.error is not None:
                self.failures.append(FailureRecord(one.source.name, one.source.file.path, looked_at.error))
                self._sources -= 1
            elif looked_at.head is not None:
                self._pending[one.conversion] = PendingSource(one.source, one.conversion, looked_at.head)
                self._cells += looked_at.head.cells
        staged = [one for one, looked_at in outcomes if looked_at.batch is not None]
        self._take_late_batches(wanted_by_conversion, staged)
        self._is_looking = False

    def columns(self) -> dict[str, Columns]:
        """Return the columns of the cells of all sources that `look` has found to be sound, by name."""
        staged = [source.record for sources in self._batches.values() for source in sources]
        return {
            **{record.source: record.cell_columns for record in (*self.records.values(), *staged)},
            **{source.source.name: source.head.cell_columns for source in self._pending.values()},
        }

    def convert(self) -> None:
        """Commit what is staged, and convert the rest.

        Raises
        ------
        InputError
            If a source failed and that was to end the run.
        EngineError
            If Spark failed.
        """
        self._commit_batches()
        if self._pending:
            self._convert_units()
        self._staging.discard_batches(keep=set())
        storage.remove(self._staging.slow)

    def _convert_units(self) -> None:
        names = {source.conversion: source.source.name for source in self._pending.values()}
        slow = SlowSources(self._staging, names, self._plan.options.limits, self._progress)
        self._resume()
        self._settle()
        units = [
            (source.source, source.conversion, unit) for source in self._pending.values() for unit in source.units_left
        ]
        self.tasks = len(units)
        spark = self._session.get()
        job = BackgroundJob(spark, "convert", lambda: convert_units(spark, self._staging, units, self._plan))
        try:
            with slow.watched():
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
        stop_at_failures(self.failures, self._plan.options)
        job.raise_error()
        if self._pending:
            raise self._not_seen([source.source.name for source in self._pending.values()])

    def _not_seen(self, left: list[str]) -> EngineError:
        return EngineError(
            f"{self._table.location}: the workers have read all cells, but of {counted(len(left), 'source')} "
            f"({listed(left, 3)}) what they wrote is not visible to the driver: this must be one folder for the "
            "driver and every worker, on a shared disk, or a URI such as s3://bucket/folder"
        )

    def _take_batches(self, wanted: dict[str, WantedSource], *, partly: bool = False) -> None:
        """Take in the batches that are staged by now; `partly` also those of which a killed run has moved some parts.

        Sources that are taken already, as where a task ran twice, or that are not wanted, are left out.
        """
        for batch in sorted(self._staging.batches() - self._batches.keys()):
            records = self._table.staged_batch(batch, partly=partly)
            if records is None:
                continue
            taken = self._batches[batch] = []
            for record in records:
                one = wanted.get(record.conversion)
                if one is None or record.source != one.source.name or record.conversion in self._taken:
                    continue
                if not current(record.layout):
                    continue
                self._taken.add(record.conversion)
                taken.append(self._table.staged_in_batch(replace(record, input=one.source.file), batch))
                self._cells += record.cells

    def _take_late_batches(self, wanted: dict[str, WantedSource], staged: list[WantedSource]) -> None:
        """Wait until all staged sources are seen: a network disk may show an old listing for a while."""
        deadline = time.monotonic() + _SEEN_LATE_SECONDS
        self._take_batches(wanted)
        while missing := [one for one in staged if one.conversion not in self._taken]:
            if time.monotonic() > deadline:
                raise self._not_seen([one.source.name for one in missing])
            time.sleep(self._poll_seconds)
            self._take_batches(wanted)

    def _commit_batches(self) -> None:
        """Commit the sources of all batches that were taken in."""
        few: dict[str, list[StagedSource]] = {}
        for batch, sources in list(self._batches.items()):
            if sources:
                few[batch] = sources
            if sum(map(len, few.values())) >= _COMMITTED_AT_ONCE:
                self._commit_few(few)
                few = {}
        self._commit_few(few)

    def _commit_few(self, batches: dict[str, list[StagedSource]]) -> None:
        self._commit([source for sources in batches.values() for source in sources])
        for batch, sources in batches.items():
            self._batches[batch] = []
            self._staging.discard_batch(batch)
            self._values += sum(source.record.values for source in sources)
            self._cells_done += sum(source.record.cells for source in sources)
            self._settled += len(sources)
        self._report()

    def _commit(self, sources: list[StagedSource]) -> None:
        for at in range(0, len(sources), _COMMITTED_AT_ONCE):
            chunk = sources[at : at + _COMMITTED_AT_ONCE]
            self._lease.require()
            self._table.commit_all(chunk, self._known)
            self.records |= {source.record.source: source.record for source in chunk}

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
        complete = []
        for source, reason in zip(ended, self._reasons(ended), strict=True):
            if reason is None:
                complete.append(self._table.staged(self._record(source)))
            else:
                self.failures.append(FailureRecord(source.source.name, source.source.file.path, reason))
                self._failed.append(source.conversion)
                self._cells_done += sum(unit.last - unit.first for unit in source.units_left)
                if self._plan.options.on_error == "fail":
                    self._stop_workers()
        self._commit(complete)
        for source in ended:
            del self._pending[source.conversion]
            self._settled += 1
        self._report()

    def _report(self) -> None:
        """Report how far the conversion is; while sources are looked at, that stage reports itself."""
        state = ConvertState(self._settled, self._sources, self._cells_done, self._cells, self._values)
        if self._sources and not self._is_looking and state != self._last_state:
            self._last_state = state
            self._progress.convert_state(replace(state, seconds=time.monotonic() - self._began))

    def _stop_workers(self) -> None:
        """Let the workers stop at their next unit; those of another run go on, if the table is another run's by now."""
        with contextlib.suppress(BusyError):
            self._lease.require()
            storage.write_bytes(self._staging.stop, b"")

    def _reasons(self, sources: list[PendingSource]) -> list[str | None]:
        """Return why each source cannot be committed, None if it can; on a store, some are looked at side by side."""
        if storage.has_folders(self._table.location) or len(sources) < 2:
            return list(map(self._reason, sources))
        with ThreadPoolExecutor(_CHECKS_AT_ONCE) as checkers:
            return list(checkers.map(self._reason, sources))

    def _reason(self, source: PendingSource) -> str | None:
        return source.error or change_of(source.source.file)

    def _record(self, source: PendingSource) -> SourceRecord:
        token = uuid.uuid4().hex[:8]
        parts = [
            replace(record.part, name=committed_name(number, token))
            for number, record in sorted(source.done.items())
            if record.part is not None
        ]
        cells_parts = [
            replace(record.cells, name=committed_name(number, token))
            for number, record in sorted(source.done.items())
            if record.cells is not None
        ]
        values = sum(record.values for record in source.done.values())
        return source.head.record(source.source, source.conversion, values, parts, cells_parts, self._software)
