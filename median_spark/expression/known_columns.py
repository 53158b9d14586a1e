"""Which attributes cells have, by the names in the records of their sources; no cell is read."""

from collections.abc import Mapping, Sequence

from median_spark.errors import TableError, counted, listed
from median_spark.matrices import CellQuery
from median_spark.options import BY, CELLS

SOURCE = "source"
"""The name that stands for the source of a cell wherever attributes of cells are named."""

Columns = Sequence[tuple[str, str]]
"""Names and types of the columns of a source's cells, as its record has them."""


def check_columns(
    location: str,
    columns: Mapping[str, Columns],
    query: CellQuery | None = None,
    by: Sequence[str] = (),
    missing: str = "group",
) -> tuple[str, ...]:
    """Refuse attributes that cells do not have, and return notes on those that only some sources have.

    Parameters
    ----------
    location
        Location of the expression table, for messages.
    columns
        Columns of the cells of each source.
    query, by, missing
        As in `median_spark.expression.group_cells`.

    Raises
    ------
    TableError
        If an attribute is one that no source has or, in a query or with ``missing="fail"``, that one lacks.
    """
    held = {source: {SOURCE, *dict(own)} for source, own in columns.items()}
    every = sorted(set().union(*held.values()))
    names = query.names if query is not None else ()
    unknown = [name for name in dict.fromkeys((*names, *by)) if name not in every]
    if unknown:
        message = f"{location}: no cell has the attribute {listed(unknown)}; there are {listed(every, 40)}"
        raise TableError(message)
    for name in names:
        lacking = [source for source, own in held.items() if name not in own]
        if lacking:
            message = (
                f"{location}: the query of cells names '{name}', which the cells of "
                f"{counted(len(lacking), 'source')} lack ({listed(lacking, 3)}); {lacking[0]} has "
                f"{listed(sorted(held[lacking[0]]), 24)}: take it out of {CELLS:name}, or name the sources to take"
            )
            raise TableError(message)
    notes = []
    for name in by:
        lacking = [source for source, own in held.items() if name not in own]
        if lacking:
            text = f"{counted(len(lacking), 'source')} of {len(held):,} have no '{name}' ({listed(lacking, 3)})"
            if missing == "fail":
                message = f"{location}: {text}: leave it out of {BY:name}, or name the sources to take"
                raise TableError(message)
            notes.append(f"note: {text}: their cells are a group of their own")
    return tuple(notes)
