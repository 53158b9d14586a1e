"""Which cells of a matrix pass its filter, and what the filter holds where none does."""

import math
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from median_spark.errors import InputError, counted, listed
from median_spark.guard import beat
from median_spark.matrices.chosen_cells import describe_query, listed_example, listed_places, queried_cells
from median_spark.matrices.contract import CountMatrix, Flags, Numbers
from median_spark.matrices.options import OPTIONS, ReadOptions
from median_spark.options import CELL_ID_ATTR, CELLS, FILTER_VALUE, NO_CELL_FILTER

_AT_ONCE = 1 << 20
"""Cells whose filter, or total, is read at once."""

_EXAMPLES = 3
_SHOWN = 8
_LONGEST = 40
_TRUTH = {"true": 1, "false": 0}


def passing_cells(matrix: CountMatrix, options: ReadOptions, first: int = 0, last: int | None = None) -> Flags:
    """Return which of the cells ``first <= cell < last`` are taken, by default of all, shape (last - first,).

    InputError if the filter is missing or damaged, or holds texts and the options do not say which of them pass, or if
    the query of cells names what the matrix lacks or cannot be evaluated.
    """
    last = matrix.shape[1] if last is None else last
    passed = np.ones(last - first, dtype=np.bool_)
    if options.cell_filter:
        for begin, end in ranges_of_cells(first, last):
            passed[begin - first : end - first] = _passing_filter(matrix, options, begin, end)
    if options.cells is not None:
        passed &= queried_cells(matrix, options.cells, first, last)
    if options.cell_list is not None:
        passed &= listed_places(matrix, options.cell_list, first, last) >= 0
    return passed


def ranges_of_cells(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut a range of cells, also an empty one, into ranges whose attributes fit memory."""
    for begin in range(first, max(last, first + 1), _AT_ONCE):
        beat()
        yield begin, min(begin + _AT_ONCE, last)


def _passing_filter(matrix: CountMatrix, options: ReadOptions, first: int, last: int) -> Flags:
    values = matrix.filter_pass(first, last)
    if _textual(values) and not options.filter_values and filter_values(values):
        message = (
            f"{matrix.location}: {_name(matrix, options)} holds texts and not 1 for the cells that pass: "
            f"{describe_filter(matrix.filter_pass())}: choose among them with {FILTER_VALUE}, or name another with "
            f"{OPTIONS['filter_pass']}"
        )
        raise InputError(message, kind="filter of texts")
    passed = np.zeros(len(values), dtype=np.bool_)
    for value in options.filter_values or ("1",):
        passed |= np.asarray(values == value, dtype=np.bool_) if _textual(values) else _equal_number(values, value)
    return passed


def require_passing(matrix: CountMatrix, options: ReadOptions, passed: Flags) -> None:
    """Reject a matrix of which no cell is taken, naming the values of its filter; `passed` is from `passing_cells`."""
    if passed.any():
        return
    if not len(passed):
        message = f"{matrix.location}: the matrix has no cell"
        raise InputError(message, kind="no cell")
    if options.cells is not None:
        message = (
            f"{matrix.location}: the query of cells chooses none of its {counted(len(passed), 'cell')}"
            f"{'' if options.cell_list is None else ' that are in the list'}: "
            f"{describe_query(matrix, options.cells)}: change {CELLS}"
        )
        raise InputError(message, kind="no cell chosen")
    if options.cell_list is not None:
        message = (
            f"{matrix.location}: none of its {counted(len(passed), 'cell')} is in the list of cells "
            f"{options.cell_list.path} ({counted(len(options.cell_list), 'id')} that could be of this source"
            f"{listed_example(options.cell_list)}); its cells are such as "
            f"{listed(matrix.cell_ids(0, min(_EXAMPLES, len(passed))).tolist(), _EXAMPLES)}: name other ids with "
            f"{CELL_ID_ATTR}, or leave this source out of the inputs"
        )
        raise InputError(message, kind="no cell listed")
    wanted = " or ".join(shown(value) for value in sorted(set(options.filter_values))) or "1"
    message = (
        f"{matrix.location}: none of its {counted(len(passed), 'cell')} passes: {_name(matrix, options)} is never "
        f"{wanted}; it holds {describe_filter(matrix.filter_pass())}: choose among these with {FILTER_VALUE}, name "
        f"another with {OPTIONS['filter_pass']}, or take every cell with {NO_CELL_FILTER}"
    )
    raise InputError(message, kind="no cell passes")


def describe_filter(values: Numbers) -> str:
    """Return the values of a filter and how many cells have each, the most frequent ones, for people."""
    counts = filter_values(values)
    held = [f"{shown(value)} ({counted(cells, 'cell')})" for value, cells in counts[:_SHOWN]]
    if len(counts) > _SHOWN:
        held.append(f"{len(counts) - _SHOWN:,} more")
    missing = len(values) - sum(cells for _, cells in counts)
    if missing:
        held.append(f"no value ({counted(missing, 'cell')})")
    return ", ".join(held)


def filter_values(values: Numbers) -> list[tuple[Any, int]]:
    """Return the distinct values of a filter but for missing ones, and the cells of each, the most frequent first."""
    if _textual(values):
        counts = Counter(values.tolist())
        counts.pop(None, None)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    distinct, cells = np.unique(present, return_counts=True)
    order = np.argsort(-cells, kind="stable")
    return list(zip(distinct[order], cells[order].tolist(), strict=True))


def shown(value: Any) -> str:
    """Return a value as people would write it: a text quoted, and cut if it is long."""
    if not isinstance(value, str):
        return str(value)
    return repr(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…")


def _name(matrix: CountMatrix, options: ReadOptions) -> str:
    return f"{matrix.cell_attribute} '{options.names.filter_pass}'"


def _textual(values: Numbers) -> bool:
    return values.dtype.kind in "OU"


def _equal_number(values: Numbers, value: str) -> Flags:
    """Return which numbers or truth values are what a text says, in the precision that they are stored in."""
    number = _number(value)
    if number is None:  # another file's filter may hold such a text
        return np.zeros(len(values), dtype=np.bool_)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(values == values.dtype.type(number), dtype=np.bool_)
    if not isinstance(number, int):
        return np.zeros(len(values), dtype=np.bool_)
    numbers = values.astype(np.uint8) if values.dtype.kind == "b" else values  # NumPy compares no bool with a huge int
    return np.asarray(numbers == number, dtype=np.bool_)


def _number(text: str) -> int | float | None:
    """Return the number that a text says, an int wherever it is whole, or None; also where no file can hold it."""
    if text.strip().lower() in _TRUTH:
        return _TRUTH[text.strip().lower()]
    try:
        whole = int(text)
    except ValueError:
        pass
    else:
        return whole if abs(whole) <= sys.float_info.max else None
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number.is_integer() else number
