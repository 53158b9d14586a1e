"""Parquet files with a row per entry, columns of gene, cell and count: the rows of a cell must follow each other.

Cells are numbered as they come. How many begin in each row group is found out by reading the columns of cells and genes
once; then the row groups of any range of cells are known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.errors import InputError, counted
from median_spark.matrices.arrow_columns import READABLE, array_values, is_readable
from median_spark.matrices.contract import Flags, Ints, Numbers, Texts, brief, computable
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.parquet.columns import CountColumns
from median_spark.matrices.parquet.files import ParquetTable, Piece, naming_damage
from median_spark.matrices.parquet.genes import distinct_genes, own_genes
from median_spark.matrices.tables import OTHER_TYPE, Table, Values


@dataclass(frozen=True)
class CellIndex:
    """Where the cells of a long table are.

    `begun` counts the cells that begin before each row group, and before the end; `continues` says of each whether its
    first row belongs to the cell before. `genes` are the distinct ones.
    """

    begun: Ints
    continues: Flags
    genes: pa.Array

    def groups(self, first: int, last: int) -> range:
        """Return the row groups that have rows of the cells ``first <= cell < last``."""
        if last <= first:
            return range(0)
        start = int(np.searchsorted(self.begun, first, side="right")) - 1
        stop = int(np.searchsorted(self.begun[:-1] - self.continues, last, side="left"))
        return range(start, stop)


@dataclass(frozen=True)
class _Rows:
    """Some rows: the cell of each, where cells begin, and the other columns asked for."""

    cells: Ints
    starts: Ints
    batch: pa.RecordBatch


class _CellRows:
    """The rows of a long table with the number of their cells."""

    def __init__(self, table: ParquetTable, columns: CountColumns) -> None:
        self.table, self.column = table, str(columns.cell)

    def read(self, others: Sequence[str], groups: range, cells_before: int, *, continues: bool) -> Iterator[_Rows]:
        """Yield the rows of some row groups; `continues` says whether the first row belongs to the cell before."""
        last: Any = None
        known = not continues
        for batch in self.table.batches([self.column, *others], groups):
            if not len(batch):
                continue
            column = batch.column(0)
            if column.null_count:
                message = (
                    f"{self.table.location}: column '{brief(self.column)}' has "
                    f"{counted(column.null_count, 'entry', 'entries')} without a cell"
                )
                raise InputError(message)
            with naming_damage(self.table.location, f"column '{brief(self.column)}'"):
                codes = self._codes(column)
                changed = np.empty(len(codes), dtype=np.bool_)
                np.not_equal(codes[1:], codes[:-1], out=changed[1:])
                changed[0] = known and column[0].as_py() != last
                cells = cells_before - 1 + np.cumsum(changed)
                cells_before, last, known = int(cells[-1]) + 1, column[len(column) - 1].as_py(), True
            yield _Rows(cells, np.flatnonzero(changed), batch)

    def _codes(self, column: pa.Array) -> Numbers:
        """Return numbers that are the same where cells are."""
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_integer(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            message = (
                f"{self.table.location}: column '{brief(self.column)}' must hold ids of cells, texts or whole numbers; "
                f"it holds {kind}"
            )
            raise InputError(message)
        column.validate(full=True)  # a damaged file may have codes beyond its dictionary
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        return np.asarray(encoded.indices.to_numpy())


class LongCells(Table):
    """The columns of a long table beside genes and counts: each must be the same in all rows of a cell."""

    noun, axis = "column", "cells"

    def __init__(self, rows: _CellRows, columns: CountColumns, index: CellIndex) -> None:
        self._rows, self._index = rows, index
        self.location, self.length = rows.table.location, int(index.begun[-1])
        self._columns = sorted(name for name in rows.table.schema.names if name not in (columns.gene, columns.count))

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return self._columns

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return the entries ``first <= entry < last`` of a column."""
        kind = self._rows.table.schema.field(column).type
        if not is_readable(kind):
            self.refuse(column, f"holds {kind}; columns can be read that hold {READABLE}", OTHER_TYPE)
        if (first, last) in {(0, None), (0, self.length)} and self.length:
            return self._rows.table.remember(f"column {column}", lambda: self._read(column, 0, self.length))
        return self._read(column, first, self.length if last is None else last)

    def arrow_type(self, column: str) -> pa.DataType:
        """Return the type of a column; all of it is read, for in any row of a cell it may have another value."""
        kind = self.arrow(column, 0, self.length).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def _read(self, column: str, first: int, last: int) -> Values:
        with naming_damage(self.location, self.place(column)):
            return self._of_cells(column, first, last)

    def _of_cells(self, column: str, first: int, last: int) -> Values:
        groups = self._index.groups(first, last)
        if not len(groups):
            return array_values(pa.chunked_array([], pa.float64()))
        begun, continues = int(self._index.begun[groups.start]), bool(self._index.continues[groups.start])
        values: list[Numbers] = []
        gaps: list[Flags] = []
        others = [] if column == self._rows.column else [column]
        for rows in self._rows.read(others, groups, begun, continues=continues):
            held, missing = array_values(pa.chunked_array([rows.batch.column(len(others))]))
            missing = np.zeros(len(held), dtype=np.bool_) if missing is None else missing
            self._require_constant(column, rows, held, missing, values, gaps)
            values.append(held[rows.starts])
            gaps.append(missing[rows.starts])
        # The first row group may end a cell that begins before it, and begin cells before the first.
        whole, missing = np.concatenate(values), np.concatenate(gaps)
        kept = slice(first - begun, last - begun)
        return whole[kept], missing[kept] if missing.any() else None

    def _require_constant(
        self,
        column: str,
        rows: _Rows,
        held: npt.NDArray[Any],
        missing: Flags,
        values: list[npt.NDArray[Any]],
        gaps: list[Flags],
    ) -> None:
        """Reject a column that has several values in the rows of one cell."""
        same = (held[1:] == held[:-1]) & (missing[1:] == missing[:-1])
        if held.dtype.kind == "f":
            same |= np.isnan(held[1:]) & np.isnan(held[:-1])
        within = np.diff(rows.cells) == 0
        before = next((piece[-1] for piece in reversed(values) if len(piece)), None)
        if before is not None and (not len(rows.starts) or rows.starts[0] > 0):
            gap = next(piece[-1] for piece in reversed(gaps) if len(piece))
            equal = held[0] == before or (held[0] != held[0] and before != before)
            if not equal or bool(missing[0]) != bool(gap):
                self._refuse_varying(column, int(rows.cells[0]))
        if (within & ~same).any():
            self._refuse_varying(column, int(rows.cells[int(np.argmax(within & ~same))]))

    def _refuse_varying(self, column: str, cell: int) -> NoReturn:
        self.refuse(
            column,
            f"has several values in the rows of cell number {cell:,}; it must have one for each cell",
            OTHER_TYPE,
        )


