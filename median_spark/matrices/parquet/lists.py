"""Parquet files with a row per cell and two lists in it, genes and counts, as Tahoe-100M is published."""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.errors import InputError
from median_spark.matrices.arrow_columns import READABLE, array_values, is_readable
from median_spark.matrices.contract import Ints, Numbers, Texts, computable
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.parquet.columns import LIST_CELLS, CountColumns
from median_spark.matrices.parquet.files import ParquetTable, Piece, naming_damage
from median_spark.matrices.parquet.genes import distinct_genes, own_genes, tabled_genes
from median_spark.matrices.tables import OTHER_TYPE, StoredTable, Values

_MARKER = (1, -2.0)
"""The first pair of a cell that marks its beginning and is no gene's count, in files made for language models."""

_WIDEST_TILE = 4096
"""Most cells of a row group that units keep whole; wider ones are read again by the next unit."""


class ListCells(StoredTable):
    """The columns of a file beside its two lists: an entry for each cell, read by row groups."""

    noun, axis = "column", "cells"

    def __init__(self, table: ParquetTable, columns: CountColumns) -> None:
        self._table = table
        self.location, self.length = table.location, table.rows
        self._columns = sorted(name for name in table.schema.names if name not in (columns.gene, columns.count))

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return self._columns

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the entries ``first <= entry < last`` of a column."""
        kind = self._table.schema.field(column).type
        if not is_readable(kind):
            self.refuse(column, f"holds {kind}; columns can be read that hold {READABLE}", OTHER_TYPE)
        with naming_damage(self.location, self.place(column)):
            return array_values(self._table.read(column, first, self.length if last is None else last))


class ListEntries:
    """The entries of a file with two lists per cell; one of `matrix.Storage`."""

    kind = "a cell per row, two lists"

    def __init__(self, table: ParquetTable, columns: CountColumns, names: AttributeNames) -> None:
        self._table, self._columns = table, columns
        self._entries = table.values_in(columns.gene)
        self.place = f"column '{columns.count}'"
        tabled = tabled_genes(table.location, names)
        genes_kind = table.schema.field(columns.gene).type.value_type
        if tabled is not None and pa.types.is_integer(genes_kind):
            self.genes = tabled
        else:
            found = table.remember(
                f"genes {columns.gene}", lambda: distinct_genes(table.location, columns.gene, self._all_genes())
            )
            self.genes = own_genes(table.location, columns.gene, found, names)
        self.cells = ListCells(table, columns)
        self.dtype = computable(np.dtype(table.schema.field(columns.count).type.value_type.to_pandas_dtype()))

    @property
    def cells_per_tile(self) -> int:
        """How many cells are decompressed together, where all row groups are alike."""
        rows = np.diff(self._table.first_rows)
        alike = len(rows) > 0 and (rows[:-1] == rows[0]).all() and rows[-1] <= rows[0]
        return int(rows[0]) if alike and 1 <= rows[0] <= _WIDEST_TILE else 1

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells, each with its share of its row group."""
        stored = self._table.bytes_in(self._columns.gene) + self._table.bytes_in(self._columns.count)
        begins, ends = self._table.first_rows[:-1], self._table.first_rows[1:]
        shared = np.clip(np.minimum(ends, last) - np.maximum(begins, first), 0, None)
        return int((stored * shared / np.maximum(ends - begins, 1)).sum())

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Yield cells, numbers of genes and counts of the cells ``first <= cell < last``."""
        groups = self._table.groups_of(first, last)
        if not len(groups):
            return
        row = int(self._table.first_rows[groups.start])
        wanted = [self._columns.gene, self._columns.count]
        for batch in self._table.batches(wanted, groups, self._entries_per_row(groups)):
            start, stop = max(first - row, 0), min(last - row, len(batch))
            if start < stop:
                with naming_damage(self._table.location, f"columns '{wanted[0]}' and '{wanted[1]}'"):
                    piece = self._piece(batch.slice(start, stop - start), row + start)
                yield piece
            row += len(batch)
            if row >= last:
                return

    def _piece(self, batch: pa.RecordBatch, row: int) -> Piece:
        lengths = self._lengths(batch, row)
        held, counts = batch.column(0).flatten(), batch.column(1).flatten()
        for values, name in ((held, self._columns.gene), (counts, self._columns.count)):
            if values.null_count:
                entry = int(np.argmax(np.asarray(values.is_null())))
                self._refuse(
                    row + int(np.searchsorted(np.cumsum(lengths), entry, side="right")), f"'{name}' has a null"
                )
        genes = self.genes.numbers(held)
        numbers: Numbers = counts.to_numpy(zero_copy_only=False).astype(self.dtype, copy=False)
        starts = (np.cumsum(lengths) - lengths)[lengths > 0]
        marked = starts[(genes[starts] == _MARKER[0]) & (numbers[starts] == _MARKER[1])]
        if len(marked) and self._has_marker:
            genes, numbers = genes.copy(), numbers.copy()
            genes[marked], numbers[marked] = self.genes.numbering.begin, 0
        cells = np.repeat(np.arange(row, row + len(lengths)), lengths)
        return cells, genes, numbers

    @property
    def _has_marker(self) -> bool:
        """Whether the marker's number is no gene's of a table, so that it can be told from a gene."""
        own = self._columns.gene in self.genes.rows.columns
        return self.genes.texts is None and (
            own or _MARKER[0] not in self.genes.numbering.of(0, self.genes.rows.length)
        )

    def _lengths(self, batch: pa.RecordBatch, row: int) -> Ints:
        """Return how many genes each cell lists; InputError if a list is missing, or another has more or fewer."""
        lengths: list[Ints] = []
        for column, name in zip(batch.columns, (self._columns.gene, self._columns.count), strict=True):
            if column.null_count:
                self._refuse(row + int(np.argmax(np.asarray(column.is_null()))), f"'{name}' is null")
            lengths.append(np.asarray(pc.list_value_length(column).to_numpy(zero_copy_only=False), dtype=np.int64))
        apart = np.flatnonzero(lengths[0] != lengths[1])
        if len(apart):
            genes, counts = lengths[0][apart[0]], lengths[1][apart[0]]
            self._refuse(
                row + int(apart[0]),
                f"'{self._columns.gene}' has {genes:,} entries and '{self._columns.count}' has {counts:,}",
            )
        return lengths[0]

    def _refuse(self, row: int, problem: str) -> NoReturn:
        message = (
            f"{self._table.location}: in row {row:,} {problem}; both lists must be there, of one length, without nulls"
        )
        raise InputError(message)

    def _entries_per_row(self, groups: range) -> float:
        rows = int(self._table.first_rows[groups.stop] - self._table.first_rows[groups.start])
        return float(self._entries[groups.start : groups.stop].sum()) / max(1, rows)

    def _all_genes(self) -> Iterator[pa.Array]:
        groups = range(self._table.groups)
        for batch in self._table.batches([self._columns.gene], groups, self._entries_per_row(groups)):
            yield batch.column(0).flatten()

    def cell_ids(self, name: str | None, first: int, last: int) -> Texts:
        """Return the ids of some cells, from a column of that name, else of a usual one, else the rows' numbers."""
        name = name or next((known for known in LIST_CELLS if self.cells.has(known)), None)
        return np.arange(first, last).astype(np.str_) if name is None else self.cells.strings(name, first, last)
