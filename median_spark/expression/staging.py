"""What is staged: parts and records of sources that are not committed, which workers write and the driver finds."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from median_spark import storage
from median_spark.errors import InputError
from median_spark.expression.parts import write_part
from median_spark.expression.records import UnitRecord
from median_spark.guard import DEFAULT_LIMITS, Limits, beat, read_guarded
from median_spark.matrices import ReadOptions, Unit, values_of
from median_spark.storage import FileStat


@dataclass(frozen=True)
class Staging:
    """The folder of an expression table in which units are gathered until their source is complete.

    Attributes
    ----------
    location : str
        Canonical path or URI.
    """

    location: str

    def folder(self, conversion: str) -> str:
        """Return the folder in which the parts of an uncommitted source are gathered."""
        return storage.join(self.location, conversion)

    def conversions(self) -> set[str]:
        """Return the conversions that have something staged."""
        return set(storage.names_in(self.location))

    def unit(self, conversion: str, unit: int) -> tuple[str, str]:
        """Return where a unit's part and its record are staged."""
        folder = self.folder(conversion)
        return storage.join(folder, f"part-{unit:05d}.parquet"), storage.join(folder, f"part-{unit:05d}.json")

    @property
    def stop(self) -> str:
        """The file that tells workers to begin no other unit."""
        return storage.join(self.location, "stop")

    @property
    def slow(self) -> str:
        """The folder that names the conversions whose source makes no progress at the moment."""
        return storage.join(self.location, "slow")

    def slow_conversions(self) -> set[str]:
        """Return the conversions whose source makes no progress at the moment."""
        return {name.rsplit("-", 1)[0] for name in storage.names_in(self.slow)}

    def failed(self, conversion: str) -> str:
        """Return the file that tells workers that a unit of this source has failed."""
        return storage.join(self.folder(conversion), "failed")

    def records(self, conversion: str, known: set[int]) -> dict[int, UnitRecord]:
        """Return the records of staged units whose numbers are not yet known, and whose parts are there."""
        held = {conversion: set(storage.names_in(self.folder(conversion)))}
        return self._read(held, {conversion: known})[conversion]

    def records_of(self, known: Mapping[str, set[int]]) -> dict[str, dict[int, UnitRecord]]:
        """Return what `records` does for those of many conversions that have something staged.

        An object store is asked once for all of them.
        """
        if storage.has_folders(self.location):
            under_way = self.conversions() & known.keys()
            return {conversion: self.records(conversion, known[conversion]) for conversion in sorted(under_way)}
        held = storage.names_by_folder(self.location)
        return self._read({name: held[name] for name in sorted(held.keys() & known.keys())}, known)

    def _read(self, held: Mapping[str, set[str]], known: Mapping[str, set[int]]) -> dict[str, dict[int, UnitRecord]]:
        """Read the records among the names that conversions have staged, but those of known units."""
        found: dict[str, dict[int, UnitRecord]] = {conversion: {} for conversion in held}
        wanted = [
            (conversion, name, unit)
            for conversion, names in held.items()
            for name in sorted(name for name in names if name.endswith(".json"))
            if (unit := int(name.removeprefix("part-").removesuffix(".json"))) not in known[conversion]
        ]
        locations = [storage.join(self.folder(conversion), name) for conversion, name, _ in wanted]
        contents = storage.read_all(locations)
        for (conversion, name, unit), location, content in zip(wanted, locations, contents, strict=True):
            record = UnitRecord.from_bytes(location, content)
            if record.part is None or name.replace(".json", ".parquet") in held[conversion]:
                found[conversion][unit] = record
        return found

    def discard(self, conversion: str) -> None:
        """Remove what is staged of a conversion; what a copy of a task is writing there just now may stay.

        It is not part of the table, and is removed at the end of the run or by the next one.
        """
        with contextlib.suppress(OSError):  # the folder filled while it was being emptied
            storage.remove(self.folder(conversion))


@contextlib.contextmanager
def told_if_slow(staging: Staging, conversion: str) -> Iterator[Callable[[], None]]:
    """Give what tells the driver that a source makes no progress, until the block ends; on a worker."""
    marker = storage.join(staging.slow, f"{conversion}-{uuid.uuid4().hex[:8]}")
    marked = False

    def mark() -> None:
        nonlocal marked
        marked = True
        storage.write_bytes(marker, b"")

    try:
        yield mark
    finally:
        if marked:
            storage.remove(marker)


def reason_of(error: InputError, file: FileStat) -> str:
    """Say why a source cannot be read: what was read of a file that changed meanwhile explains nothing."""
    if storage.stat(file.path) == file:
        return error.text
    return f"{file.path}: this file was changed while it was being read; convert it again"


def stage_unit(
    staging: Staging, file: FileStat, conversion: str, unit: Unit, options: ReadOptions, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Read one unit, write its part, and then its record; on a worker.

    Nothing is done if the run was stopped, if another unit of the source has failed, or if this one is staged already:
    by a copy of the task, or by one whose machine was lost before Spark knew. A matrix that cannot be read is recorded
    and not raised: Spark would only try it again. Copies at the same time do no harm: each file appears whole, and all
    of them write the same bytes.

    Parameters
    ----------
    staging : Staging
        Where the part and its record go.
    file : FileStat
        The matrix, in the state in which it was found.
    conversion : str
        Fingerprint of the source's conversion.
    unit : Unit
        The cells to read.
    options : ReadOptions
        What decides the values.
    limits : Limits
        What reading may use.
    """
    part_location, record_location = staging.unit(conversion, unit.number)
    failed = staging.failed(conversion)
    if storage.stat(staging.stop) is not None or storage.stat(failed) is not None:
        return
    if storage.stat(record_location) is not None and storage.stat(part_location) is not None:
        return
    try:
        with told_if_slow(staging, conversion) as tell:
            record = read_guarded(
                file.path, _convert_unit, file.path, part_location, unit, options, limits=limits, on_slow=tell
            )
    except InputError as error:
        storage.write_bytes(failed, b"")
        record = UnitRecord(unit.first, unit.last, 0, None, reason_of(error, file))
    storage.write_json(record_location, record.as_json())


def _convert_unit(path: str, part_location: str, unit: Unit, options: ReadOptions) -> UnitRecord:
    """Read a unit and write its part; values do not cross between processes."""
    runs, cell_ids, cells = values_of(path, unit, options)
    beat()
    if unit.first == 0 and unit.last == cells:
        storage.release(path)  # no other unit will come for it
    part = write_part(part_location, runs, cell_ids) if len(runs.values) else None
    return UnitRecord(unit.first, unit.last, len(runs.values), part)
