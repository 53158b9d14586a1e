"""Parquet parts of the expression table: gene values in, gene values out, one row group at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from sys import intern
from typing import Any, Self
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.expression.cell_groups import CellGroups
from median_spark.gene_values import GeneValues, Ints, Names


def _schema(text: pa.DataType) -> pa.Schema:
    columns = {"gene": text, "cell": text, "value": pa.float64()}
    return pa.schema([pa.field(name, kind, False) for name, kind in columns.items()])


VALUES_SCHEMA = _schema(pa.string())
"""What any engine sees in a part; ``source`` comes from the folder's name."""

_STORED_SCHEMA = _schema(pa.dictionary(pa.int32(), pa.string()))
"""The same for the Parquet writer: each row group has its own small dictionary, not that of the whole part."""

GENE_VALUE_COLUMNS = ("gene", "value")
"""All that the medians need."""


ROW_GROUP_ROWS = 500_000
"""Rows per row group, cut at gene boundaries: a sweep holds one row group of every part. Half as many rows would cost
10 % more bytes, because each row group has its own dictionaries."""

_MOST_MOVED = 0.2
"""By how much of their rows row groups may be larger or smaller at each end, so that cuts of many parts coincide."""

_DICTIONARY_BYTES = 8 << 20
"""Limit of a column chunk's dictionary, above which Parquet falls back to plain values. Normalised counts repeat: one
of a few counts over one of some thousands of totals, so that their dictionary is small and halves the file."""

_BATCH_ROWS = 1 << 14
"""Rows that Arrow encodes at once: the same bytes as with its default, 1,024, in five sixths of the time, because
statistics of genes are taken for each batch."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a part: its number of rows, its first and its last gene."""

    rows: int
    gene_min: str
    gene_max: str


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One Parquet file of a source."""

    name: str  # within the source's folder
    size: int  # in bytes
    row_groups: tuple[RowGroup, ...]  # in the order of the file

    @property
    def rows(self) -> int:
        """Rows of all row groups."""
        return sum(group.rows for group in self.row_groups)

    def as_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON."""
        groups = [[group.rows, group.gene_min, group.gene_max] for group in self.row_groups]
        return {"name": self.name, "size": self.size, "row_groups": groups}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Return the entry that `as_json` wrote."""
        # Genes are the same in many parts: each name is held once.
        groups = (RowGroup(rows, intern(least), intern(most)) for rows, least, most in entry["row_groups"])
        return cls(entry["name"], entry["size"], tuple(groups))


@dataclass(frozen=True, slots=True)
class CellsEntry:
    """One Parquet file of a source with what is known of the cells of a unit that pass."""

    name: str  # within the source's folder
    size: int  # in bytes
    rows: int  # cells

    def as_json(self) -> list[str | int]:
        """Return the entry as plain JSON."""
        return [self.name, self.size, self.rows]

    @classmethod
    def from_json(cls, entry: list[Any]) -> Self:
        """Return the entry that `as_json` wrote."""
        name, size, rows = entry
        return cls(name, size, rows)


def write_part(
    location: str,
    values: GeneValues,
    cell_ids: Names | pa.Array,
    row_group_rows: int = ROW_GROUP_ROWS,
    *,
    durable: bool = True,
) -> PartEntry:
    """Write values as one Parquet file that appears whole or not at all.

    The values have cells, at least one value is there, and `cell_ids` has the id of each cell, shape (cells,); they
    are the dictionary of the column ``cell`` in every row group, in this order if each id is there once. Without
    `durable` the caller syncs the file, see `storage.sync_files`.
    """
    values = values.detected()
    if values.cells is None or not len(values.values):
        message = "a part needs gene values with cells, and at least one value"
        raise ValueError(message)
    ids = cell_ids if isinstance(cell_ids, pa.Array) else pa.array(cell_ids.tolist(), pa.string())
    groups = []
    with storage.atomic_write(location, durable=durable) as sink:
        with pq.ParquetWriter(
            sink,
            _STORED_SCHEMA,
            compression="snappy",  # read and written 50 % faster than zstd, for 3 % more bytes
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_batch_size=_BATCH_ROWS,
            store_schema=False,  # so that every reader sees plain strings, not Arrow dictionaries
            write_statistics=["gene"],
        ) as writer:
            for first, last in cut_at_genes(values.offsets, row_group_rows, values.genes):
                rows = slice(values.offsets[first], values.offsets[last])
                gene_of_row = np.repeat(np.arange(last - first, dtype=np.int32), values.lengths[first:last])
                genes = pa.array(values.genes[first:last].tolist(), pa.string())
                columns = [
                    pa.DictionaryArray.from_arrays(pa.array(gene_of_row), genes),
                    pa.DictionaryArray.from_arrays(pa.array(values.cells[rows]), ids),
                    pa.array(values.values[rows]),
                ]
                table = pa.Table.from_arrays(columns, schema=_STORED_SCHEMA)
                writer.write_table(table, row_group_size=len(table))
                groups.append(RowGroup(len(table), str(values.genes[first]), str(values.genes[last - 1])))
        size = sink.tell()
    return PartEntry(location.rsplit("/", 1)[1], size, tuple(groups))


def write_cells(location: str, cells: pa.Table, *, durable: bool = True) -> CellsEntry:
    """Write what is known of the cells of a unit as one Parquet file that appears whole or not at all.

    Without `durable` the caller syncs the file, see `storage.sync_files`.
    """
    others = [name for name in cells.schema.names if name != "cell"]  # ids repeat nothing: no dictionary helps
    with storage.atomic_write(location, durable=durable) as sink:
        pq.write_table(cells, sink, compression="snappy", use_dictionary=others, store_schema=False)
        size = sink.tell()
    return CellsEntry(location.rsplit("/", 1)[1], size, len(cells))


def cut_at_genes(offsets: Ints, rows: int, genes: Names | None = None) -> Iterator[tuple[int, int]]:
    """Cut genes into consecutive ranges of about `rows` values; yield the first gene and the one after the last.

    A gene is never cut, and ranges without a value are left out. `offsets` is that of `GeneValues`. With the names of
    `genes`, each cut is moved a little, to where other parts are likely to be cut, too: to the gene whose name has the
    least checksum of those that are near. A sweep that begins there reads nothing in vain.
    """
    total = int(offsets[-1])
    ranges = max(1, round(total / rows))
    exact = np.linspace(0, total, ranges + 1)
    edges = np.searchsorted(offsets, exact)
    edges[-1] = len(offsets) - 1
    if genes is not None:
        most = _MOST_MOVED * total / ranges
        near = np.searchsorted(offsets, [exact[1:-1] - most, exact[1:-1] + most]).T
        for edge, (begin, end) in enumerate(near.tolist(), start=1):
            if end > begin:
                edges[edge] = begin + np.argmin([crc32(name.encode()) for name in genes[begin:end].tolist()])
    for first, last in pairwise(np.unique(edges).tolist()):
        if offsets[last] > offsets[first]:
            yield first, last


class PartReader(contextlib.AbstractContextManager["PartReader"]):
    """One part, open for reading its genes and values, and the groups of their cells if these are given.

    Raises `TableError` if the part is missing or damaged, and `StorageError` if a store does not answer, here and at
    every read.
    """

    def __init__(self, location: str, groups: CellGroups | None = None) -> None:
        self.location = location
        self._groups = groups
        self._columns = [*GENE_VALUE_COLUMNS] if groups is None else [*GENE_VALUE_COLUMNS, "cell"]
        self._types = [_STORED_SCHEMA.field(name).type for name in self._columns]
        filesystem, path = storage.resolve(location)
        with self._naming_damage():
            self._stream = storage.with_retries(location, lambda: filesystem.open_input_file(path))
            try:
                self._part = storage.with_retries(
                    location,
                    lambda: pq.ParquetFile(self._stream, read_dictionary=["gene", "cell"], pre_buffer=True),
                )
            except BaseException:
                self._stream.close()
                raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; once is enough."""
        self._part.close()
        self._stream.close()

    def read(self, row_group: int, expected_rows: int) -> GeneValues:
        """Read the genes and values of a row group, which has `expected_rows` by the source's record; without cells.

        If groups were given, the values have groups, and those of cells in none of them are left out.
        """
        with self._naming_damage():
            table = storage.with_retries(
                self.location,
                lambda: self._part.read_row_group(row_group, columns=self._columns, use_threads=False),
            )
        if [table.schema.field(name).type for name in self._columns] != self._types:
            message = (
                f"{self.location}: this part is not gene: string, cell: string, value: double: convert its source again"
            )
            raise TableError(message)
        if len(table) != expected_rows:
            message = (
                f"{self.location}: row group {row_group} has {len(table):,} rows where the source's record says "
                f"{expected_rows:,}: convert the source again"
            )
            raise TableError(message)
        # Arrow may return a row group in several chunks; one chunk is not copied.
        columns = table.unify_dictionaries().combine_chunks()
        values = _values_of(self.location, columns["gene"].chunk(0), columns["value"].chunk(0))
        if self._groups is None:
            return values
        cells = columns["cell"].chunk(0)
        if cells.null_count:
            message = f"{self.location}: a value has no cell; convert the source again"
            raise TableError(message)
        groups = self._groups.of(self.location, cells.dictionary)
        return _in_groups(values, cells.indices.to_numpy(zero_copy_only=False), groups)

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            message = (
                f"{self.location}: this part is listed by its source's record but not there: convert the source again"
            )
            raise TableError(message) from error
        except (*storage.UNREADABLE, IndexError, KeyError) as error:
            message = f"{self.location}: this part cannot be read ({error}): convert its source again"
            raise TableError(message) from error


