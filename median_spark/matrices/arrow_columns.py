"""Columns of Arrow tables as NumPy arrays, and tables of attributes that are made of them."""

from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.matrices.contract import Numbers
from median_spark.matrices.tables import OTHER_TYPE, Table, Values

READABLE = "numbers, truth values, strings, and dictionaries of these"
"""What a column may hold, for messages."""


def is_readable(kind: pa.DataType) -> bool:
    """Say whether a column of a type can be an attribute."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or _is_text(kind)
        or pa.types.is_null(kind)
    )


def array_values(column: pa.ChunkedArray) -> Values:
    """Return a column of a readable type as numbers, truth values or objects, and which entries are missing.

    Raises ArrowInvalid if a code is beyond its dictionary.
    """
    missing = np.asarray(column.is_null()) if column.null_count else None
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan), None
    if pa.types.is_dictionary(column.type):
        whole = column.unify_dictionaries().combine_chunks()
        if isinstance(whole, pa.ChunkedArray):  # no chunk at all
            whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], column.type)
        whole.validate(full=True)  # codes beyond the dictionary would give other values, or none
        values, _ = array_values(pa.chunked_array([whole.dictionary]))
        if not len(values):
            return np.full(len(column), "", dtype=object), missing
        return values[_plain(whole.indices)], missing
    return _plain(column), missing


def _plain(column: Any) -> Numbers:
    """Return an array without its missing values: 0, False or an empty string is in their place."""
    if _is_text(column.type):
        return np.asarray(column.fill_null("").to_numpy(zero_copy_only=False), dtype=object)
    if column.null_count:
        column = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


class ArrowTable(Table):
    """A table of attributes that is in memory as a whole."""

    def __init__(self, location: str, table: pa.Table, noun: str, axis: str) -> None:
        self.location, self.noun, self.axis, self.length = location, noun, axis, len(table)
        self._table = table

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return sorted(self._table.column_names)

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return some entries of a column."""
        held = self._table.column(column)
        self.require_readable(column, held.type)
        return array_values(held.slice(first, (self.length if last is None else last) - first))

    def require_readable(self, column: str, kind: pa.DataType) -> None:
        """Reject a column whose type cannot be an attribute."""
        if not is_readable(kind):
            self.refuse(column, f"holds {kind}; columns can be read that hold {READABLE}", OTHER_TYPE)
