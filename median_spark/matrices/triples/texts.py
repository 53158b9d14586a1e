"""Lists of genes and cells as text, one line each, held in memory as a table of columns."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from median_spark.errors import InputError, counted
from median_spark.matrices.contract import Numbers, Texts
from median_spark.matrices.tables import Table, Values, as_strings
from median_spark.matrices.triples.files import open_text

_MOST_BYTES = 1 << 30
"""Bytes of text that a list may have; a raw matrix of Cell Ranger lists 7 million barcodes in 130 MB."""

_BLOCK_BYTES = 1 << 20

_MISSING = ("", "NA", "NaN", "nan")
"""Texts for a missing number."""

_TENX_COLUMNS = ("id", "name", "feature_type")


class TextTable(Table):
    """Columns of a file of text; those whose entries are all numbers are numbers."""

    def __init__(self, location: str, noun: str, axis: str, columns: dict[str, pa.ChunkedArray], length: int) -> None:
        self.location, self.noun, self.axis, self.length = location, noun, axis, length
        self._texts = columns
        self._converted: dict[str, pa.ChunkedArray] = {}

    @property
    def first(self) -> str:
        """Return the name of the column that the file begins with."""
        return next(iter(self._texts), "")

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return sorted(self._texts)

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return the entries ``first <= entry < last`` of a column, by default all."""
        first, last, _ = slice(first, last).indices(self.length)
        held = self._find(column).slice(first, max(0, last - first))
        if not pa.types.is_binary(held.type):
            missing = np.asarray(held.is_null())
            filled = held.fill_null(0) if held.null_count else held
            return np.asarray(filled.to_numpy()), missing if missing.any() else None
        texts = np.empty(len(held), dtype=object)
        texts[:] = held.to_pylist()
        return texts, None

    def strings(self, column: str, first: int = 0, last: int | None = None) -> Texts:
        """Return some entries of a column as they are written."""
        first, last, _ = slice(first, last).indices(self.length)
        texts = np.empty(max(0, last - first), dtype=object)
        texts[:] = self._texts[column].slice(first, len(texts)).to_pylist()
        return as_strings(texts)

    def kept(self, chosen: Numbers) -> "TextTable":
        """Return the table of some of its entries."""
        columns = {name: column.filter(pa.array(chosen)) for name, column in self._texts.items()}
        return TextTable(self.location, self.noun, self.axis, columns, int(np.count_nonzero(chosen)))

    def _find(self, column: str) -> pa.ChunkedArray:
        if column not in self._converted:
            self._converted[column] = _as_numbers(self._texts[column])
        return self._converted[column]


def read_tenx_list(location: str, noun: str, axis: str, *, named: tuple[str, ...] = _TENX_COLUMNS) -> TextTable:
    """Read lines of fields that tabs separate, without a header; further fields are called ``column4`` and so on."""
    options = csv.ReadOptions(use_threads=False, autogenerate_column_names=True)
    table = _read(location, options, csv.ParseOptions(delimiter="\t", quote_char=False))
    names = [*named, *(f"column{number + 1}" for number in range(len(named), table.num_columns))]
    columns = dict(zip(names[: table.num_columns], table.columns, strict=True))
    return TextTable(location, noun, axis, columns, table.num_rows)


def read_csv_list(location: str, noun: str, axis: str) -> TextTable:
    """Read a CSV with a header; of columns that have the same name, the first is taken."""
    table = _read(location, csv.ReadOptions(use_threads=False), csv.ParseOptions())
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        columns.setdefault(name or "index", column)
    return TextTable(location, noun, axis, columns, table.num_rows)


def _read(location: str, reading: csv.ReadOptions, parsing: csv.ParseOptions) -> pa.Table:
    """Read a file whose columns are all bytes."""
    with open_text(location) as stream:
        content = bytearray()
        while block := stream.read(_BLOCK_BYTES):
            content += block
            if len(content) > _MOST_BYTES:
                message = f"{location}: this list has more than {_MOST_BYTES:,} bytes of text; the file is damaged"
                raise InputError(message)
    if not content.strip():
        return pa.table({})
    converting = csv.ConvertOptions(check_utf8=False, strings_can_be_null=False, null_values=[])
    try:
        # The types are those of the first block otherwise, which may be too narrow for the next.
        names = csv.open_csv(pa.BufferReader(content), reading, parsing, converting).schema.names
        converting.column_types = {name: pa.binary() for name in names}
        return csv.read_csv(pa.BufferReader(content), reading, parsing, converting)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        message = f"{location}: this list cannot be read ({str(error).splitlines()[0]})"
        raise InputError(message) from error


def _as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as whole numbers, numbers or truth values if all of its entries are such, else as it is."""
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8
        return column
    missing = pc.is_in(texts, value_set=pa.array(_MISSING))
    texts = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    if texts.null_count == len(texts):
        return column
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def require_length(table: TextTable, wanted: int, matrix: str) -> None:
    """Reject a list that has another length than the matrix."""
    if table.length == wanted:
        return
    header = ", as if its first line were a header" if table.length == wanted + 1 else ""
    message = (
        f"{table.location}: it lists {counted(table.length, table.axis.removesuffix('s'))}, where the header of "
        f"{matrix.rsplit('/', 1)[-1]} declares {wanted:,}{header}"
    )
    raise InputError(message)