class LongEntries:
    """The entries of a long table; one of `matrix.Storage`."""

    kind = "an entry per row"

    def __init__(self, table: ParquetTable, columns: CountColumns, names: AttributeNames) -> None:
        table.with_dictionaries([columns.gene, str(columns.cell)])
        self._table, self._columns = table, columns
        self._rows = _CellRows(table, columns)
        self.place = f"column '{columns.count}'"
        self._index: CellIndex = table.remember(f"index {columns}", lambda: _index(self._rows, columns))
        self.genes = own_genes(table.location, columns.gene, self._index.genes, names)
        self.cells = LongCells(self._rows, columns, self._index)
        self.cells_per_tile = 1
        self.dtype = computable(np.dtype(table.schema.field(columns.count).type.to_pandas_dtype()))

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells, each with its share of its row groups."""
        stored = sum(
            self._table.bytes_in(name) for name in (self._columns.gene, self._columns.count, str(self._columns.cell))
        )
        begins = self._index.begun[:-1] - self._index.continues
        ends = self._index.begun[1:]
        shared = np.clip(np.minimum(ends, last) - np.maximum(begins, first), 0, None)
        return int((stored * shared / np.maximum(ends - begins, 1)).sum())

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Yield cells, numbers of genes and counts of the cells ``first <= cell < last``."""
        groups = self._index.groups(first, last)
        if not len(groups):
            return
        begun, continues = int(self._index.begun[groups.start]), bool(self._index.continues[groups.start])
        for rows in self._rows.read([self._columns.gene, self._columns.count], groups, begun, continues=continues):
            start, stop = (int(place) for place in np.searchsorted(rows.cells, [first, last]))
            if start == stop:
                continue
            genes, counts = (rows.batch.column(number).slice(start, stop - start) for number in (1, 2))
            for values, name in ((genes, self._columns.gene), (counts, self._columns.count)):
                if values.null_count:
                    cell = int(rows.cells[start + int(np.argmax(np.asarray(values.is_null())))])
                    message = f"{self._table.location}: column '{brief(name)}' has a null in cell number {cell:,}"
                    raise InputError(message)
            with naming_damage(self._table.location, f"column '{brief(self._columns.gene)}'"):
                numbers = self.genes.numbers(genes)
            yield rows.cells[start:stop], numbers, counts.to_numpy(zero_copy_only=False).astype(self.dtype, copy=False)

    def cell_ids(self, name: str | None, first: int, last: int) -> Texts:
        """Return the ids of some cells."""
        return self.cells.strings(str(self._columns.cell), first, last)


