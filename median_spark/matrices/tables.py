"""Properties of rows and of cells by name, as formats with named attributes or data frames have them."""

import html
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.errors import InputError, listed
from median_spark.matrices.contract import CountMatrix, Flags, Floats, Numbers, Texts, brief
from median_spark.matrices.options import DEFAULT_NAMES, OPTIONS, REMEDIES, AttributeNames

if TYPE_CHECKING:
    import pandas as pd

STRINGS = "strings"
"""What `Table.kind` calls a column of strings."""

OTHER_TYPE = "column of another type"
"""Kind of the error about a column that has no single text, number or truth value for each row."""

_KEPT_ENTRIES, _KEPT_BYTES = 1 << 16, 4 << 20
"""Entries of a table, and bytes of a column, up to which what was read is kept."""

Values = tuple[Numbers, Flags | None]
"""Some entries of a column, and which of them are missing; None where the format has no missing values."""


def as_strings(values: Numbers, *, unescape: bool = False) -> Texts:
    r"""Return what HDF5 gives for strings or numbers as strings, shape (strings,).

    Bytes that are no UTF-8 are spelled out, as in ``g\xe9``, so that what differs in the file differs here;
    `median_spark.genes.is_no_id` recognises that.
    """
    if values.dtype.kind not in "OS":
        return np.asarray(values).ravel().astype(np.str_)
    texts = _decoded(values.ravel().tolist())
    if unescape:
        texts = [html.unescape(text) for text in texts]
    return np.array(texts, dtype=np.str_) if texts else np.array([], dtype="<U1")


def _decoded(stored: list[Any]) -> list[str]:
    """Decode bytes, all at once if they are UTF-8 in one line each, as ids are."""
    try:
        joined = b"\n".join(stored)
        if joined.count(b"\n") == len(stored) - 1:
            return joined.decode("utf-8").split("\n")
    except (TypeError, UnicodeDecodeError):  # there are texts among them, or bytes that are no UTF-8
        pass
    return [
        text.decode("utf-8", errors="backslashreplace") if isinstance(text, bytes) else str(text) for text in stored
    ]


