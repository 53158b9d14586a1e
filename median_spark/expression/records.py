"""The JSON documents of an expression table: what a unit yielded, what a source holds, why a source failed."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from sys import intern
from typing import Any, Self

from median_spark.errors import InputError, TableError
from median_spark.expression.parts import CellsEntry, PartEntry
from median_spark.genes import RowCounts
from median_spark.matrices import AppliedLayout
from median_spark.options import Style
from median_spark.storage import FileStat

FORMAT_VERSION = 2
"""Version of the expression table that is written."""

READ_VERSIONS = (1, 2)
"""Versions that are read: in tables of version 1 each source has a JSON document of its own."""


def check_format_version(location: str, version: int) -> None:
    """Refuse a table or record of another format version."""
    if version not in READ_VERSIONS:
        message = (
            f"{location}: this expression table has format version {version}; this version of median_spark reads "
            f"{' and '.join(map(str, READ_VERSIONS))}: "
            + ("upgrade median_spark" if version > FORMAT_VERSION else "convert the sources again into a new table")
        )
        raise TableError(message)


@contextmanager
def naming_damage(location: str) -> Iterator[None]:
    """Turn what a damaged document raises into one sentence that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError) as error:
        message = (
            f"{location}: this record is damaged ({type(error).__name__}: {error}): delete this file, and convert its "
            "source again"
        )
        raise TableError(message) from error


@dataclass(frozen=True)
class UnitRecord:
    """What one unit yielded; written when its part is in place.

    The unit covers the cells ``first <= cell < last`` of its source and yielded `values` rows; `part` is None if there
    were none, `error` says why the unit could not be read, and `cells` is the file of its cells, None if it could not
    be read or an older version read it.
    """

    first: int
    last: int
    values: int
    part: PartEntry | None
    error: str | None = None
    cells: CellsEntry | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        return {
            "cells": [self.first, self.last],
            "values": self.values,
            "part": self.part.as_json() if self.part else None,
            "error": self.error,
            "cells_part": self.cells.as_json() if self.cells else None,
        }

    @classmethod
    def from_bytes(cls, location: str, content: bytes) -> Self:
        """Read a record; raise `TableError`, which names the location, if it is damaged."""
        with naming_damage(location):
            record = json.loads(content)
            first, last = record["cells"]
            part = PartEntry.from_json(record["part"]) if record["part"] else None
            held = record.get("cells_part")
            cells = CellsEntry.from_json(held) if held else None
            return cls(first, last, record["values"], part, record["error"], cells)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a committed source holds."""

    source: str  # its name
    input: FileStat  # the file it was read from, as it was then
    conversion: str  # fingerprint of input and parameters: another fingerprint means other content
    rows: int  # of the matrix
    cells: int
    cells_passed: int
    genes: int  # selected
    values: int  # rows in the table
    gene_list: str  # fingerprint of its gene universe, stored under genes/
    row_counts: RowCounts
    warnings: list[str]  # what is likely to be wrong with it
    parameters: Mapping[str, Any]  # see `ReadOptions.as_json`; completed by the layout; older records lack newer ones
    software: dict[str, str]  # versions that converted it
    parts: tuple[PartEntry, ...]
    # Of the total counts of the cells that pass, if these were known before counts were read; older records lack it.
    median_n_counts: float | None = None
    layout: AppliedLayout | None = None  # what was recognised; older records lack it
    cells_listed: int | None = None  # cells of the list that it has, if there is a list
    # Files of its cells, in the order of the units, and the names and types of their columns; older records lack these.
    cells_parts: tuple[CellsEntry, ...] | None = None
    cell_columns: tuple[tuple[str, str], ...] = ()

    @property
    def target_sum(self) -> float:
        """Counts that every cell is scaled to."""
        target_sum: float = self.parameters["target_sum"]
        return target_sum

    @property
    def stored_bytes(self) -> int:
        """Size of all its files."""
        return sum(part.size for part in self.parts) + sum(entry.size for entry in self.cells_parts or ())

    @property
    def gene_types(self) -> tuple[str, ...]:
        """The chosen gene types."""
        return tuple(self.parameters["gene_types"])

    @property
    def gene_map(self) -> str | None:
        """Fingerprint of the gene map, if there was one."""
        return self.parameters.get("gene_map")

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "source": self.source,
            "input": asdict(self.input),
            "conversion": self.conversion,
            "shape": [self.rows, self.cells],
            "cells_passed": self.cells_passed,
            "median_n_counts": self.median_n_counts,
            "genes": self.genes,
            "values": self.values,
            "gene_list": self.gene_list,
            "census": self.row_counts.as_json(),
            "warnings": self.warnings,
            "parameters": self.parameters,
            "software": self.software,
            "parts": [part.as_json() for part in self.parts],
            "layout": self.layout.as_json() if self.layout else None,
            "cells_listed": self.cells_listed,
            "cells_parts": None if self.cells_parts is None else [entry.as_json() for entry in self.cells_parts],
            "cell_columns": [list(column) for column in self.cell_columns],
        }

    @classmethod
    def from_bytes(cls, location: str, content: bytes) -> Self:
        """Read a record; raise `TableError` if it is damaged or of another format version."""
        with naming_damage(location):
            return cls.from_json(location, json.loads(content))

    @classmethod
    def from_json(cls, location: str, record: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote; raise `TableError` if it is damaged or of another format version."""
        with naming_damage(location):
            check_format_version(location, record["format_version"])
            same = ("source", "conversion", "cells_passed", "genes", "values", "gene_list", "warnings", "parameters",
                    "software")  # fmt: skip
            rows, cells = record["shape"]
            cells_parts = record.get("cells_parts")
            return cls(
                **{name: record[name] for name in same},
                input=FileStat(**record["input"]),
                rows=rows,
                cells=cells,
                row_counts=RowCounts.from_json(record["census"]),
                parts=tuple(map(PartEntry.from_json, record["parts"])),
                median_n_counts=record.get("median_n_counts"),
                layout=AppliedLayout.from_json(record.get("layout")),
                cells_listed=record.get("cells_listed"),
                cells_parts=None if cells_parts is None else tuple(map(CellsEntry.from_json, cells_parts)),
                cell_columns=tuple((intern(name), intern(kind)) for name, kind in record.get("cell_columns", ())),
            )


@dataclass(frozen=True)
class FailureRecord:
    """Why a source could not be converted: its name, its file, and the problem in one sentence.

    The sentence has neutral mentions of options; read from a document, it has those of the command line.
    """

    source: str
    path: str
    problem: str

    @property
    def reason(self) -> str:
        """The sentence for callers of Python functions."""
        return str(InputError(self.problem))

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON, in the words of the command line."""
        reason = InputError(self.problem).worded(Style.FLAGS)
        return {"source": self.source, "path": self.path, "reason": reason}

    @classmethod
    def from_bytes(cls, location: str, content: bytes) -> Self:
        """Read a record; raise `TableError`, which names the location, if it is damaged."""
        with naming_damage(location):
            return cls.from_json(json.loads(content))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(document["source"], document["path"], document["reason"])
