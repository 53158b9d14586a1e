"""What an expression table keeps of each cell: read ahead, as texts, and chosen by a query."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.errors import listed
from median_spark.expression.cells import read_cells
from median_spark.expression.known_columns import SOURCE
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import ExpressionTable
from median_spark.gene_values import Ints
from median_spark.matrices import CellQuery

_READ_AT_ONCE = 16
_SHOWN = 8


def read_attributes(
    table: ExpressionTable, records: Sequence[SourceRecord], columns: Sequence[str]
) -> Iterator[tuple[SourceRecord, list[tuple[str, pa.Table]]]]:
    """Yield the cells of each source, by part; some sources are read at once, a few of them ahead."""

    def read(record: SourceRecord) -> list[tuple[str, pa.Table]]:
        return [(entry.name, cells) for entry, cells in read_cells(table, record, columns)]

    with ThreadPoolExecutor(_READ_AT_ONCE) as readers:
        for begin in range(0, len(records), _READ_AT_ONCE):
            some = records[begin : begin + _READ_AT_ONCE]
            yield from zip(some, readers.map(read, some), strict=True)


def codes_of(record: SourceRecord, unit: pa.Table, name: str) -> tuple[Ints, list[str | None]]:
    """Return the values of a column as numbers, and the text of each number."""
    if name == SOURCE or name not in unit.column_names:
        return np.zeros(len(unit), dtype=np.int64), [record.source if name == SOURCE else None]
    column = unit[name].combine_chunks()
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "True", "False")
    encoded = as_texts(column).dictionary_encode()
    names: list[str | None] = [*encoded.dictionary.to_pylist(), None]
    return pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False).astype(np.int64), names


def as_texts(column: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Return a column as one array of texts."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.cast(pa.string())


def chosen_by(table: ExpressionTable, record: SourceRecord, unit: pa.Table, query: CellQuery) -> npt.NDArray[np.bool_]:
    """Return for which cells of a unit a query is true."""
    import pandas as pd  # half a second: only who chooses cells waits

    columns: dict[str, pd.Series] = {}
    for name in query.names:
        if name == SOURCE:
            columns[name] = pd.Series([record.source] * len(unit), dtype=object)
            continue
        column = unit[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
        columns[name] = column.to_pandas(types_mapper=nullable.get if column.null_count else None)
    return query.evaluate(table.location, columns)


def described(table: ExpressionTable, records: Sequence[SourceRecord], query: CellQuery | None) -> str:
    """Return what the attributes that a query names hold, for people: their range, or their most frequent values."""
    names = query.names if query is not None else ()
    values: dict[str, Counter[str]] = {name: Counter() for name in names}
    ranges: dict[str, list[float]] = {name: [] for name in names}
    for record, units in read_attributes(table, records, [name for name in names if name != SOURCE]):
        for _, unit in units:
            for name in names:
                kind = unit.schema.field(name).type if name in unit.column_names else pa.string()
                if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                    numbers = unit[name].drop_null().to_numpy()
                    ranges[name] += [float(numbers.min()), float(numbers.max())] if len(numbers) else []
                    continue
                codes, texts = codes_of(record, unit, name)
                for place, cells in enumerate(np.bincount(codes, minlength=len(texts)).tolist()):
                    values[name][texts[place] or "no value"] += cells
    held = {
        name: f"{min(ranges[name]):g} to {max(ranges[name]):g}"
        if ranges[name]
        else listed([text for text, cells in values[name].most_common() if cells], _SHOWN)
        for name in names
    }
    return "; ".join(f"'{name}' holds {text}" for name, text in held.items())
