"""The folders of an expression table: its records and genes, committing a source, removing leftovers."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError, listed
from median_spark.expression.records import FORMAT_VERSION, FailureRecord, SourceRecord
from median_spark.expression.staging import Staging
from median_spark.storage import FileStat, decode_name, encode_name

FOLDERS = ("values", "sources", "genes", "failed", "staging")
"""The folders of a table."""

_LISTINGS = 10
"""How often records are listed again while another run is removing some."""

_PART = re.compile(r"part-\d+-.+\.parquet(\.\w+\.tmp)?")
"""Names of parts, see `committed_name`."""


def part_location(values_folder: str, source: str, name: str) -> str:
    """Return the location of a committed part of a source."""
    return storage.join(values_folder, f"source={encode_name(source)}", name)


def conversion_fingerprint(source: str, file: FileStat, parameters: Mapping[str, Any]) -> str:
    """Return the fingerprint of a source's conversion: of its file's state and of all that decides its values.

    The file's path is left out, so that a corpus may move without being converted again.
    """
    content = [FORMAT_VERSION, source, file.size, file.mtime_ns, parameters]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ExpressionTable:
    """An expression table at a canonical path or URI; holds no state of its own."""

    location: str

    @property
    def values(self) -> str:
        """The folder that other engines open."""
        return storage.join(self.location, "values")

    @property
    def staging(self) -> Staging:
        """The folder of what is not committed yet."""
        return Staging(storage.join(self.location, "staging"))

    def sources(self) -> list[SourceRecord]:
        """Return the records of all committed sources, ascending by name."""
        records = [SourceRecord.from_bytes(*document) for document in self._documents("sources")]
        return sorted(records, key=lambda record: record.source)

    def source_names(self) -> set[str]:
        """Return the names of all committed sources without reading their records."""
        return {decode_name(name.removesuffix(".json")) for name in self._document_names("sources")}

    def failures(self) -> list[FailureRecord]:
        """Return why the last conversion of sources failed, ascending by name."""
        records = [FailureRecord.from_bytes(*document) for document in self._documents("failed")]
        return sorted(records, key=lambda record: record.source)

    def universe(self, records: Sequence[SourceRecord]) -> list[str]:
        """Return the union of the gene universes of some sources, ascending."""
        names = sorted({record.gene_list for record in records})
        return sorted(set().union(*(self.genes_of(name) for name in names)))

    def genes_of(self, gene_list: str) -> list[str]:
        """Return the genes of a stored universe, ascending, by its fingerprint."""
        location = storage.join(self.location, "genes", f"{gene_list}.parquet")
        try:
            with pa.BufferReader(storage.read_buffer(location)) as stream:
                genes: list[str] = pq.read_table(stream).column("gene").to_pylist()
        except (OSError, pa.ArrowException, KeyError) as error:
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
        """Make a staged source part of the table, in place of its earlier conversion.

        The parts are moved in, the record is written, and only then are the parts of an earlier conversion removed:
        readers that follow the records see the old source or the new one. If this is killed on the way, parts that no
        record lists and staged files are left. The parts of the record have their `committed_name`.
        """
        staged = [self.staging.unit(record.conversion, int(part.name.split("-", 2)[1]))[0] for part in record.parts]
        committed = [part_location(self.values, record.source, part.name) for part in record.parts]
        storage.move_all(list(zip(staged, committed, strict=True)))
        storage.write_json(self._document("sources", record.source), record.as_json())
        self._remove_strays(record.source, record)
        storage.remove(self._document("failed", record.source))
        self.staging.discard(record.conversion)

    def remove(self, sources: Sequence[str]) -> None:
        """Take sources out of the table, converted or failed; do nothing but raise if the table lacks one."""
        known = {record.source for record in self.sources()} | {failure.source for failure in self.failures()}
        missing = sorted(set(sources) - known)
        if missing:
            message = f"{self.location}: the table has no source {listed(missing)}; it has {listed(sorted(known))}"
            raise TableError(message)
        for source in sources:
            storage.remove(self._document("sources", source))
            storage.remove(self._document("failed", source))
            self._remove_strays(source, None)

    def record_failure(self, failure: FailureRecord) -> None:
        """Store why a source could not be converted; committing it removes this."""
        storage.write_json(self._document("failed", failure.source), failure.as_json())

    def discard_leftovers(self, keep: set[str], records: Iterable[SourceRecord]) -> None:
        """Remove what killed runs left: staged units but those of the conversions to keep, and parts in no record.

        `records` are those of all sources.
        """
        for name in self.staging.conversions() - keep:
            storage.remove(self.staging.folder(name))
        by_source = {record.source: record for record in records}
        if storage.has_folders(self.location):
            names_of = {
                name: set(storage.names_in(storage.join(self.values, name)))
                for name in storage.names_in(self.values)
                if storage.kind(storage.join(self.values, name)) == "folder"
            }
        else:
            names_of = storage.names_by_folder(self.values)
        for folder, names in names_of.items():
            source = decode_name(folder.removeprefix("source="))
            self._remove_strays(source, by_source.get(source), names)

    def _remove_strays(self, source: str, record: SourceRecord | None, names: set[str] | None = None) -> None:
        """Remove the parts of a source that its record does not list; `names` are those in its folder, if known.

        Only files with the name of a part are removed, and none through a link that somebody put there.
        """
        folder = storage.join(self.values, f"source={encode_name(source)}")
        listed_names = {part.name for part in record.parts} if record else set()
        if storage.is_link(folder):
            return
        names = names if names is not None else set(storage.names_in(folder))
        strays = {name for name in names - listed_names if _PART.fullmatch(name)}
        for name in sorted(strays):
            storage.remove(storage.join(folder, name))
        if not names - strays:
            storage.remove(folder)

    def _document(self, kind: str, source: str) -> str:
        return storage.join(self.location, kind, f"{encode_name(source)}.json")

    def _document_names(self, kind: str) -> list[str]:
        return [name for name in storage.names_in(storage.join(self.location, kind)) if name.endswith(".json")]

    def _documents(self, kind: str) -> list[tuple[str, bytes]]:
        folder = storage.join(self.location, kind)
        for _ in range(_LISTINGS):
            locations = [storage.join(folder, name) for name in self._document_names(kind)]
            # A missing one was removed since it was listed.
            with contextlib.suppress(FileNotFoundError):
                return list(zip(locations, storage.read_files(locations), strict=True))
        message = f"{folder}: files in this folder are listed but not there, time after time: run this again"
        raise TableError(message)


def committed_name(unit: int, token: str) -> str:
    """Return the file name of a unit's part; each commit has its own token, so that no part is ever overwritten."""
    return f"part-{unit:05d}-{token}.parquet"
