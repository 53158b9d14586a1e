"""The cells of a matrix that a query or a list chooses, some at a time, and what these hold where they choose none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from median_spark.errors import InputError, counted, listed
from median_spark.guard import beat
from median_spark.matrices.cell_list import CellList
from median_spark.matrices.cell_query import CellQuery
from median_spark.matrices.contract import CountMatrix, Flags, Ints, brief
from median_spark.matrices.options import ReadOptions
from median_spark.options import CELLS

if TYPE_CHECKING:
    import pandas as pd

CELLS_AT_ONCE = 1 << 16
"""Cells whose attributes are held at once."""

COMPUTED = ("n_counts", "n_genes")
"""What is computed from the matrix where a query names it and there is no such attribute: total, detected rows."""

_INDEX = "index"
_SHOWN = 8
_MOST_VALUES = 10_000


def queried_cells(matrix: CountMatrix, query: CellQuery, first: int, last: int) -> Flags:
    """Return for which of the cells ``first <= cell < last`` a query is true.

    InputError if it names an attribute that the matrix lacks, or cannot be evaluated.
    """
    chosen = np.zeros(last - first, dtype=np.bool_)
    for begin, end, columns in _columns(matrix, query, first, last):
        chosen[begin - first : end - first] = query.evaluate(matrix.location, columns)
    return chosen


def describe_query(matrix: CountMatrix, query: CellQuery) -> str:
    """Return what the attributes that a query names hold, for people: their range, or their most frequent values."""
    import pandas as pd  # half a second: only who chooses cells waits

    values: dict[str, Counter[object]] = {name: Counter() for name in query.names}
    ranges: dict[str, list[float]] = {name: [] for name in query.names}
    for _, _, columns in _columns(matrix, query, 0, matrix.shape[1]):
        for name, column in columns.items():
            present = column.dropna()
            if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
                ranges[name] += [float(present.min()), float(present.max())] if len(present) else []
            elif len(values[name]) < _MOST_VALUES:
                values[name].update(present.tolist())
    return "; ".join(f"'{brief(name)}' holds {_held(values[name], ranges[name])}" for name in query.names)


def listed_places(matrix: CountMatrix, cells: CellList, first: int, last: int) -> Ints:
    """Return where in a list each of the cells ``first <= cell < last`` is, -1 where it is not."""
    places = [
        cells.places(matrix.cell_ids(begin, min(begin + CELLS_AT_ONCE, last)))
        for begin in range(first, last, CELLS_AT_ONCE)
    ]
    return np.concatenate(places) if places else np.zeros(0, dtype=np.int64)


def listed_in(matrix: CountMatrix, cells: CellList) -> Ints:
    """Return the places in a list of the cells that a matrix has, ascending, each once."""
    places = listed_places(matrix, cells, 0, matrix.shape[1])
    return np.unique(places[places >= 0])


def listed_example(cells: CellList) -> str:
    """Return a few ids of a list, for a message."""
    return f", such as {listed(cells.ids[:3].to_pylist(), 3)}" if len(cells) else ""


def of_location(location: str, options: ReadOptions) -> ReadOptions:
    """Return the options for a file of which only the location is known: its source's name ends the location."""
    if options.cell_list is None or options.cell_list.sources is None:
        return options
    stem = location.rsplit(".", 1)[0]
    names = [name for name in options.cell_list.sources.unique().to_pylist() if f"/{stem}".endswith(f"/{name}")]
    if len(names) > 1:
        message = f"{location}: the list of cells names several sources that could be this file: {listed(names)}"
        raise InputError(message)
    return options.of_source(names[0]) if names else replace(options, cell_list=options.cell_list.of_source(""))


def _columns(
    matrix: CountMatrix, query: CellQuery, first: int, last: int
) -> Iterator[tuple[int, int, "dict[str, pd.Series]"]]:
    """Yield what a query names, for some cells at a time."""
    held = matrix.attributes("cell")
    missing = [name for name in query.names if name not in {*held, *COMPUTED, _INDEX}]
    if missing:
        message = (
            f"{matrix.location}: the query of cells names {listed(missing)}, which its cells lack; they have "
            f"{listed(held, 24) or 'no attributes'}; {' and '.join(COMPUTED)} are computed where they are missing: "
            f"use these in {CELLS}"
        )
        raise InputError(message, kind="query names what is missing")
    for begin in range(first, last, CELLS_AT_ONCE):
        beat()
        end = min(begin + CELLS_AT_ONCE, last)
        yield begin, end, {name: _column(matrix, name, held, begin, end) for name in query.names}


def _column(matrix: CountMatrix, name: str, held: list[str], first: int, last: int) -> "pd.Series":
    import pandas as pd  # half a second: only who chooses cells waits

    if name in held:
        return matrix.cell_values(name, first, last)
    if name == _INDEX:
        return pd.Series(matrix.cell_ids(first, last).astype(np.object_))
    return pd.Series(matrix.cell_totals(first, last) if name == "n_counts" else matrix.detected_genes(first, last))


def _held(values: "Counter[object]", bounds: list[float]) -> str:
    if bounds:
        return f"{min(bounds):,g} to {max(bounds):,g}"
    if not values:
        return "no value"
    shown = [f"{brief(repr(value))} ({counted(cells, 'cell')})" for value, cells in values.most_common(_SHOWN)]
    more = len(values) - _SHOWN
    return ", ".join(shown) + (f", {more:,}{'' if len(values) < _MOST_VALUES else ' or'} more" if more > 0 else "")
