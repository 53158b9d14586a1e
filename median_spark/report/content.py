"""What a result folder holds, as the page needs it.

Knows a result's files by their names and columns only, not the code that writes them, so that whoever writes a result
can have its page written before the folder is published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError

READABLE_FORMAT_VERSION = 1
"""Of the result folders that this module reads."""

_DOCUMENT = "document of a result"
_SUMMARY_FIELDS = ("sources", "cells", "cells_passed", "values", "genes", "genes_detected", "median_detection_count",
                   "target_sum", "medians_are")  # fmt: skip
_MEDIAN_COLUMNS = ["gene", "median", "n_cells", "n_sources", "q25", "q75", "digest_rank_error"]
_DIGEST_COLUMNS = ["gene", "n", "min", "max", "mean", "weight"]


@dataclass(frozen=True)
class ResultContent:
    """A result as it lies in its folder.

    Attributes
    ----------
    location : str
        Where it is, or will be, for people to read.
    medians : pyarrow.Table
        One row a gene of the universe, ascending: gene, median, n_cells, n_sources, q25, q75, digest_rank_error.
        Medians and quartiles in counts per target sum; null where a gene was not detected.
    digests : pyarrow.Table
        One row a detected gene, ascending: gene, n, min, max, mean and weight of the centroids.
    summary, provenance : dict
        Content of ``summary.json`` and ``provenance.json``.
    sources : pyarrow.Table or None
        Content of ``sources.parquet``, one row a source, where the result has one.
    """

    location: str
    medians: pa.Table
    digests: pa.Table
    summary: dict[str, Any]
    provenance: dict[str, Any]
    sources: pa.Table | None


def result_folder(location: str) -> str:
    """Return the canonical location of a result: the folder itself, or ``medians`` in the folder of a run.

    Raises
    ------
    TableError
        If neither is a result.
    """
    folder = storage.canonical(location)
    for candidate in (folder, storage.join(folder, "medians")):
        if storage.stat(storage.join(candidate, "summary.json")) is not None:
            return candidate
    message = f"{location}: this is no result folder: it has no summary.json; name the RESULT that 'medians' wrote"
    raise TableError(message)


def read_result(folder: str, *, location: str | None = None) -> ResultContent:
    """Read a result.

    Parameters
    ----------
    folder : str
        Canonical path or URI of the folder.
    location : str, optional
        Where the result will be, if that is not where it is read.

    Raises
    ------
    TableError
        If a file is missing, damaged, or of a format version that this software does not know.
    """
    summary = storage.read_json(storage.join(folder, "summary.json"), _DOCUMENT)
    version = summary.get("format_version")
    if version != READABLE_FORMAT_VERSION:
        message = (
            f"{folder}: this result has format version {version}; "
            f"this version of median_spark reads {READABLE_FORMAT_VERSION}"
        )
        raise TableError(message)
    missing = [field for field in _SUMMARY_FIELDS if field not in summary]
    if missing:
        message = f"{folder}/summary.json: this document of a result lacks the field '{missing[0]}'"
        raise TableError(message)
    has_sources = storage.stat(storage.join(folder, "sources.parquet")) is not None
    medians = read_columns(storage.join(folder, "medians.parquet"), _MEDIAN_COLUMNS)
    digests = read_columns(storage.join(folder, "digests.parquet"), _DIGEST_COLUMNS)
    if not medians.filter(pc.field("n_cells") > 0)["gene"].equals(digests["gene"]):
        message = f"{folder}: medians.parquet and digests.parquet are of different genes, and so of different results"
        raise TableError(message)
    return ResultContent(
        location or folder,
        medians,
        digests,
        summary,
        storage.read_json(storage.join(folder, "provenance.json"), _DOCUMENT),
        read_columns(storage.join(folder, "sources.parquet"), None) if has_sources else None,
    )


def read_columns(location: str, columns: Sequence[str] | None) -> pa.Table:
    """Read columns of a Parquet file of a result; all of them, if none are named.

    Raises
    ------
    TableError
        If the file cannot be read, or lacks a column.
    """
    try:
        # Not as Python's bytes: pyarrow's own threads may still hold them when the interpreter ends, and abort it.
        held = pq.ParquetFile(pa.BufferReader(storage.read_buffer(location)))
    except (OSError, pa.ArrowException) as error:
        message = f"{location}: this file of a result cannot be read ({error})"
        raise TableError(message) from error
    missing = sorted(set(columns or ()) - set(held.schema_arrow.names))
    if missing:
        message = f"{location}: this file of a result lacks the column '{missing[0]}'; it has {held.schema_arrow.names}"
        raise TableError(message)
    try:
        return held.read(columns=columns).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        message = f"{location}: this file of a result cannot be read ({error})"
        raise TableError(message) from error
