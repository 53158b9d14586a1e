"""A finished result, and reading one back from its folder."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.results import layout
from median_spark.results.provenance import Provenance
from median_spark.results.sources import decode_sources, is_in_file
from median_spark.results.summary import ResultSummary

_DOCUMENT = "document of a result"
_MEDIAN_COLUMNS = ("gene", "median", "n_cells", "n_sources", "q25", "q75", "digest_rank_error")
_DIGEST_COLUMNS = ("gene", "n", "min", "max", "mean", "weight")
_NEWER_COLUMNS = ("mean", "sd", "share_detected")
"""Columns of the median table that results of earlier versions lack."""


@dataclass(frozen=True)
class Result:
    """A finished result; its tables have at least the columns that are read back from a folder."""

    location: str  # canonical; where it is, or will be once it is published
    medians: pa.Table
    digests: pa.Table
    summary: ResultSummary
    provenance: Provenance
    groups: pa.Table | None  # where there are groups, see `GROUPS_SCHEMA`
    by_group: str | None = None  # location of the medians of every group, where there are groups
    stability: pa.Table | None = None  # where it was asked for, see `STABILITY_SCHEMA`


def find_result(location: str) -> str:
    """Return the canonical location of a result: the folder itself, or ``medians`` in the folder of a run.

    Raises TableError if neither is a result.
    """
    folder = storage.canonical(location)
    for candidate in (folder, storage.join(folder, "medians")):
        if storage.stat(storage.join(candidate, layout.SUMMARY)) is not None:
            return candidate
    message = f"{location}: this is no result folder: it has no {layout.SUMMARY}; name the RESULT that 'medians' wrote"
    raise TableError(message)


def read_result(folder: str) -> Result:
    """Read a result from its canonical location.

    Raises TableError if a file is missing, damaged, or of another format version.
    """
    summary = read_summary(folder)
    groups, by_group = storage.join(folder, layout.GROUPS), storage.join(folder, layout.BY_GROUP)
    grouped = storage.stat(groups) is not None
    stability = storage.join(folder, layout.STABILITY)
    medians = read_columns(storage.join(folder, layout.MEDIANS), _MEDIAN_COLUMNS)
    digests = read_columns(storage.join(folder, layout.DIGESTS), _DIGEST_COLUMNS)
    if not medians.filter(pc.greater(medians["n_cells"], 0))["gene"].equals(digests["gene"]):
        message = f"{folder}: medians.parquet and digests.parquet are of different genes, and so of different results"
        raise TableError(message)
    return Result(
        folder,
        medians,
        digests,
        summary,
        read_provenance(folder),
        read_groups(groups) if grouped else None,
        by_group if grouped else None,
        read_columns(stability, layout.STABILITY_SCHEMA.names) if storage.stat(stability) is not None else None,
    )


def read_medians(result: str) -> pa.Table:
    """Read the median table of a result.

    Parameters
    ----------
    result : str
        Path or URI of a result, or of the folder of a run.

    Returns
    -------
    pyarrow.Table
        One row per gene, ascending: ``gene``, ``median`` (float64, counts per target sum; null where the gene is not
        detected), ``n_cells``, ``n_sources``, ``mean``, ``sd``, ``share_detected``, quantiles, ``digest_median``,
        ``digest_rank_error``.

    Raises
    ------
    TableError
        If there is no result, or it is damaged or of another format version.

    Examples
    --------
    >>> import median_spark
    >>> medians = median_spark.read_medians("result")
    >>> medians.column_names[:3]
    ['gene', 'median', 'n_cells']
    """
    folder = find_result(result)
    read_summary(folder)
    wanted = layout.MEDIANS_SCHEMA.names
    table = read_columns(storage.join(folder, layout.MEDIANS), wanted, may_lack=_NEWER_COLUMNS)
    for name in set(wanted) - set(table.column_names):
        table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    return table.select(wanted)


def read_groups(location: str) -> pa.Table:
    """Read a table of groups, see `GROUPS_SCHEMA`; raises TableError if it cannot be read or lacks a column."""
    return read_columns(location, None, layout.GROUPS_SCHEMA.names)


def read_columns(
    location: str, columns: Sequence[str] | None, required: Sequence[str] = (), *, may_lack: Sequence[str] = ()
) -> pa.Table:
    """Read columns of a Parquet file of a result, by default all.

    Raises TableError if it cannot be read, or lacks one of them that it `may_lack` not, or one that is required.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(storage.read_buffer(location)))
        held = file.schema_arrow.names
        missing = sorted({*(columns or ()), *required} - {*held, *may_lack})
        wanted = held if columns is None else [name for name in columns if name in held]
        table = None if missing else file.read(columns=wanted, use_threads=False).combine_chunks()
    except storage.UNREADABLE as error:
        message = f"{location}: this file of a result cannot be read ({error})"
        raise TableError(message) from error
    if missing:
        message = f"{location}: this file of a result lacks the column '{missing[0]}'; it has {held}"
        raise TableError(message)
    return table


