"""Lists of cells to take: ids from a CSV, TSV or Parquet file, and the sources that they are of where it says so."""

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import InputError, listed
from median_spark.file_kinds import binary_kind

if TYPE_CHECKING:
    import pandas as pd

ID_COLUMNS = (
    "cell", "cell_id", "cellid", "cell_label", "obs_names", "barcode", "barcodes", "cell_barcode", "index", "_index",
    "", "unnamed: 0", "__index_level_0__",
)  # fmt: skip
"""Columns of cell ids in lower case, the first present is taken; R leaves row names without one."""

SOURCE_COLUMN = "source"
"""Name of the column with the source of each cell."""

_SEPARATORS = "\t,;"


@dataclass(frozen=True)
class CellList:
    """Cells to take, each once.

    Attributes
    ----------
    path : str
        Location it was read from.
    ids : pyarrow.StringArray
        Cell ids.
    sources : pyarrow.StringArray or None
        Source of each, where the list says so.
    whole : str
        Fingerprint of the list that this is a part of; empty for a whole list.

    Examples
    --------
    >>> import median_spark
    >>> import pyarrow
    >>> len(median_spark.CellList("cells.csv", pyarrow.array(["AAACCTGA-1", "AAACCTGC-1"])))
    2
    """

    path: str
    ids: pa.StringArray
    sources: pa.StringArray | None = None
    whole: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the content of the whole list: the same for lists of the same cells, in whatever order."""
        if self.whole:
            return self.whole
        rows = self.ids.to_pylist()
        if self.sources is not None:
            rows = [f"{cell}\t{source}" for cell, source in zip(rows, self.sources.to_pylist(), strict=True)]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]

    def of_source(self, name: str) -> "CellList":
        """Return the cells of one source of a list that names sources."""
        return replace(self, ids=self.ids.filter(pc.equal(self.sources, name)), sources=None, whole=self.fingerprint)

    def places(self, cell_ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
        """Return where in the list each cell is, -1 where it is not, shape (cells,)."""
        return np.asarray(self._index.get_indexer(cell_ids.astype(np.object_)), dtype=np.int64)

    @cached_property
    def _index(self) -> "pd.Index":
        """The ids, hashed once for all cells that are looked up."""
        import pandas as pd  # half a second: only who chooses cells waits

        return pd.Index(self.ids.to_numpy(zero_copy_only=False))


def read_cell_list(location: str) -> CellList:
    r"""Read a list of cells from a CSV, TSV or Parquet file; text may be gzipped.

    The column of ids is the first of `ID_COLUMNS` that is there, in any case, or that of R's row names. A column
    ``source`` says which source each cell is of: the source's name, as the table of sources and ``inspect`` show it.

    Parameters
    ----------
    location : str
        Path or URI.

    Raises
    ------
    InputError
        If it cannot be read, has no column of cell ids, or no cell.

    Examples
    --------
    >>> from pathlib import Path
    >>> import median_spark
    >>> _ = Path("cells.csv").write_text("cell_id\nAAACCTGA-1\nAAACCTGC-1\n")
    >>> len(median_spark.read_cell_list("cells.csv"))
    2
    """
    location = storage.canonical(location)
    try:
        content = storage.read_buffer(location)
        table = _parquet(content) if content[:4].to_pybytes() == b"PAR1" else _text(content)
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        message = f"{location}: the list of cells cannot be read ({error})"
        raise InputError(message) from error
    by_name = {name.strip().lower(): name for name in reversed(table.column_names)}
    column = next((by_name[name] for name in ID_COLUMNS if name in by_name), None)
    if column is None:
        message = (
            f"{location}: the list of cells has no column of cell ids: one must be named "
            f"{listed(list(ID_COLUMNS[:4]))} or '{ID_COLUMNS[5]}'; it has {listed(table.column_names, 8)}"
        )
        raise InputError(message)
    wanted = {"cell": column} | ({"source": by_name[SOURCE_COLUMN]} if SOURCE_COLUMN in by_name else {})
    columns = {name: _strings(location, table, held) for name, held in wanted.items()}
    rows = pa.table(columns)
    rows = rows.filter(pc.and_kleene(rows["cell"].is_valid(), pc.not_equal(rows["cell"], "")))
    rows = rows.group_by(list(columns), use_threads=False).aggregate([]).combine_chunks()
    if not len(rows):
        message = f"{location}: the list of cells is empty: its column '{column}' must hold cell ids"
        raise InputError(message)
    plain = {name: pa.concat_arrays(rows[name].chunks) for name in columns}
    return CellList(location, plain["cell"], plain.get("source"))


def _parquet(content: pa.Buffer) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content))
    known = {*ID_COLUMNS, SOURCE_COLUMN}
    names = [name for name in file.schema_arrow.names if name.strip().lower() in known]
    return file.read(columns=names, use_threads=False) if names else file.schema_arrow.empty_table()


def _text(content: pa.Buffer) -> pa.Table:
    """Read a table of text with a header, every field as text."""
    head = _open(content).read(1 << 16)
    kind = binary_kind(head)
    if kind is not None:
        message = f"it is {kind}; the list must be a CSV or TSV, which may be gzipped, or a Parquet file"
        raise ValueError(message)
    first = head.decode("utf-8-sig", errors="replace").splitlines()
    if not first:
        message = "it is empty: it must have a header with the names of its columns"
        raise ValueError(message)
    separator = next((mark for mark in _SEPARATORS if mark in first[0]), ",")
    header, *lines = list(csv.reader(first[:2], delimiter=separator))
    header = [name.strip() for name in header]
    if lines and len(lines[0]) == len(header) + 1:  # the names of R's rows
        header = ["", *header]
    if len(set(header)) < len(header):
        message = f"its header has a name twice: {listed(header, 8)}"
        raise ValueError(message)
    known = {*ID_COLUMNS, SOURCE_COLUMN}
    names = [name for name in header if name.lower() in known]
    return (
        pa_csv.read_csv(
            _open(content),
            read_options=pa_csv.ReadOptions(column_names=header, skip_rows=1),
            parse_options=pa_csv.ParseOptions(delimiter=separator),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=names, strings_can_be_null=False
            ),
        )
        if names
        else pa.table({name: pa.array([], pa.string()) for name in header})
    )


def _open(content: pa.Buffer) -> pa.NativeFile | io.BytesIO:
    reader = pa.BufferReader(content)
    return pa.CompressedInputStream(reader, "gzip") if content[:2].to_pybytes() == b"\x1f\x8b" else reader


def _strings(location: str, table: pa.Table, column: str) -> pa.ChunkedArray:
    values = table[column]
    try:
        return pc.utf8_trim_whitespace(values.cast(pa.string()))
    except pa.ArrowException as error:
        message = f"{location}: the column '{column}' of the list of cells must hold texts; it holds {values.type}"
        raise InputError(message) from error
