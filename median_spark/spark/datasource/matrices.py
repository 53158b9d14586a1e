"""A Python data source for every matrix format: long rows of gene, cell, value and source, straight from matrices.

Spark 4 and newer only; `data_source` says so where there is an older one. A task reads units, as converting does, and
hands their values over as Arrow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from median_spark.errors import InputError, UsageError, listed
from median_spark.gene_values import GeneValues
from median_spark.guard import read_guarded
from median_spark.matrices import (
    FORMATS,
    NO_COLUMNS,
    Format,
    ReadOptions,
    SourceFile,
    SourceOutline,
    Unit,
    matrix_stat,
    outline_of,
    values_of,
)
from median_spark.spark.datasource.options import chosen_sources, read_options, unit_entries, worded_for_readers
from median_spark.spark.engine.same_code import check_code
from median_spark.spark.engine.tasks import ddl_of
from median_spark.versions import code_version

_COLUMNS = {"gene": pa.string(), "cell": pa.string(), "value": pa.float64(), "source": pa.string()}
"""Of the rows: the expression table's, and the source that a folder's name tells there."""

_DDL = ddl_of(pa.schema(list(_COLUMNS.items()))).replace("`", "")

_BATCH_ROWS = 1 << 16
"""Rows handed over at once: what limits a DataFrame to a few rows waits for no more, and their text takes a few MB."""

_MOST_CUT_AHEAD = 32
"""So many sources are looked into before the tasks begin, to cut them into units; of more, each is a task, which cuts
it itself: they are many enough to keep a cluster busy, and looking into thousands one by one would take minutes."""


@dataclass(frozen=True)
class Share(InputPartition):  # type: ignore[misc]  # pyspark's classes are not typed for us
    """What one task reads of one source.

    Attributes
    ----------
    source : SourceFile
        The file, as it was when the tasks were planned.
    unit : Unit or None
        Its cells; None for all of them.
    """

    source: SourceFile
    unit: Unit | None


class MatrixReader(DataSourceReader):  # type: ignore[misc]
    """Reads sources by shares.

    Parameters
    ----------
    sources : sequence of SourceFile
        Sources to read.
    options : ReadOptions
        Options that decide the values.
    entries : int
        Entries other than zero that are read at once at most, about.
    schema : pyarrow.Schema
        The columns that are wanted.
    """

    def __init__(self, sources: Sequence[SourceFile], options: ReadOptions, entries: int, schema: pa.Schema) -> None:
        self._sources = tuple(sources)
        self._options = options
        self._entries = entries
        self._schema = schema
        self._code = code_version()

    def partitions(self) -> list[InputPartition]:
        """Return what the tasks are to read: units of few sources, or many sources whole."""
        if len(self._sources) > _MOST_CUT_AHEAD:
            return [Share(source, None) for source in self._sources]
        return [Share(source, unit) for source in self._sources for unit in self._units(source)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a share, cell range by cell range, genes ascending in each.

        Raises
        ------
        InputError
            If the matrix cannot be read, or has changed since the tasks were planned.
        RuntimeError
            If the worker has another median_spark than the driver.
        """
        check_code(self._code)
        source, unit = partition.source, partition.unit
        if matrix_stat(source.file.path) != source.file:
            message = f"{source.file.path}: this file was changed after it was loaded; load it again"
            raise InputError(message)
        for one in self._units(source) if unit is None else (unit,):
            with worded_for_readers():
                options = self._options.of_source(source.name)
                values, cells, _ = read_guarded(source.file.path, values_of, source.file.path, one, options)
            yield from _rows(source.name, values, cells["cell"].chunk(0), self._schema)

    def _units(self, source: SourceFile) -> tuple[Unit, ...]:
        path = source.file.path
        with worded_for_readers():
            options = self._options.of_source(source.name)
            outline: SourceOutline = read_guarded(path, outline_of, path, options, self._entries, NO_COLUMNS)
        return outline.units


def _rows(source: str, values: GeneValues, cells: pa.Array, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield values as rows, some at a time, of the columns that are wanted."""
    genes = pa.array(values.genes, pa.string())
    for first in range(0, len(values.values), _BATCH_ROWS):
        last = min(first + _BATCH_ROWS, len(values.values))
        columns = []
        for name in schema.names:
            if name == "gene":
                places = np.searchsorted(values.offsets, np.arange(first, last), side="right") - 1
                columns.append(genes.take(pa.array(places)))
            elif name == "cell":
                assert values.cells is not None  # a unit's values have them
                columns.append(cells.take(pa.array(values.cells[first:last])))
            elif name == "value":
                columns.append(pa.array(values.values[first:last]))
            else:
                columns.append(pa.repeat(pa.scalar(source, pa.string()), last - first))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


class _Matrices(DataSource):  # type: ignore[misc]
    """Matrices of one format as a data source of Spark's."""

    format: Format

    @classmethod
    def name(cls) -> str:
        """Return what the format is called in ``spark.read.format``."""
        return cls.format.name

    def schema(self) -> str:
        """Return the columns; options and paths are looked at here, so that what is wrong is said by `load`."""
        with worded_for_readers():
            read_options(self.options)
            unit_entries(self.options)
            chosen_sources(self.options, self.format)
        return _DDL

    def reader(self, schema: StructType) -> MatrixReader:
        """Return what reads the columns that are wanted."""
        return MatrixReader(
            chosen_sources(self.options, self.format),
            read_options(self.options),
            unit_entries(self.options),
            _wanted(self.name(), schema),
        )


DATA_SOURCES: tuple[type[DataSource], ...] = tuple(type("Matrices", (_Matrices,), {"format": one}) for one in FORMATS)
"""The data source of every format that can be read."""


def _wanted(name: str, schema: StructType) -> pa.Schema:
    """Return the columns that a user's own schema asks for, or all of them."""
    types = dict(part.split() for part in _DDL.split(", "))
    odd = [
        f"{field.name} {field.dataType.simpleString()}"
        for field in schema.fields
        if types.get(field.name) != field.dataType.simpleString()
    ]
    if odd:
        message = f"a schema for the format '{name}' may hold some or all of: {_DDL}; it has {listed(odd)}"
        raise UsageError(message)
    return pa.schema([pa.field(field.name, _COLUMNS[field.name], field.nullable) for field in schema.fields])