def _index(rows: _CellRows, columns: CountColumns) -> CellIndex:
    """Read the columns of cells and genes; InputError if the rows of a cell do not follow each other."""
    table = rows.table
    begun, continues = np.zeros(table.groups + 1, dtype=np.int64), np.zeros(table.groups, dtype=np.bool_)
    hashes: list[npt.NDArray[np.uint64]] = []

    def genes() -> Iterator[pa.Array]:
        ends = table.first_rows[1:]
        row = cells = 0
        for piece in rows.read([columns.gene], range(table.groups), 0, continues=False):
            stops = ends[(ends > row) & (ends <= row + len(piece.cells))] - row
            continues[table.first_rows[:-1] == row] = not (len(piece.starts) and piece.starts[0] == 0)
            for stop in stops.tolist():
                at = int(np.searchsorted(table.first_rows, row + stop, side="left"))
                while at <= table.groups and table.first_rows[at] == row + stop:
                    begun[at] = cells + int(np.searchsorted(piece.starts, stop))
                    if at < table.groups and stop < len(piece.cells):
                        continues[at] = stop not in piece.starts
                    at += 1
            with naming_damage(table.location, f"column '{brief(rows.column)}'"):
                hashes.append(_hashes(piece.batch.column(0).take(pa.array(piece.starts))))
            row, cells = row + len(piece.cells), cells + len(piece.starts)
            yield piece.batch.column(1)

    distinct = distinct_genes(table.location, columns.gene, genes())
    every = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
    ascending = np.sort(every)
    again = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(again):
        _refuse_unsorted(rows, int(again[0]), columns)
    return CellIndex(begun, continues, distinct)


def _hashes(cells: pa.Array) -> npt.NDArray[np.uint64]:
    import pandas as pd  # half a second: only readers of long tables wait

    values, _ = array_values(pa.chunked_array([cells]))
    return np.asarray(pd.util.hash_array(values, categorize=False))


def _refuse_unsorted(rows: _CellRows, hashed: int, columns: CountColumns) -> NoReturn:
    cell = ""
    for piece in rows.read([], range(rows.table.groups), 0, continues=False):
        starts = piece.batch.column(0).take(pa.array(piece.starts))
        found = np.flatnonzero(_hashes(starts) == np.uint64(hashed))
        if len(found):
            cell = str(starts[int(found[0])].as_py())
            break
    message = (
        f"{rows.table.location}: the rows of cell '{brief(cell)}' do not follow each other, as those of each cell must "
        f"in a table of an entry per row: sort it by '{brief(str(columns.cell))}', or use it as a DataFrame in any "
        f"order: gene_medians(df, gene_col={columns.gene!r}, value_col={columns.count!r}, cell_col={columns.cell!r})"
    )
    raise InputError(message, kind="unsorted cells")
