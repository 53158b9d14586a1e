"""Opening the folder of an expression table, making it, and rejecting one that is something else."""

import json
from collections.abc import Sequence

from median_spark import storage
from median_spark.errors import OutputError, TableError, listed
from median_spark.expression.records import FORMAT_VERSION, check_format_version
from median_spark.expression.table import FOLDERS, ExpressionTable

_MARKER = "format.json"


def check_target(location: str) -> None:
    """Refuse a folder that cannot become, or is not, an expression table; writes nothing.

    Raises `OutputError` for a file, a folder with other content, and links in place of the table's folders;
    `TableError` for a table of another format version.
    """
    table = ExpressionTable(storage.canonical(location))
    if storage.kind(table.location) == "file":
        message = f"{table.location}: this is a file; an expression table needs a folder"
        raise OutputError(message)
    names = set(storage.names_in(table.location))
    if _MARKER in names:
        _check_marker(table)
        _check_folders(table)
    elif names - {"lock"}:
        message = (
            f"{table.location}: this folder contains files other than those of an expression table "
            f"({listed(sorted(names), 3)}): choose an empty or new one"
        )
        raise OutputError(message)


def _check_folders(table: ExpressionTable) -> None:
    """Refuse links in place of the table's folders, because leftovers in these are deleted."""
    for name in FOLDERS:
        location = storage.join(table.location, name)
        if storage.is_link(location):
            message = (
                f"{location}: this folder of an expression table is a symbolic link, and files in it would be deleted "
                "elsewhere: put the folder itself here, or convert to another folder"
            )
            raise OutputError(message)


def create_table(location: str) -> ExpressionTable:
    """Open an expression table for writing; make it if the folder is empty or missing. Raises as `check_target`."""
    check_target(location)
    table = ExpressionTable(storage.canonical(location))
    marker = storage.join(table.location, _MARKER)
    if storage.stat(marker) is None or _version(table) < FORMAT_VERSION:
        _mark(table)
    return table


def _mark(table: ExpressionTable) -> None:
    """Write the format version; into an older table before anything else, so that older software does not misread."""
    marker = storage.join(table.location, _MARKER)
    storage.write_json(marker, {"expression_table": True, "format_version": FORMAT_VERSION})


def open_table(location: str) -> ExpressionTable:
    """Open an expression table for reading; raise `TableError` if there is none or it has another format version."""
    table = ExpressionTable(storage.canonical(location))
    names = storage.names_in(table.location)
    if _MARKER not in names:
        inner = storage.join(table.location, "expression")
        hint = f"; did you mean {inner}?" if "expression" in names else ""
        content = f"it holds {listed(names, 3)}" if names else "there is no such folder, or it is empty"
        message = f"{table.location}: this is no expression table as 'median-spark convert' writes it ({content}){hint}"
        raise TableError(message)
    _check_marker(table)
    return table


def _check_marker(table: ExpressionTable) -> None:
    check_format_version(table.location, _version(table))


def _version(table: ExpressionTable) -> int:
    location = storage.join(table.location, _MARKER)
    try:
        return int(json.loads(storage.read_bytes(location))["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"{location}: this file is damaged ({error})"
        raise TableError(message) from error


def remove_sources(location: str, sources: Sequence[str]) -> None:
    """Take sources out of an expression table.

    Parameters
    ----------
    location : str
        Path or URI of the table.
    sources : sequence of str
        Names of the sources.

    Raises
    ------
    OutputError
        If a folder of the table is a link.
    TableError
        If there is no such table, or it has no such source; then nothing is removed.
    BusyError
        If another run is writing to the table.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.remove_sources("result/expression", ["database1/data/study1"])
    """
    table = open_table(location)
    _check_folders(table)
    with storage.locked(table.location, "median-spark remove") as lease:
        lease.require()
        if _version(table) < FORMAT_VERSION:
            _mark(table)
        table.remove(sources)
