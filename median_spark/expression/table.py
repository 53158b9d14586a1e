"""The folders of an expression table: opening, staging, committing a source, sweeping what was left behind."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import OutputError, TableError, counted, listed
from median_spark.expression.records import (
    FORMAT_VERSION,
    FailureRecord,
    SourceRecord,
    UnitRecord,
    decode_name,
    encode_name,
)
from median_spark.storage import FileStat

_MARKER = "format.json"
_READERS = 16


def part_location(values_folder: str, source: str, name: str) -> str:
    """Return where a committed part of a source lies."""
    return storage.join(values_folder, f"source={encode_name(source)}", name)


def conversion_fingerprint(source: str, file: FileStat, parameters: dict[str, Any]) -> str:
    """Return what tells one conversion of a source from another: its file's state and all that decides its values.

    The file's path is left out, so that a corpus may move without being converted again.
    """
    content = [FORMAT_VERSION, source, file.size, file.mtime_ns, parameters]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ExpressionTable:
    """An expression table at a location; holds no state of its own.

    Attributes
    ----------
    location : str
        Canonical path or URI of its folder.
    """

    location: str

    @property
    def values(self) -> str:
        """The folder that other engines open."""
        return storage.join(self.location, "values")

    def sources(self) -> list[SourceRecord]:
        """Return the records of all committed sources, ascending by name.

        Raises
        ------
        TableError
            If a record is damaged or of another format version.
        """
        records = [SourceRecord.from_bytes(*found) for found in self._documents("sources")]
        return sorted(records, key=lambda record: record.source)

    def failures(self) -> list[FailureRecord]:
        """Return why sources could not be converted when that was last tried, ascending by name."""
        records = [FailureRecord.from_bytes(*found) for found in self._documents("failed")]
        return sorted(records, key=lambda record: record.source)

    def universe(self, records: Sequence[SourceRecord]) -> list[str]:
        """Return the union of the gene universes of some sources, ascending."""
        names = sorted({record.gene_list for record in records})
        return sorted(set().union(*(self.genes_of(name) for name in names)))

    def genes_of(self, gene_list: str) -> list[str]:
        """Return the genes of a stored universe, ascending, by its fingerprint.

        Raises
        ------
        TableError
            If it is missing or damaged.
        """
        location = storage.join(self.location, "genes", f"{gene_list}.parquet")
        try:
            with pa.BufferReader(storage.read_buffer(location)) as stream:
                genes: list[str] = pq.read_table(stream).column("gene").to_pylist()
        except (OSError, pa.ArrowException, KeyError) as error:
            message = f"{location}: this list of genes cannot be read ({error}): convert its sources again"
            raise TableError(message) from error
        return sorted(genes)

    def store_genes(self, genes: Sequence[str]) -> str:
        """Store a gene universe, unless it is there already, and return its fingerprint."""
        name = hashlib.sha256("\n".join(genes).encode()).hexdigest()[:16]
        location = storage.join(self.location, "genes", f"{name}.parquet")
        if storage.stat(location) is None:
            with storage.written_whole(location) as sink:
                pq.write_table(pa.table({"gene": pa.array(list(genes), pa.string())}), sink)
        return name

    def staged(self, conversion: str) -> str:
        """Return the folder in which the parts of an uncommitted source are gathered."""
        return storage.join(self.location, "staging", conversion)

    def staged_conversions(self) -> set[str]:
        """Return the conversions that have something staged."""
        return set(storage.names_in(storage.join(self.location, "staging")))

    def staged_unit(self, conversion: str, unit: int) -> tuple[str, str]:
        """Return where a unit's part and its record are staged."""
        folder = self.staged(conversion)
        return storage.join(folder, f"part-{unit:05d}.parquet"), storage.join(folder, f"part-{unit:05d}.json")

    def staged_records(self, conversion: str, known: set[int]) -> dict[int, UnitRecord]:
        """Return the records of staged units whose numbers are not yet known, and whose parts are there."""
        return self._read_staged({conversion: set(storage.names_in(self.staged(conversion)))}, {conversion: known})[
            conversion
        ]

    def staged_records_of(self, known: Mapping[str, set[int]]) -> dict[str, dict[int, UnitRecord]]:
        """Return what `staged_records` does for those of many conversions that have something staged.

        An object store is asked once for all of them.
        """
        if storage.has_folders(self.location):
            under_way = self.staged_conversions() & known.keys()
            return {conversion: self.staged_records(conversion, known[conversion]) for conversion in sorted(under_way)}
        held = _names_by_folder(storage.join(self.location, "staging"))
        return self._read_staged({name: held[name] for name in sorted(held.keys() & known.keys())}, known)

    def _read_staged(
        self, held: Mapping[str, set[str]], known: Mapping[str, set[int]]
    ) -> dict[str, dict[int, UnitRecord]]:
        """Read the records among the names that conversions have staged, but those of known units."""
        found: dict[str, dict[int, UnitRecord]] = {conversion: {} for conversion in held}
        wanted = [
            (conversion, name, unit)
            for conversion, names in held.items()
            for name in sorted(name for name in names if name.endswith(".json"))
            if (unit := int(name.removeprefix("part-").removesuffix(".json"))) not in known[conversion]
        ]
        locations = [storage.join(self.staged(conversion), name) for conversion, name, _ in wanted]
        for (conversion, name, unit), location, content in zip(wanted, locations, _read_all(locations), strict=True):
            record = UnitRecord.from_bytes(location, content)
            if record.part is None or name.replace(".json", ".parquet") in held[conversion]:
                found[conversion][unit] = record
        return found

    def commit(self, record: SourceRecord) -> None:
        """Make a staged source part of the table, in place of what it held before.

        The parts are moved in, the record is written, and only then are the parts of an earlier conversion removed:
        whoever follows the records sees the old source or the new one. Whoever is killed on the way leaves parts that
        no record lists, and what is staged.

        Parameters
        ----------
        record : SourceRecord
            Its parts carry the names they shall have; see `committed_name`.
        """
        staged = self.staged(record.conversion)
        storage.bring(
            [
                (storage.join(staged, staged_name(part.name)), part_location(self.values, record.source, part.name))
                for part in record.parts
            ]
        )
        storage.write_json(self._document("sources", record.source), record.as_json())
        self._remove_strays(record.source, record)
        storage.remove(self._document("failed", record.source))
        self.discard_staged(record.conversion)

    def discard_staged(self, conversion: str) -> None:
        """Remove what is staged of a conversion; what a copy of a task is writing there just now may stay.

        It is not part of the table, and is removed at the end of the run or by the next one.
        """
        with contextlib.suppress(OSError):  # the folder filled while it was being emptied
            storage.remove(self.staged(conversion))

    def remove(self, sources: Sequence[str]) -> None:
        """Take sources out of the table, converted or failed; nothing is done if one is not there.

        Raises
        ------
        TableError
            If the table has no such source.
        """
        held = {record.source for record in self.sources()} | {failure.source for failure in self.failures()}
        missing = sorted(set(sources) - held)
        if missing:
            message = f"{self.location}: the table has no source {listed(missing)}; it has {listed(sorted(held))}"
            raise TableError(message)
        for source in sources:
            storage.remove(self._document("sources", source))
            storage.remove(self._document("failed", source))
            self._remove_strays(source, None)

    def record_failure(self, failure: FailureRecord) -> None:
        """Remember why a source could not be converted, until it is."""
        storage.write_json(self._document("failed", failure.source), failure.as_json())

    def discard_leftovers(self, keep: set[str]) -> None:
        """Remove what killed runs left: staged conversions other than `keep`, and parts that no record lists."""
        for name in self.staged_conversions() - keep:
            storage.remove(self.staged(name))
        records = {record.source: record for record in self.sources()}
        if storage.has_folders(self.location):
            held = {
                name: set(storage.names_in(storage.join(self.values, name))) for name in storage.names_in(self.values)
            }
        else:
            held = _names_by_folder(self.values)
        for folder, names in held.items():
            source = decode_name(folder.removeprefix("source="))
            self._remove_strays(source, records.get(source), names)

    def _remove_strays(self, source: str, record: SourceRecord | None, held: set[str] | None = None) -> None:
        """Remove the parts of a source that its record does not list; `held` are those that it has, if known."""
        folder = storage.join(self.values, f"source={encode_name(source)}")
        wanted = {part.name for part in record.parts} if record else set()
        for name in sorted(held) if held is not None else storage.names_in(folder):
            if name not in wanted:
                storage.remove(storage.join(folder, name))
        if not wanted:
            storage.remove(folder)

    def _document(self, kind: str, source: str) -> str:
        return storage.join(self.location, kind, f"{encode_name(source)}.json")

    def _documents(self, kind: str) -> list[tuple[str, bytes]]:
        folder = storage.join(self.location, kind)
        locations = [storage.join(folder, name) for name in storage.names_in(folder) if name.endswith(".json")]
        return list(zip(locations, _read_all(locations), strict=True))