class Table(Protocol):
    """Columns with an entry for each of `length` `axis` (``"cells"``), read when they are asked for.

    `noun` is what the format calls a column: ``"obs column"``. Whatever cannot be read, or has another number of
    entries, is an InputError.
    """

    location: str
    noun: str
    axis: str
    length: int

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return the entries ``first <= entry < last`` of a column, by default all."""

    def has(self, column: str) -> bool:
        """Say whether there is such a column."""
        return column in self.columns

    def absence(self, column: str) -> str:
        """Return what is wrong where there is no such column: ``"is missing"``."""
        return "is missing"

    def strings(self, column: str, first: int = 0, last: int | None = None) -> Texts:
        """Return some entries of a column as strings, ``""`` where one is missing."""
        values, missing = self.values(column, first, last)
        texts = as_strings(values)
        if missing is not None and missing.any():
            texts[missing] = ""
        return texts

    def numbers(self, column: str, first: int = 0, last: int | None = None) -> Numbers | None:
        """Return some entries of a column of numbers or truth values, NaN where missing; None if it holds others."""
        values, missing = self.values(column, first, last)
        if values.dtype.kind not in "iufb":
            return None
        if missing is not None and missing.any():
            values = values.astype(np.float64)
            values[missing] = np.nan
        return values

    def labels(self, column: str, first: int = 0, last: int | None = None) -> npt.NDArray[np.object_]:
        """Return some strings of a column as objects, None where one is missing."""
        values, missing = self.values(column, first, last)
        texts = as_strings(values).astype(np.object_)
        if missing is not None:
            texts[missing] = None
        return texts

    def series(self, column: str, first: int, last: int) -> "pd.Series":
        """Return some entries of a column for pandas: numbers, truth values, or texts; NaN where one is missing."""
        values, missing = self.values(column, first, last)
        if values.ndim != 1:
            self.refuse(column, f"must have one value for each of the {self.axis}; it has {values.ndim} dimensions")
        if values.dtype.kind not in "iufb":
            values = as_strings(values).astype(np.object_)
        import pandas as pd  # half a second: only who chooses cells waits

        return pd.Series(values if missing is None else np.where(missing, np.nan, values))

    def arrow(self, column: str, first: int, last: int) -> pa.Array:
        """Return some entries of a column for Arrow: texts, int64 (or uint64), double or truth values.

        Texts may be dictionary-encoded. What is missing is null, but NaN of floats without missing values stays.
        InputError, of kind `OTHER_TYPE`, if the column holds something else.
        """
        values, missing = self.values(column, first, last)
        if values.ndim != 1:
            self.refuse(column, f"must have one value for each of the {self.axis}", OTHER_TYPE)
        return arrow_array(values, missing)

    def arrow_type(self, column: str) -> pa.DataType:
        """Return the type that `arrow` gives all entries of a column, of texts that of plain strings."""
        kind = self.arrow(column, 0, min(1, self.length)).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def kind(self, column: str) -> str:
        """Return what a column holds, for messages."""
        values, _ = self.values(column, 0, 1)
        return STRINGS if values.dtype.kind in "OSU" else str(values.dtype)

    def place(self, column: str) -> str:
        """Return what a column is called in messages."""
        return f"{self.noun} '{brief(column)}'"

    def refuse(self, column: str, problem: str, kind: str = "") -> NoReturn:
        """Reject a column; `kind` is that of the error."""
        message = f"{self.location}: {self.place(column)} {problem}"
        raise InputError(message, kind=kind)


def arrow_array(values: Numbers, missing: Flags | None) -> pa.Array:
    """Return entries of a column in the types that `Table.arrow` promises."""
    kind, mask = values.dtype.kind, None if missing is None or not missing.any() else missing
    if kind not in "iufb":
        texts = (values if kind == "U" else as_strings(values)).tolist()
        return pa.array(texts, pa.string(), mask=mask)
    if kind == "f":
        return pa.array(values.astype(np.float64), mask=mask)
    if kind == "b":
        return pa.array(values.astype(np.bool_), mask=mask)
    return pa.array(values.astype(np.uint64 if kind == "u" and values.dtype.itemsize == 8 else np.int64), mask=mask)


class StoredTable(Table, Protocol):
    """A table whose columns are read from a file. Those of a short one are read once, for several ask for them."""

    @cached_property
    def _kept(self) -> dict[str, Values]:
        return {}

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return the entries ``first <= entry < last`` of a column, by default all."""
        if self.length > _KEPT_ENTRIES:
            return self.read_values(column, first, last)
        if column not in self._kept:
            values, missing = self.read_values(column)
            if values.nbytes > _KEPT_BYTES:
                return values[first:last], None if missing is None else missing[first:last]
            self._kept[column] = values, missing
        values, missing = self._kept[column]
        return values[first:last].copy(), None if missing is None else missing[first:last].copy()

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the entries ``first <= entry < last`` of a column, by default all."""


_CELLXGENE_TYPES = ("feature_type", "protein_coding")
"""CELLxGENE's column of gene types, and a type that tells it from 10x's column, which says 'Gene Expression'."""


class TabledMatrix(CountMatrix):
    """A matrix with a table of rows and one of cells, whose columns `AttributeNames` names."""

    _names: AttributeNames
    _rows: Table
    _cells: Table
    _types_of_cellxgene = False
    """Whether the gene types may be under CELLxGENE's name."""

    def gene_types(self) -> Texts | None:
        """Return the gene type of each row, or None if the file has none."""
        name, columns = self._names.gene_type, self._rows.columns
        column, biotype = _CELLXGENE_TYPES
        if self._types_of_cellxgene and name == DEFAULT_NAMES.gene_type not in columns and column in columns:
            types = self._rows.strings(column)
            return types if np.any(types == biotype) else None
        return self._rows.strings(name) if name in columns else None

    def filter_pass(self, first: int = 0, last: int | None = None) -> Numbers:
        """Return the quality filter of some cells: numbers, NaN where missing; or texts, None where missing."""
        name = self._names.filter_pass
        if self._cells.has(name) and self._cells.kind(name) == STRINGS:
            return self._cells.labels(name, first, last)
        return self._numbers("filter_pass", name, first, last)

    def n_counts(self, first: int = 0, last: int | None = None) -> Floats:
        """Return the total counts of some cells over all rows."""
        return self._numbers("n_counts", self._names.n_counts, first, last).astype(np.float64)

    def cell_values(self, name: str, first: int, last: int) -> "pd.Series":
        """Return a column of the cells ``first <= cell < last``."""
        if not self._cells.has(name):
            self._cells.refuse(name, f"{self._cells.absence(name)}; it has {listed(self._cells.columns, 12) or 'none'}")
        return self._cells.series(name, first, last)

    def cell_column(self, name: str, first: int, last: int) -> pa.Array:
        """Return a column of the cells ``first <= cell < last`` as Arrow has it; see `Table.arrow`."""
        return self._cells.arrow(name, first, last)

    def cell_column_type(self, name: str) -> pa.DataType:
        """Return the type of a column of cells; see `Table.arrow_type`."""
        return self._cells.arrow_type(name)

    def attributes(self, side: str) -> list[str]:
        """Return the names of the columns of rows (``"row"``) or of cells (``"cell"``), ascending."""
        return (self._rows if side == "row" else self._cells).columns

    def _strings(
        self, table: Table, field: str, name: str, first: int = 0, last: int | None = None, *, also: str = ""
    ) -> Texts:
        """Return a column of strings that one of `AttributeNames` names; `also` is advice if it is missing."""
        if not table.has(name):
            has = listed(table.columns, 12) or "none"
            table.refuse(name, f"{table.absence(name)}; it has {has}: {REMEDIES[field]}{also}", f"{field} missing")
        return table.strings(name, first, last)

    def _numbers(self, field: str, name: str, first: int, last: int | None) -> Numbers:
        if not self._cells.has(name):
            self._strings(self._cells, field, name)
        numbers = self._cells.numbers(name, first, last)
        if numbers is None:
            kind = self._cells.kind(name)
            self._cells.refuse(
                name, f"must be numeric, not {kind}: name another with {OPTIONS[field]}", f"{field} not numeric"
            )
        return numbers