def _in_groups(values: GeneValues, cells: npt.NDArray[np.int32], groups: npt.NDArray[np.int32]) -> GeneValues:
    """Return the values of cells that have a group, which is not below 0."""
    from median_spark.expression.loops import take_groups  # numba takes half a second: only who groups waits

    taken, of_value = np.empty_like(values.values), np.empty(len(values.values), dtype=np.int32)
    ends = np.empty(len(values.genes), dtype=np.int64)
    filled = take_groups(values.offsets, values.values, cells, groups, taken, of_value, ends)
    return GeneValues(values.genes, np.append(0, ends), taken[:filled], None, of_value[:filled]).detected()


def _values_of(location: str, genes: pa.DictionaryArray, column: pa.Array) -> GeneValues:
    """Find the values of each gene in the rows of a row group."""
    values = column.to_numpy(zero_copy_only=False)
    sound = not len(values) or (values.min() > 0 and values.max() < np.inf)  # NaN is neither
    if genes.null_count or column.null_count or not sound:
        message = f"{location}: values must be finite and above 0, and genes present; convert the source again"
        raise TableError(message)
    codes = genes.indices.to_numpy(zero_copy_only=False)
    starts = np.append(0, np.flatnonzero(codes[1:] != codes[:-1]) + 1)[: len(codes)]
    names = np.asarray(genes.dictionary.to_pylist(), dtype=np.str_)[codes[starts]]
    if np.any(names[1:] <= names[:-1]):
        message = f"{location}: genes do not ascend within a row group; convert the source again"
        raise TableError(message)
    return GeneValues(names, np.append(starts, len(codes)), values)