def _read_all(locations: Sequence[str]) -> list[bytes]:
    """Read many small files side by side."""
    if len(locations) < 2:
        return [storage.read_bytes(location) for location in locations]
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(storage.read_bytes, locations))


def _names_by_folder(folder: str) -> dict[str, set[str]]:
    """Return the names of files in each folder of a folder, by one listing of all."""
    found: dict[str, set[str]] = {}
    for file in storage.files_below(folder):
        above, _, name = file.path[len(folder) + 1 :].rpartition("/")
        if above:
            found.setdefault(above, set()).add(name)
    return found


def committed_name(unit: int, token: str) -> str:
    """Return the file name of a unit's part; with a token of its own for each commit, none is ever overwritten."""
    return f"part-{unit:05d}-{token}.parquet"


def staged_name(committed: str) -> str:
    """Return the name under which a part was staged that is to be committed under another."""
    return "-".join(committed.split("-", 2)[:2]) + ".parquet"


def check_target(location: str) -> None:
    """Refuse a folder that cannot become, or is not, an expression table; writes nothing.

    Raises
    ------
    OutputError
        If the location is a file, or a folder that holds something else.
    TableError
        If it is a table of another format version.
    """
    table = ExpressionTable(storage.canonical(location))
    if storage.kind(table.location) == "file":
        message = f"{table.location}: this is a file; an expression table needs a folder"
        raise OutputError(message)
    held = set(storage.names_in(table.location))
    if _MARKER in held:
        _check_marker(table)
    elif held - {"lock"}:
        message = (
            f"{table.location}: this folder holds something else than an expression table "
            f"({listed(sorted(held), 3)}): choose an empty or new one"
        )
        raise OutputError(message)