def read_medians_of_groups(
    location: str, by: Sequence[str], groups: Collection[tuple[str | None, ...]], columns: Sequence[str]
) -> pa.Table:
    """Read columns of some groups from the file of all groups' medians, which may be far larger than memory.

    Groups have one text, or none, for each column that cells are grouped by; texts in the result are dictionaries.
    Raises TableError if the file cannot be read or lacks a column.
    """
    try:
        with storage.open_random(location) as stream:
            file = pq.ParquetFile(stream, read_dictionary=[*by, "gene"], pre_buffer=False)
            wanted = [*by, *columns]
            missing = [name for name in wanted if name not in file.schema_arrow.names]
            if missing:
                message = f"{location}: this file of a result lacks the column '{missing[0]}'"
                raise TableError(message)
            found = [file.schema_arrow.empty_table().select(wanted)]
            for number in range(file.num_row_groups):
                runs = group_runs(file.read_row_group(number, columns=list(by), use_threads=False), by)
                runs = [run for run in runs if run[0] in groups]
                if runs:
                    rows = file.read_row_group(number, columns=wanted, use_threads=False)
                    chosen = pa.concat_tables([rows.slice(begin, end - begin) for _, begin, end in runs])
                    found.append(chosen.combine_chunks())  # a copy, so that the row group is freed
            return pa.concat_tables(found).unify_dictionaries().combine_chunks()
    except storage.UNREADABLE as error:
        message = f"{location}: this file of a result cannot be read ({error})"
        raise TableError(message) from error


def group_runs(table: pa.Table, by: Sequence[str]) -> list[tuple[tuple[str | None, ...], int, int]]:
    """Return the group, begin and end of each run of rows of one group."""
    if not len(table):
        return []
    texts, numbers = [], []
    for name in by:
        column = table[name].unify_dictionaries().combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        texts.append([*column.dictionary.to_pylist(), None])
        numbers.append(column.indices.fill_null(len(column.dictionary)).to_numpy())
    keys = np.stack(numbers)
    begins = np.flatnonzero(np.append(True, np.any(keys[:, 1:] != keys[:, :-1], axis=0)))
    bounds = pairwise([*begins.tolist(), len(table)])
    named = zip(
        *([own[place] for place in places] for own, places in zip(texts, keys[:, begins].tolist(), strict=True)),
        strict=True,
    )
    return [(group, begin, end) for group, (begin, end) in zip(named, bounds, strict=True)]


def read_summary(location: str) -> ResultSummary:
    """Read a result's summary; raises TableError if there is none, or it is damaged or of another format version."""
    path = storage.join(storage.canonical(location), layout.SUMMARY)
    if storage.stat(path) is None:
        message = f"{location}: this is no result folder: it has no {layout.SUMMARY}"
        raise TableError(message)
    document = storage.read_json(path, _DOCUMENT)
    check_format_version(document.get("format_version"), f"{location}: this result has")
    return ResultSummary.from_json(document, path)


def read_provenance(location: str) -> Provenance:
    """Read a result's provenance; raises TableError if it is missing or damaged."""
    folder = storage.canonical(location)
    document = storage.read_json(storage.join(folder, layout.PROVENANCE), _DOCUMENT)
    sources = None
    if is_in_file(document):
        path = storage.join(folder, layout.SOURCES)
        if storage.stat(path) is None:
            message = f"{location}: this result has no {layout.SOURCES}, which records its sources"
            raise TableError(message)
        sources = decode_sources(storage.read_buffer(path), document, f"{location}: {layout.SOURCES} of this result")
    return Provenance.from_json(document, f"{location}: {layout.PROVENANCE} of this result", sources)


def check_format_version(version: Any, beginning: str) -> None:
    """Raise TableError, with a sentence of this beginning, if a format version is not one that is read here."""
    if version not in layout.READ_VERSIONS:
        known = " and ".join(map(str, layout.READ_VERSIONS))
        message = f"{beginning} format version {version}; this version of median_spark reads {known}"
        raise TableError(message)
