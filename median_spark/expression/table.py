"""The folders of an expression table: its records and genes, committing a source, removing leftovers."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import starmap
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError, listed
from median_spark.expression.record_log import (
    Removal,
    current_logs,
    decode_records,
    encode_records,
    level_of,
    logs_to_merge,
    merge_records,
    next_name,
)
from median_spark.expression.records import FailureRecord, SourceRecord
from median_spark.expression.staging import Staging
from median_spark.storage import FileStat, decode_name, encode_name

FOLDERS = ("values", "cells", "sources", "genes", "failed", "staging")
"""The folders of a table."""

Record = TypeVar("Record")

_FINGERPRINT_VERSION = 1
"""Is part of fingerprints, so that a change of what is stored for the same input can have them all converted again."""

_LOGS_AT_ONCE = 16
"""Files of records in memory at once."""

_LISTINGS = 10
"""How often records are listed again while another run is removing some."""

_PART = re.compile(r"part-\d+-.+\.parquet(\.\w+\.tmp)?")
"""Names of parts and of files of cells, see `committed_name`."""


def part_location(folder: str, source: str, name: str) -> str:
    """Return the location of a committed file of a source in the folder of values, or in that of cells."""
    return storage.join(folder, f"source={encode_name(source)}", name)


def conversion_fingerprint(source: str, file: FileStat, parameters: Mapping[str, Any]) -> str:
    """Return the fingerprint of a source's conversion: of its file's state and of all that decides its values.

    The file's path is left out, so that a corpus may move without being converted again.
    """
    content = [_FINGERPRINT_VERSION, source, file.size, file.mtime_ns, parameters]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StagedSource:
    """A source that can be committed: its record, and where each of its parts and files of cells is staged."""

    record: SourceRecord
    parts: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ExpressionTable:
    """An expression table at a canonical path or URI; holds no state of its own."""

    location: str

    @property
    def values(self) -> str:
        """The folder of values, which other engines open."""
        return storage.join(self.location, "values")

    @property
    def cells(self) -> str:
        """The folder of what is known of each cell, which other engines open."""
        return storage.join(self.location, "cells")

    @property
    def staging(self) -> Staging:
        """The folder of what is not committed yet."""
        return Staging(storage.join(self.location, "staging"))

    def sources(self) -> list[SourceRecord]:
        """Return the records of all committed sources, ascending by name."""
        return self._whole("sources", self._records_of)

    def failures(self) -> list[FailureRecord]:
        """Return why the last conversion of sources failed, ascending by name."""

        def failures_of(names: list[str]) -> list[FailureRecord]:
            documents = self._documents("failed", names)
            return sorted(starmap(FailureRecord.from_bytes, documents), key=lambda record: record.source)

        return self._whole("failed", failures_of)

    def staged_batch(self, batch: str, *, partly: bool = False) -> list[SourceRecord] | None:
        """Return the records of a batch if all of its files are in its folder, else None.

        With `partly`, sources of which a file is not there are left out, and those that an older version staged, which
        kept no cells.
        """
        location = self.staging.batch_records(batch)
        names = set(storage.names_in(self.staging.batch_folder(batch)))
        entries = decode_records(location, storage.read_bytes(location))
        records = [entry for entry in entries if isinstance(entry, SourceRecord)]
        there = [record for record in records if names.issuperset(_batch_files(record)) and record.cells_parts]
        return there if partly or len(there) == len(records) else None

    def universe(self, records: Sequence[SourceRecord]) -> list[str]:
        """Return the union of the gene universes of some sources, ascending."""
        names = sorted({record.gene_list for record in records})
        return sorted(set().union(*(self.genes_of(name) for name in names)))

    def genes_of(self, gene_list: str) -> list[str]:
        """Return the genes of a stored universe, ascending, by its fingerprint."""
        location = storage.join(self.location, "genes", f"{gene_list}.parquet")
        try:
            genes: list[str] = storage.read_parquet(storage.read_buffer(location), ["gene"])["gene"].to_pylist()
        except storage.UNREADABLE as error:
            message = f"{location}: this list of genes cannot be read ({error}): convert its sources again"
            raise TableError(message) from error
        return sorted(genes)

    def store_genes(self, genes: Sequence[str]) -> str:
        """Store a gene universe unless it is stored already, and return its fingerprint."""
        name = hashlib.sha256("\n".join(genes).encode()).hexdigest()[:16]
        location = storage.join(self.location, "genes", f"{name}.parquet")
        if storage.stat(location) is None:
            with storage.atomic_write(location) as sink:
                pq.write_table(pa.table({"gene": pa.array(list(genes), pa.string())}), sink)
        return name

    def commit(self, record: SourceRecord) -> None:
        """Commit one source whose units are staged, see `commit_all`; its parts have their `committed_name`."""
        self.commit_all([self.staged(record)], {record.source})

    def staged(self, record: SourceRecord) -> "StagedSource":
        """Return a source whose units are staged."""
        return StagedSource(
            record,
            tuple(self.staging.unit(record.conversion, _unit_of(part.name))[0] for part in record.parts),
            tuple(self.staging.unit_cells(record.conversion, _unit_of(part.name)) for part in record.cells_parts or ()),
        )

    def staged_in_batch(self, record: SourceRecord, batch: str) -> "StagedSource":
        """Return a source that is staged with its batch."""
        parts = (self.staging.batch_part(batch, record.conversion),) if record.parts else ()
        return StagedSource(record, parts, (self.staging.batch_cells(batch, record.conversion),))

    def commit_all(self, sources: Sequence["StagedSource"], replaced: Set[str]) -> None:
        """Make staged sources part of the table, in place of earlier conversions.

        Their files are moved in, their records are written as one file, and only then are files of earlier conversions
        removed: readers that follow the records see an old source or a new one. If this is killed on the way, files
        that no record lists and staged files are left. What is staged of units is discarded; of batches it is left.

        Parameters
        ----------
        sources
            Sources with their records.
        replaced
            Names of sources that the table has, or has failures of, before this; others may be among them.
        """
        moves = [move for source in sources for move in self._moves(source)]
        storage.move_all(moves)
        self._write_records([source.record for source in sources])
        for source in sources:
            record = source.record
            if record.source in replaced:
                self._remove_strays(record.source, record)
                storage.remove(self._document("sources", record.source))
                storage.remove(self._document("failed", record.source))
            if any(origin.startswith(f"{self.staging.folder(record.conversion)}/") for origin in source.cells):
                self.staging.discard(record.conversion)

    def _moves(self, source: StagedSource) -> Iterator[tuple[str, str]]:
        """Yield where each file of a source is staged, and where it belongs."""
        record = source.record
        for origin, part in zip(source.parts, record.parts, strict=True):
            yield origin, part_location(self.values, record.source, part.name)
        for origin, entry in zip(source.cells, record.cells_parts or (), strict=True):
            yield origin, part_location(self.cells, record.source, entry.name)

    def remove(self, sources: Sequence[str]) -> None:
        """Take sources out of the table, converted or failed; do nothing but raise if the table lacks one."""
        committed = {record.source for record in self.sources()}
        known = committed | {failure.source for failure in self.failures()}
        missing = sorted(set(sources) - known)
        if missing:
            message = f"{self.location}: the table has no source {listed(missing)}; it has {listed(sorted(known))}"
            raise TableError(message)
        removed = [Removal(source) for source in sources if source in committed]
        if removed:
            self._write_records(removed)
        for source in sources:
            storage.remove(self._document("sources", source))
            storage.remove(self._document("failed", source))
            self._remove_strays(source, None)

    def record_failure(self, failure: FailureRecord) -> None:
        """Store why a source could not be converted; committing it removes this."""
        storage.write_json(self._document("failed", failure.source), failure.as_json())

    def discard_leftovers(self, keep: set[str], records: Iterable[SourceRecord]) -> None:
        """Remove what killed runs left: staged units but those of the conversions to keep, and files in no record.

        `records` are those of all sources.
        """
        storage.remove(self.staging.stop)
        for name in self.staging.conversions() - keep:
            storage.remove(self.staging.folder(name))
        self.staging.discard_batches(self.staging.batches() if keep else set())
        by_source = {record.source: record for record in records}
        for above in (self.values, self.cells):
            for folder, names in _names_of_sources(above).items():
                source = decode_name(folder.removeprefix("source="))
                _remove_strays(storage.join(above, folder), self._listed(above, by_source.get(source)), names)

    def _remove_strays(self, source: str, record: SourceRecord | None) -> None:
        """Remove the files of a source that its record does not list."""
        for above in (self.values, self.cells):
            folder = storage.join(above, f"source={encode_name(source)}")
            _remove_strays(folder, self._listed(above, record), set(storage.names_in(folder)))

    def _listed(self, above: str, record: SourceRecord | None) -> set[str]:
        """Return the names of the files in the folder of values, or of cells, that a record lists."""
        if record is None:
            return set()
        if above == self.values:
            return {part.name for part in record.parts}
        return {entry.name for entry in record.cells_parts or ()}

    def _document(self, kind: str, source: str) -> str:
        return storage.join(self.location, kind, f"{encode_name(source)}.json")

    def _write_records(self, entries: Sequence[SourceRecord | Removal]) -> None:
        """Write records as one file, which commits them; then merge the newest files if there are many small ones.

        If this is killed on the way, files that were merged may be left; they do not count, and the next call removes
        them.
        """
        folder = storage.join(self.location, "sources")
        names = storage.names_in(folder)
        written = next_name(names)
        storage.write_bytes(storage.join(folder, written), encode_records(entries))
        counting, merged = current_logs([*names, written])
        while many := logs_to_merge(counting):
            name = next_name(counting, level_of(many[0]) + 1)
            storage.write_bytes(storage.join(folder, name), merge_records(self._logs(many)))
            counting, now_merged = current_logs([*counting, name])
            merged += now_merged
        for name in merged:
            storage.remove(storage.join(folder, name))

    def _records_of(self, names: list[str]) -> list[SourceRecord]:
        """Return the records in some files of the folder of records: later files count, documents are the oldest."""
        documents = self._documents("sources", names)
        records = {record.source: record for record in starmap(SourceRecord.from_bytes, documents)}
        for location, content in self._logs(current_logs(names)[0]):
            for entry in decode_records(location, content):
                records.pop(entry.source, None)
                if isinstance(entry, SourceRecord):
                    records[entry.source] = entry
        return sorted(records.values(), key=lambda record: record.source)

    def _logs(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the location and content of files of records, a few of which are in memory at once."""
        logs = [storage.join(self.location, "sources", name) for name in names]
        for few in (logs[at : at + _LOGS_AT_ONCE] for at in range(0, len(logs), _LOGS_AT_ONCE)):
            yield from zip(few, storage.read_files(few), strict=True)

    def _documents(self, kind: str, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return the location and content of the JSON documents among the files of a folder."""
        folder = storage.join(self.location, kind)
        locations = [storage.join(folder, name) for name in names if name.endswith(".json")]
        return list(zip(locations, storage.read_files(locations), strict=True))

    def _whole(self, kind: str, read: Callable[[list[str]], list[Record]]) -> list[Record]:
        """Return what a function makes of the names in a folder, also while another run changes it."""
        folder = storage.join(self.location, kind)
        for _ in range(_LISTINGS):
            names = storage.names_in(folder)
            with contextlib.suppress(FileNotFoundError):  # a missing one was removed since it was listed
                found = read(names)
                # A listing may lack both the files that are being merged and the file that they become.
                if not any(map(level_of, set(storage.names_in(folder)).difference(names))):
                    return found
        message = f"{folder}: files in this folder are listed but not there, time after time: run this again"
        raise TableError(message)


def _batch_files(record: SourceRecord) -> list[str]:
    """Return the names of the files that a source of a batch has in its folder."""
    return [f"{record.conversion}.parquet"] * bool(record.parts) + [f"{record.conversion}.cells.parquet"]


def _unit_of(name: str) -> int:
    """Return the number of a unit by the `committed_name` of its files."""
    return int(name.split("-", 2)[1])


def _names_of_sources(above: str) -> Mapping[str, set[str]]:
    """Return the names of the files of each source in the folder of values, or in that of cells."""
    if not storage.has_folders(above):
        return storage.names_by_folder(above)
    folders = [name for name in storage.names_in(above) if storage.kind(storage.join(above, name)) == "folder"]
    return {name: set(storage.names_in(storage.join(above, name))) for name in folders}


def _remove_strays(folder: str, listed_names: set[str], names: set[str]) -> None:
    """Remove the files in the folder of a source, of these names, that its record does not list.

    Only files with the name of a part are removed, and none through a link that somebody put there.
    """
    if storage.is_link(folder):
        return
    strays = {name for name in names - listed_names if _PART.fullmatch(name)}
    for name in sorted(strays):
        storage.remove(storage.join(folder, name))
    if not names - strays:
        storage.remove(folder)


def committed_name(unit: int, token: str) -> str:
    """Return the name of a unit's files; each commit has its own token, so that no file is ever overwritten."""
    return f"part-{unit:05d}-{token}.parquet"
