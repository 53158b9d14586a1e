"""Tables as CSV that a spreadsheet shows and does not compute, and that reads back to the same values.

Spreadsheets take a field that begins with one of ``= + - @``, a tab or a line break for a formula. Such texts, which no
real id is, get an apostrophe in front; so do texts that already look like that, so each field stands for one text.
"""

import csv
import re
from typing import Literal

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


def quoting_of(table: pa.Table) -> Literal[0, 2]:
    """Return how to quote the fields of a table: where needed, or all texts, as Python does not quote a lone CR."""
    texts = [column for column in table.columns if column.type == pa.string()]
    lone = any(pc.any(pc.match_substring(column, "\r")).as_py() for column in texts)
    return csv.QUOTE_NONNUMERIC if lone else csv.QUOTE_MINIMAL
