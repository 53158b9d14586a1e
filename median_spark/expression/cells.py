"""What an expression table knows of each cell, read unit by unit.

A file of cells has a row for each cell of a unit that passes, in the order of the matrix.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.expression.parts import CellsEntry
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import ExpressionTable, part_location
from median_spark.options import OVERWRITE


def read_cells(
    table: ExpressionTable, record: SourceRecord, columns: Sequence[str]
) -> Iterator[tuple[CellsEntry, pa.Table]]:
    """Yield for each unit of a source its file of cells and some columns of it, of texts as dictionaries.

    Columns that the source lacks are left out. Rows are in the order of the matrix, and the cells of a unit's values
    are the same rows.

    Raises
    ------
    TableError
        If the source was converted by a version that kept no cells, or a file is missing, damaged, or not as the
        source's record says.
    """
    if record.cells_parts is None:
        message = (
            f"{table.location}: source '{record.source}' was converted by a version that kept no cells: convert it "
            f"again, with {OVERWRITE}"
        )
        raise TableError(message)
    kinds = dict(record.cell_columns)
    wanted = [name for name in dict.fromkeys(columns) if name in kinds]
    texts = [name for name in wanted if kinds[name] == "string"]
    for entry in record.cells_parts:
        location = part_location(table.cells, record.source, entry.name)
        yield entry, _read(location, entry, wanted, texts, kinds)


def _read(location: str, entry: CellsEntry, wanted: list[str], texts: list[str], kinds: dict[str, str]) -> pa.Table:
    try:
        with pq.ParquetFile(pa.BufferReader(storage.read_buffer(location)), read_dictionary=texts) as file:
            rows = file.metadata.num_rows
            held = {field.name: str(getattr(field.type, "value_type", field.type)) for field in file.schema_arrow}
            missing = [name for name in wanted if held.get(name, "") != kinds[name]]
            read = file.read(wanted, use_threads=False) if not missing else None
    except FileNotFoundError as error:
        message = f"{location}: this file is listed by its source's record but not there: convert the source again"
        raise TableError(message) from error
    except storage.UNREADABLE as error:
        message = f"{location}: this file cannot be read ({error}): convert its source again"
        raise TableError(message) from error
    if read is None:
        message = (
            f"{location}: column '{missing[0]}' is not {kinds[missing[0]]}, as its source's record says: convert the "
            "source again"
        )
        raise TableError(message)
    if rows != entry.rows:
        message = (
            f"{location}: this file has {rows:,} rows where its source's record says {entry.rows:,}: convert the "
            "source again"
        )
        raise TableError(message)
    return read
