"""What an expression table keeps of each cell, compared with its records and with the matrices."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError, counted
from median_spark.verification.cells import Matrix
from median_spark.verification.outcome import Verification
from median_spark.verification.stored import StoredSource

_ATTRIBUTES = 8
"""Attributes of a source that are compared with its matrix."""

Columns = dict[str, list[Any]]


def check_kept(done: Verification, sources: list[StoredSource]) -> None:
    """Compare how many cells and values there are by the files of cells, and by the records."""
    cells = 0
    for source in sources:
        if source.cells is None:
            continue
        place = f"source '{source.name}'"
        tables = [_read(location, ["n_values"]) for location, _ in source.cells]
        held = [rows for _, rows in tables]
        done.check(place, "number of cells in each file", held, [rows for _, rows in source.cells])
        done.check(place, "number of cells that pass", sum(held), source.record["cells_passed"])
        values = sum(int(np.sum(table["n_values"].to_numpy(), dtype=np.int64)) for table, _ in tables)
        done.check(place, "sum of n_values", values, source.record["values"])
        cells += sum(held)
    if cells:
        done.compared.append(f"what is kept of {counted(cells, 'cell')} against the records and the number of values")


def wanted_attributes(record: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """Return the columns of a source that are compared with its matrix; some of the attributes."""
    if record.get("cells_parts") is None:
        return []
    names = [name for name, _ in record["cell_columns"] if name not in ("cell", "n_counts", "n_genes", "n_values")]
    chosen = rng.choice(np.array(names), _ATTRIBUTES, replace=False).tolist() if len(names) > _ATTRIBUTES else names
    return ["cell", "n_counts", *sorted(chosen)]


def matrix_columns(
    matrix: Matrix,
    wanted: list[str],
    ids: npt.NDArray[np.str_],
    n_counts: npt.NDArray[np.float64],
    passed: npt.NDArray[np.bool_],
) -> Columns:
    """Return what a matrix says of the cells that pass, None where it says nothing."""
    columns: Columns = {}
    for name in wanted:
        if name == "cell":
            columns[name] = ids[passed].tolist()
        elif name == "n_counts" and name not in matrix.columns:
            columns[name] = n_counts[passed].tolist()
        else:
            columns[name] = _plain(matrix.column(name).reset_index(drop=True)[passed])
    return columns


def check_columns(done: Verification, source: StoredSource, columns: Columns) -> int:
    """Compare what a matrix says of its cells with what is kept; return how many columns were compared."""
    tables = [_read(location, list(columns))[0] for location, _ in source.cells or []]
    for name, expected in columns.items():
        held = [value for table in tables for value in _plain(pd.Series(table[name].to_pylist(), dtype=object))]
        if held != expected:
            done.differences.append(
                f"source '{source.name}': '{name}' of its cells differs from that in {source.record['input']['path']}"
            )
    return len(columns)


def _plain(series: pd.Series) -> list[Any]:
    missing = series.isna().to_numpy()
    return [None if gap else value for gap, value in zip(missing, series.tolist(), strict=True)]


def _read(location: str, columns: list[str]) -> tuple[pa.Table, int]:
    """Return some columns of a file of cells, and its number of rows."""
    filesystem, path = storage.resolve(location)
    try:
        with storage.with_retries(location, lambda: filesystem.open_input_file(path)) as stream:
            file = pq.ParquetFile(stream, pre_buffer=False)
            return storage.with_retries(location, lambda: file.read(columns, use_threads=False)), file.metadata.num_rows
    except storage.UNREADABLE as error:
        message = f"{location}: this file of cells cannot be read ({error})"
        raise TableError(message) from error
