"""Tables as CSV that a spreadsheet shows and does not compute, and that reads back to the same values.

Spreadsheets take a field that begins with one of ``= + - @``, a tab or a line break for a formula. Such texts, which no
real id is, get an apostrophe in front; so do texts that already look like that, so each field stands for one text.
"""

import csv
import io
import math
import re
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

_FORMULA = "^'*[=+@\\-\\t\\r\\n＝＋－＠]"


def harmless_texts(table: pa.Table) -> pa.Table:
    """Return a table whose texts are safe to open in a spreadsheet; numbers, and ordinary texts, are the same."""
    for place, field in enumerate(table.schema):
        if field.type == pa.string():
            column = table.column(place)
            marked = pc.binary_join_element_wise("'", column, "")
            safe = pc.if_else(pc.match_substring_regex(column, _FORMULA), marked, column)
            table = table.set_column(place, field, safe)
    return table


def original_text(field: str) -> str:
    """Return the text that a field of such a CSV, as a reader returns it, stands for."""
    return field[1:] if field.startswith("'") and re.match(_FORMULA, field) else field


def csv_text(table: pa.Table) -> str:
    """Return a table as CSV with a header.

    Numbers have the fewest digits that read back to the same float64, times are in ISO 8601, nulls and NaN are empty.
    """
    safe, text = harmless_texts(table), io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=_quoting_of(table))
    writer.writerow(table.column_names)
    writer.writerows(zip(*map(_fields, safe.columns), strict=True))
    return text.getvalue()


def _fields(column: pa.ChunkedArray) -> list[Any]:
    """Return what the CSV module turns into the fields of a column."""
    if pa.types.is_timestamp(column.type):
        return ["" if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in column.to_pylist()]
    if pa.types.is_floating(column.type):
        return ["" if number is None or math.isnan(number) else number for number in column.to_pylist()]
    return ["" if field is None else field for field in column.to_pylist()]


def _quoting_of(table: pa.Table) -> Literal[0, 2]:
    """Return how to quote the fields of a table: where needed, or all texts, as Python does not quote a lone CR."""
    texts = [column for column in table.columns if column.type == pa.string()]
    lone = any(pc.any(pc.match_substring(column, "\r")).as_py() for column in texts)
    return csv.QUOTE_NONNUMERIC if lone else csv.QUOTE_MINIMAL
