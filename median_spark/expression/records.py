"""The JSON documents of an expression table: what a unit yielded, what a source holds, why a source failed."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from median_spark.errors import InputError, TableError
from median_spark.expression.parts import PartEntry, RowGroup
from median_spark.options import Style
from median_spark.storage import FileStat

FORMAT_VERSION = 1
"""Of the expression table. Another version is refused on reading."""


@dataclass(frozen=True)
class UnitRecord:
    """What one unit yielded; written when its part is in place.

    Attributes
    ----------
    first, last : int
        The cells ``first <= cell < last`` of the source that the unit covers.
    values : int
        Rows written.
    part : PartEntry or None
        The part, or None if there was no value.
    error : str or None
        Why the unit could not be read.
    """

    first: int
    last: int
    values: int
    part: PartEntry | None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        return {
            "cells": [self.first, self.last],
            "values": self.values,
            "part": _part_as_json(self.part) if self.part else None,
            "error": self.error,
        }

    @classmethod
    def from_bytes(cls, location: str, content: bytes) -> Self:
        """Read a record; see `SourceRecord.from_bytes`."""
        with _naming_faults(location):
            found = json.loads(content)
            part = _part_from_json(found["part"]) if found["part"] else None
            first, last = found["cells"]
            return cls(first, last, found["values"], part, found["error"])


@dataclass(frozen=True)
class SourceRecord:
    """What a committed source holds.

    Attributes
    ----------
    source : str
        Its name.
    input : FileStat
        The file it was read from, as it was then.
    conversion : str
        Fingerprint of input and parameters; another one means another content.
    rows, cells, cells_passed : int
        Of the matrix.
    genes : int
        Genes selected.
    values : int
        Rows of the table.
    gene_list : str
        Fingerprint of its gene universe, stored under ``genes/``.
    row_counts : dict
        What became of its rows; see `median_spark.genes.RowCounts`.
    warnings : list of str
        What is likely to be wrong with it.
    parameters : dict
        See `median_spark.matrices.ReadOptions.as_json`.
    software : dict
        Versions that converted it.
    parts : tuple of PartEntry
        Its Parquet files.
    median_n_counts : float or None
        Median total count of the cells that pass, where that was known before counts were read; records that were
        written before it was kept have none.
    """

    source: str
    input: FileStat
    conversion: str
    rows: int
    cells: int
    cells_passed: int
    genes: int
    values: int
    gene_list: str
    row_counts: dict[str, Any]
    warnings: list[str]
    parameters: dict[str, Any]
    software: dict[str, str]
    parts: tuple[PartEntry, ...]
    median_n_counts: float | None = None

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
            "census": self.row_counts,
            "warnings": self.warnings,
            "parameters": self.parameters,
            "software": self.software,
            "parts": [_part_as_json(part) for part in self.parts],
        }

    @classmethod
    def from_bytes(cls, location: str, content: bytes) -> Self:
        """Read a record.

        Parameters
        ----------
        location : str
            Where it came from, for messages.
        content : bytes
            A JSON document.

        Raises
        ------
        TableError
            If it is damaged, or of a format version that this software does not know.
        """
        with _naming_faults(location):
            found = json.loads(content)
            version = found["format_version"]
            if version != FORMAT_VERSION:
                message = (
                    f"{location}: the expression table has format version {version}; this version of median_spark "
                    f"reads {FORMAT_VERSION}: "
                    + ("upgrade median_spark" if version > FORMAT_VERSION else "convert the sources again")
                )
                raise TableError(message)
            return cls(
                source=found["source"],
                input=FileStat(**found["input"]),
                conversion=found["conversion"],
                rows=found["shape"][0],
                cells=found["shape"][1],
                cells_passed=found["cells_passed"],
                genes=found["genes"],
                values=found["values"],
                gene_list=found["gene_list"],
                row_counts=found["census"],
                warnings=found["warnings"],
                parameters=found["parameters"],
                software=found["software"],
                parts=tuple(_part_from_json(part) for part in found["parts"]),
                median_n_counts=found.get("median_n_counts"),
            )


@dataclass(frozen=True)
class FailureRecord:
    """Why a source could not be converted.

    Attributes
    ----------
    source : str
        Its name.
    path : str
        The file.
    problem : str
        One sentence, with neutral mentions of options; read from a document, it has those of the command line.
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
        """Read a record; see `SourceRecord.from_bytes`."""
        with _naming_faults(location):
            found = json.loads(content)
            return cls(found["source"], found["path"], found["reason"])


class _naming_faults:  # noqa: N801 (used as a statement)
    """Turn what a damaged document raises into one sentence that names it."""

    def __init__(self, location: str) -> None:
        self._location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, KeyError, TypeError, IndexError)):
            message = f"{self._location}: this record is damaged ({type(error).__name__}: {error})"
            raise TableError(message) from error


def _part_as_json(part: PartEntry) -> dict[str, Any]:
    groups = [[group.rows, group.gene_min, group.gene_max] for group in part.row_groups]
    return {"name": part.name, "size": part.size, "row_groups": groups}


def _part_from_json(found: dict[str, Any]) -> PartEntry:
    return PartEntry(found["name"], found["size"], tuple(RowGroup(*group) for group in found["row_groups"]))