def create_table(location: str) -> ExpressionTable:
    """Open an expression table for writing, made anew if the folder is empty or not there.

    Raises
    ------
    OutputError, TableError
        As `check_target`; or if the folder cannot be written to.
    """
    check_target(location)
    table = ExpressionTable(storage.canonical(location))
    marker = storage.join(table.location, _MARKER)
    if storage.stat(marker) is None:
        storage.write_json(marker, {"expression_table": True, "format_version": FORMAT_VERSION})
    return table


def open_table(location: str) -> ExpressionTable:
    """Open an expression table for reading.

    Raises
    ------
    TableError
        If there is none, or it is of another format version.
    """
    table = ExpressionTable(storage.canonical(location))
    held = storage.names_in(table.location)
    if _MARKER not in held:
        inner = "expression/" if "expression" in held else None
        hint = f"; did you mean {storage.join(table.location, 'expression')}?" if inner else ""
        found = f"it holds {listed(held, 3)}" if held else "there is no such folder, or it is empty"
        message = f"{table.location}: this is no expression table as 'median-spark convert' writes it ({found}){hint}"
        raise TableError(message)
    _check_marker(table)
    return table


def _check_marker(table: ExpressionTable) -> None:
    location = storage.join(table.location, _MARKER)
    try:
        version = json.loads(storage.read_bytes(location))["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{location}: this file is damaged ({error})"
        raise TableError(message) from error
    if version != FORMAT_VERSION:
        message = (
            f"{table.location}: this expression table has format version {version}; this version of median_spark "
            f"reads and writes {FORMAT_VERSION}"
        )
        raise TableError(message)


def remove_sources(location: str, sources: Sequence[str]) -> None:
    """Take sources out of an expression table.

    Parameters
    ----------
    location : str
        Path or URI of the table.
    sources : sequence of str
        Their names.

    Raises
    ------
    TableError
        If there is no such table, or it has no such source; then nothing is removed.
    BusyError
        If another run is writing to the table.
    """
    table = open_table(location)
    with storage.locked(table.location, "median-spark remove") as right:
        right.require()
        table.remove(sources)


def require_uniform(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources whose values cannot be pooled.

    Parameters
    ----------
    location : str
        The table, for messages.
    records : sequence of SourceRecord
        The sources to pool.

    Raises
    ------
    TableError
        If they were normalised or selected differently, or if one file stands under two names.
    """
    if not records:
        message = f"{location}: the expression table holds no source: convert some first"
        raise TableError(message)
    for option in ("target_sum", "gene_types", "gene_table", "gene_map"):
        found: dict[str, list[str]] = {}
        for record in records:
            found.setdefault(json.dumps(record.parameters.get(option)), []).append(record.source)
        if len(found) > 1:
            described = " and ".join(
                f"{value} ({counted(len(names), 'source')}: {listed(names, 2)})" for value, names in found.items()
            )
            message = (
                f"{location}: its sources were converted with different values of '{option}': {described}; "
                "values that differ in it cannot be pooled: convert them again with the same options"
            )
            raise TableError(message)
    paths: dict[str, list[str]] = {}
    for record in records:
        paths.setdefault(record.input.path, []).append(record.source)
    twice = {path: names for path, names in paths.items() if len(names) > 1}
    if twice:
        path, names = next(iter(twice.items()))
        message = f"{location}: {path} stands in the table as {listed(names)}: every cell of it would count twice"
        raise TableError(message)


def total(records: Sequence[SourceRecord], field: str) -> int:
    """Return the sum of a count over sources."""
    return int(np.sum([getattr(record, field) for record in records], dtype=np.int64))
