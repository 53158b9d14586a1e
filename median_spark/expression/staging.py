"""Staging: parts and records of uncommitted sources, which workers write and the driver collects."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

import pyarrow as pa

from median_spark import storage
from median_spark.errors import InputError
from median_spark.expression.parts import CellsEntry, PartEntry, write_cells, write_part
from median_spark.expression.records import UnitRecord
from median_spark.gene_values import GeneValues
from median_spark.guard import DEFAULT_LIMITS, Kept, Limits, beat, read_guarded
from median_spark.matrices import ALL_COLUMNS, CellColumns, ReadOptions, Unit, matrix_stat, values_of
from median_spark.storage import FileStat

_BATCH, _RECORDS = "batch-", "batch-records"
"""Beginning of the names of batches' folders, and the folder of their records."""


@dataclass(frozen=True)
class Staging:
    """The folder, at a canonical path or URI, in which units are gathered until their source is complete."""

    location: str

    def folder(self, conversion: str) -> str:
        """Return the folder of an uncommitted source."""
        return storage.join(self.location, conversion)

    def conversions(self) -> set[str]:
        """Return the conversions that have units staged."""
        return {name for name in storage.names_in(self.location) if not name.startswith(_BATCH)}

    def batch_folder(self, batch: str) -> str:
        """Return the folder of a batch's parts."""
        return storage.join(self.location, f"{_BATCH}{batch}")

    def batch_part(self, batch: str, conversion: str) -> str:
        """Return where the part of a source of a batch is staged."""
        return storage.join(self.batch_folder(batch), f"{conversion}.parquet")

    def batch_cells(self, batch: str, conversion: str) -> str:
        """Return where the file of the cells of a source of a batch is staged."""
        return storage.join(self.batch_folder(batch), f"{conversion}.cells.parquet")

    def batch_records(self, batch: str) -> str:
        """Return the file of a batch's records, which is written when all of its parts are in place."""
        return storage.join(self.location, _RECORDS, f"{batch}.jsonl")

    def batches(self) -> set[str]:
        """Return the batches whose records are written."""
        names = storage.names_in(storage.join(self.location, _RECORDS))
        return {name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")}

    def discard_batch(self, batch: str) -> None:
        """Remove what is staged of a batch."""
        storage.remove(self.batch_records(batch))
        storage.remove(self.batch_folder(batch))

    def discard_batches(self, keep: Set[str]) -> None:
        """Remove what is staged of batches other than those to keep, unfinished ones too."""
        started = {name.removeprefix(_BATCH) for name in storage.names_in(self.location) if name.startswith(_BATCH)}
        for batch in (started | self.batches()) - keep - {_RECORDS.removeprefix(_BATCH)}:
            self.discard_batch(batch)
        if not keep:
            storage.remove(storage.join(self.location, _RECORDS))

    def unit(self, conversion: str, unit: int) -> tuple[str, str]:
        """Return where a unit's part and its record are staged."""
        folder = self.folder(conversion)
        return storage.join(folder, f"part-{unit:05d}.parquet"), storage.join(folder, f"part-{unit:05d}.json")

    def unit_cells(self, conversion: str, unit: int) -> str:
        """Return where the file of a unit's cells is staged."""
        return storage.join(self.folder(conversion), f"cells-{unit:05d}.parquet")

    @property
    def stop(self) -> str:
        """The file that tells workers to start no further unit."""
        return storage.join(self.location, "stop")

    @property
    def slow(self) -> str:
        """The folder with one file per source that currently makes no progress."""
        return storage.join(self.location, "slow")

    def slow_conversions(self) -> set[str]:
        """Return the conversions whose source currently makes no progress."""
        return {name.rsplit("-", 1)[0] for name in storage.names_in(self.slow)}

    def failed(self, conversion: str) -> str:
        """Return the file that tells workers that a unit of this source has failed."""
        return storage.join(self.folder(conversion), "failed")

    def records(self, known: Mapping[str, set[int]]) -> dict[str, dict[int, UnitRecord]]:
        """Return the records of staged units by conversion and unit, where the files that they name are in place.

        Those that an older version wrote, which kept no cells, are left out.

        `known` has the conversions of interest, and the units of each whose record is not read again. Conversions
        without anything staged are left out.
        """
        if storage.has_folders(self.location):
            staged = sorted(self.conversions() & known.keys())
            names = {conversion: set(storage.names_in(self.folder(conversion))) for conversion in staged}
        else:  # an object store is asked once for all of them
            by_folder = storage.names_by_folder(self.location)
            names = {conversion: by_folder[conversion] for conversion in sorted(by_folder.keys() & known.keys())}
        units = [
            (conversion, unit, name)
            for conversion in names
            for name in sorted(name for name in names[conversion] if name.endswith(".json"))
            if (unit := int(name.removeprefix("part-").removesuffix(".json"))) not in known[conversion]
        ]
        locations = [storage.join(self.folder(conversion), name) for conversion, _, name in units]
        records: dict[str, dict[int, UnitRecord]] = {conversion: {} for conversion in names}
        for (conversion, unit, name), location, content in zip(
            units, locations, storage.read_files(locations), strict=True
        ):
            record = UnitRecord.from_bytes(location, content)
            files = [] if record.part is None else [name.replace(".json", ".parquet")]
            files += [] if record.cells is None else [record.cells.name]
            if names[conversion].issuperset(files) and (record.cells is not None or record.error is not None):
                records[conversion][unit] = record
        return records

    def discard(self, conversion: str) -> None:
        """Remove what is staged of a conversion; the files of a task that is still writing are removed later."""
        with contextlib.suppress(OSError):  # the folder filled while it was being emptied
            storage.remove(self.folder(conversion))


@contextlib.contextmanager
def slow_marker(staging: Staging, conversion: str) -> Iterator[Callable[[], None]]:
    """On a worker: yield a function that tells the driver, until the block ends, that a source makes no progress."""
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
    """Return why a source cannot be read: if its file has changed meanwhile, that alone is the reason."""
    return change_of(file) or error.text


def change_of(file: FileStat) -> str | None:
    """Return that a matrix is not as it was when it was found, in a sentence, or None if it is."""
    if matrix_stat(file.path) == file:
        return None
    return f"{file.path}: this file was changed while it was being read; convert it again"


def stage_unit(
    staging: Staging,
    file: FileStat,
    conversion: str,
    unit: Unit,
    options: ReadOptions | Kept,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    cell_columns: CellColumns = ALL_COLUMNS,
) -> None:
    """On a worker: read one unit, write its part and the file of its cells, and then its record.

    Nothing is done if the run was stopped, if another unit of the source has failed, or if this one is staged already:
    by a copy of the task, or by one whose machine was lost before Spark knew. A matrix that cannot be read is recorded
    and not raised: Spark would only try it again. Copies at the same time do no harm: each file appears whole, and all
    of them write the same bytes. With the name of a `source`, options are narrowed to those of that source.
    `cell_columns` are the attributes to keep of each cell.
    """
    part_location, record_location = staging.unit(conversion, unit.number)
    cells_location = staging.unit_cells(conversion, unit.number)
    failed = staging.failed(conversion)
    if storage.stat(staging.stop) is not None or storage.stat(failed) is not None:
        return
    if None not in map(storage.stat, (record_location, part_location, cells_location)):
        return
    try:
        with slow_marker(staging, conversion) as tell:
            record = read_guarded(
                file.path,
                _convert_unit,
                file.path,
                (part_location, cells_location),
                unit,
                options,
                source,
                cell_columns,
                limits=limits,
                on_slow=tell,
            )
    except InputError as error:
        storage.write_bytes(failed, b"")
        record = UnitRecord(unit.first, unit.last, 0, None, reason_of(error, file))
    storage.write_json(record_location, record.as_json())


def _convert_unit(
    path: str,
    targets: tuple[str, str],
    unit: Unit,
    options: ReadOptions,
    source: str | None,
    cell_columns: CellColumns,
) -> UnitRecord:
    """Read a unit and write its files in the guarded process, so that values do not cross between processes."""
    options = options if source is None else options.of_source(source)
    values, cells, cells_of_source = values_of(path, unit, options, cell_columns)
    beat()
    if unit.first == 0 and unit.last == cells_of_source:
        storage.release(path)  # no other unit will come for it
    part, cells_entry = write_unit(targets, values, cells)
    storage.sync_files(targets if part is not None else targets[1:])
    return UnitRecord(unit.first, unit.last, len(values.values), part, cells=cells_entry)


def write_unit(targets: tuple[str, str], values: GeneValues, cells: pa.Table) -> tuple[PartEntry | None, CellsEntry]:
    """Write the part of a unit, unless it has no value, and the file of its cells; the caller syncs them.

    `targets` are the locations of the two.
    """
    part = write_part(targets[0], values, cells["cell"].chunk(0), durable=False) if len(values.values) else None
    return part, write_cells(targets[1], cells, durable=False)
