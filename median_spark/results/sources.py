"""What a result records of each source: one row each of a Parquet file, small for any number of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark.errors import TableError
from median_spark.expression import SourceRecord
from median_spark.results.layout import SOURCES, SOURCES_SCHEMA
from median_spark.storage import FileStat, read_parquet

_FROM_INPUT = ("path", "size", "mtime_ns")
_APART = (*_FROM_INPUT, "setting", "row_census")
"""Columns that are no field of `RecordedSource`."""


@dataclass(frozen=True)
class RecordedSource:
    """What a result records of one source; None for what is not known, as of a source with only a pickle."""

    source: str
    input: FileStat | None = None
    sha256: str | None = None  # of a pickle's content
    conversion: str | None = None
    rows: int | None = None  # None for a pickle
    cells: int | None = None
    cells_passed: int | None = None
    median_n_counts: float | None = None
    genes: int | None = None
    values: int | None = None
    row_counts: Mapping[str, Any] = field(default_factory=dict)  # see `median_spark.genes.RowCounts`
    known_to_gene_table: float | None = None  # fraction of rows
    warnings: Sequence[str] = ()
    layout: Mapping[str, Any] | None = None  # see `median_spark.matrices.AppliedLayout.as_json`
    cells_listed: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)  # see `median_spark.matrices.ReadOptions.as_json`
    software: Mapping[str, str] = field(default_factory=dict)
    merged_from: str | None = None  # the file of digests, in a merged result

    @classmethod
    def of(cls, record: SourceRecord) -> Self:
        """Return what is recorded of a source of an expression table."""
        return cls(
            source=record.source,
            input=record.input,
            conversion=record.conversion,
            rows=record.rows,
            cells=record.cells,
            cells_passed=record.cells_passed,
            median_n_counts=record.median_n_counts,
            genes=record.genes,
            values=record.values,
            row_counts=record.row_counts.as_json(),
            known_to_gene_table=record.row_counts.known_rows / record.row_counts.rows,
            warnings=record.warnings,
            layout=record.layout.as_json() if record.layout else None,
            cells_listed=record.cells_listed,
            parameters=record.parameters,
            software=record.software,
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a record of a result of format version 1, whose provenance lists all sources; older ones lack fields."""
        names = [each.name for each in fields(cls)]
        known = {name: document[name] for name in names if document.get(name) is not None}
        if "input" in known:
            known["input"] = FileStat(**known["input"])
        return cls(**{**known, "source": document["source"], "row_counts": document.get("row_census") or {}})


@dataclass(frozen=True)
class StoredSources:
    """All sources of a result: the content of their file, and what the result's provenance says of it."""

    content: bytes
    sources: int
    settings: Sequence[Mapping[str, Any]]  # parameters, software and layout that sources share, and of how many

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return what provenance says of the file."""
        file = {"file": SOURCES, "sources": self.sources, "sha256": self.sha256}
        return {"sources_file": file, "settings": [dict(setting) for setting in self.settings]}


def encode_sources(sources: Sequence[RecordedSource]) -> StoredSources:
    """Return the file of some sources: one row each, in their order, with the number of their setting."""
    settings: list[dict[str, Any]] = []
    by_text: dict[str, int] = {}
    by_identity: dict[tuple[int, int, str], int] = {}  # many sources share these objects
    columns: dict[str, list[Any]] = {name: [] for name in SOURCES_SCHEMA.names}
    plain = [name for name in SOURCES_SCHEMA.names if name not in _APART]
    for source in sources:
        own = {"parameters": source.parameters, "software": source.software, "layout": source.layout}
        identity = (id(source.parameters), id(source.software), json.dumps(source.layout))
        if identity not in by_identity:
            number = by_text.setdefault(json.dumps(own), len(settings))
            if number == len(settings):
                settings.append({"sources": 0, **own})
            by_identity[identity] = number
        settings[by_identity[identity]]["sources"] += 1
        columns["setting"].append(by_identity[identity])
        for name in _FROM_INPUT:
            columns[name].append(getattr(source.input, name) if source.input else None)
        columns["row_census"].append(source.row_counts or None)
        for name in plain:
            columns[name].append(getattr(source, name))
    sink = pa.BufferOutputStream()
    table = pa.table([pa.array(columns[each.name], each.type) for each in SOURCES_SCHEMA], schema=SOURCES_SCHEMA)
    pq.write_table(table, sink, compression="zstd")
    return StoredSources(sink.getvalue().to_pybytes(), len(sources), settings)


def is_in_file(document: Mapping[str, Any]) -> bool:
    """Say whether the provenance of a result names a file of sources; in format version 1 it lists them itself."""
    return "sources_file" in document


def decode_sources(content: pa.Buffer, document: Mapping[str, Any], beginning: str) -> list[RecordedSource]:
    """Return the sources that `encode_sources` wrote, for the provenance that was written with them.

    Raises TableError, with a sentence of this beginning, if they are damaged or of another result.
    """
    try:
        if hashlib.sha256(content).hexdigest() != document["sources_file"]["sha256"]:
            message = f"{beginning} is damaged or of another result: its hash is not that in the provenance"
            raise TableError(message)
        rows = read_parquet(content).to_pylist()
        settings = [
            {name: each[name] for name in ("parameters", "software", "layout")} for each in document["settings"]
        ]
        return [_of_row(row, settings[row["setting"]]) for row in rows]
    except (KeyError, TypeError, IndexError, pa.ArrowException) as error:
        message = f"{beginning} is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error


def _of_row(row: Mapping[str, Any], setting: Mapping[str, Any]) -> RecordedSource:
    known = {name: value for name, value in row.items() if name not in _APART and value is not None}
    if row["path"] is not None:
        known["input"] = FileStat(*(row[name] for name in _FROM_INPUT))
    census = row["row_census"] or {}
    known["row_counts"] = {name: value for name, value in census.items() if value is not None}
    return RecordedSource(**known, **setting)
