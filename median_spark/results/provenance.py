"""The record of a result: what ran, on what, and what was left out. The one reader and writer of its JSON.

What is recorded of each source is in a table beside it, see `median_spark.results.sources`.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from median_spark.errors import TableError
from median_spark.expression import FailureRecord, SourceRecord
from median_spark.results.sources import RecordedSource, StoredSources
from median_spark.versions import software_versions


@dataclass(frozen=True, kw_only=True)
class MergedFile:
    """One file of digests of a merged result, and how many of its genes and values were taken."""

    path: str
    size: int | None = None
    mtime_ns: int | None = None
    kind: str
    sha256: str | None = None
    compressions: Sequence[float] = ()  # of its digests, ascending, each once
    genes: int
    genes_left_out: int
    values: int

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a record, which is written as plain fields."""
        return cls(**{name: document[name] for name in _fields(cls) if name in document})


@dataclass(frozen=True)
class LeftOutIds:
    """Ids of merged files that are not genes of the result."""

    unknown_ids: int  # to the gene table
    unknown_examples: list[str]
    ids_of_other_types: int


@dataclass(frozen=True)
class MergeRecord:
    """What a result records if it was merged from files of digests."""

    merged: Sequence[MergedFile] = ()
    all_sources_known: bool = True
    n_sources_are_lower_bounds: bool = False
    left_out: LeftOutIds | None = None
    warnings: Sequence[str] = ()  # about all sources


@dataclass(frozen=True)
class Provenance:
    """The content of ``provenance.json``."""

    written: str | None = None  # ISO 8601, UTC
    software: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)  # those of the conversion are with each source
    expression_table: str | None = None
    expression_state: str | None = None
    merge: MergeRecord | None = None
    sources: Sequence[RecordedSource] = ()
    failed_sources: Sequence[FailureRecord] = ()
    source_warnings: Sequence[str] = ()  # about several sources at once; those about one source are with it

    def as_json(self, stored: StoredSources) -> dict[str, Any]:
        """Return the record as plain JSON, for its sources as they are stored beside it."""
        origin: dict[str, Any] = {"expression_table": self.expression_table}
        if self.merge is None:
            origin["expression_state"] = self.expression_state
        else:
            origin |= asdict(self.merge)
        return {
            "written": self.written,
            "software": dict(self.software),
            "parameters": dict(self.parameters),
            **origin,
            **stored.as_json(),
            "failed_sources": [failure.as_json() for failure in self.failed_sources],
            "source_warnings": list(self.source_warnings),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], name: str, sources: Sequence[RecordedSource] | None = None) -> Self:
        """Read a record with the sources stored beside it; documents of older versions list them, and lack fields.

        Raises TableError, which begins with the document's name, if it is damaged.
        """
        try:
            merge = {key: document[key] for key in _fields(MergeRecord) if document.get(key) is not None}
            if merge:
                merge["merged"] = [MergedFile.from_json(file) for file in merge.get("merged", ())]
                merge["left_out"] = LeftOutIds(**merge["left_out"]) if "left_out" in merge else None
            return cls(
                written=document.get("written"),
                software=document.get("software") or {},
                parameters=document.get("parameters") or {},
                expression_table=document.get("expression_table"),
                expression_state=document.get("expression_state"),
                merge=MergeRecord(**merge) if merge else None,
                sources=sources
                if sources is not None
                else [RecordedSource.from_json(source) for source in document.get("sources") or ()],
                failed_sources=[FailureRecord.from_json(failure) for failure in document.get("failed_sources") or ()],
                source_warnings=document.get("source_warnings") or (),
            )
        except (KeyError, TypeError, AttributeError) as error:
            message = f"{name} is damaged ({type(error).__name__}: {error})"
            raise TableError(message) from error


def provenance_of(
    expression: str,
    records: Sequence[SourceRecord],
    failures: Sequence[FailureRecord],
    parameters: Mapping[str, Any],
    spark_version: str,
    source_warnings: Sequence[str] = (),
) -> Provenance:
    """Return the provenance of medians of an expression table; `source_warnings` are about several sources at once."""
    state = sorted((record.source, record.conversion) for record in records)
    return Provenance(
        written=time_now(),
        software={**software_versions(), "spark": spark_version},
        parameters=parameters,
        expression_table=expression,
        expression_state=hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16],
        sources=[RecordedSource.of(record) for record in records],
        failed_sources=failures,
        source_warnings=source_warnings,
    )


def time_now() -> str:
    """Return the time in UTC as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _fields(kind: Any) -> list[str]:
    return [each.name for each in fields(kind)]
