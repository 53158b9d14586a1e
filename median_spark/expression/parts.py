"""Parquet parts of the expression table: runs in, runs out, one row group at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.gene_values import GeneValues, join_gene_values

VALUES_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.string(), False),
        pa.field("cell", pa.string(), False),
        pa.field("value", pa.float64(), False),
    ]
)
"""What any engine sees in a part; ``source`` comes from the folder's name."""

_STORED_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("cell", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("value", pa.float64(), False),
    ]
)
"""The same as it is handed to the writer: one small dictionary a row group, not one of the whole part in each."""

GENE_VALUE_COLUMNS = ("gene", "value")
"""All that the medians need."""

_READ_TYPES = [pa.dictionary(pa.int32(), pa.string()), pa.float64()]
"""Of these, as they are read."""

ROW_GROUP_ROWS = 500_000
"""Rows that a row group should have, cut at gene boundaries: a sweep holds one of every part. Half as many rows would
cost a tenth more bytes, for each row group has its own dictionaries."""

_DICTIONARY_BYTES = 8 << 20
"""Limit of a column chunk's dictionary, above which Parquet falls back to plain values. Normalised counts repeat: one
of a few counts over one of some thousands of totals, so that their dictionary is small and halves the file."""


@dataclass(frozen=True)
class RowGroup:
    """One row group of a part.

    Attributes
    ----------
    rows : int
        Its rows.
    gene_min, gene_max : str
        Its first and last gene.
    """

    rows: int
    gene_min: str
    gene_max: str


@dataclass(frozen=True)
class PartEntry:
    """One Parquet file of a source.

    Attributes
    ----------
    name : str
        File name within the source's folder.
    size : int
        Bytes.
    row_groups : tuple of RowGroup
        In the order of the file.
    """

    name: str
    size: int
    row_groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        """Rows of all row groups."""
        return sum(group.rows for group in self.row_groups)


def write_part(
    location: str, runs: GeneValues, cell_ids: npt.NDArray[np.str_], row_group_rows: int = ROW_GROUP_ROWS
) -> PartEntry:
    """Write runs as one Parquet file that appears whole or not at all.

    Parameters
    ----------
    location : str
        Path or URI of the file.
    runs : GeneValues
        With cells, and at least one value.
    cell_ids : ndarray of str, shape (cells,)
        The id of each cell that `runs` counts.
    row_group_rows : int
        Rows that a row group should have.

    Returns
    -------
    PartEntry
        What was written.
    """
    runs = runs.detected()
    if runs.cells is None or not len(runs.values):
        message = "a part needs runs with cells, and at least one value"
        raise ValueError(message)
    ids = pa.array(cell_ids, pa.string())
    groups = []
    with (
        storage.atomic_write(location) as sink,
        pq.ParquetWriter(
            sink,
            _STORED_SCHEMA,
            compression="snappy",  # read and written half as fast again as zstd, for 3 % more bytes
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            store_schema=False,  # so that every reader sees plain strings, not Arrow dictionaries
            write_statistics=["gene"],
        ) as writer,
    ):
        for first, last in cut_at_genes(runs.offsets, row_group_rows):
            begin, end = runs.offsets[first], runs.offsets[last]
            genes = pa.array(runs.genes[first:last], pa.string())
            gene_of_row = np.repeat(np.arange(last - first, dtype=np.int32), runs.lengths[first:last])
            table = pa.Table.from_arrays(
                [
                    pa.DictionaryArray.from_arrays(pa.array(gene_of_row), genes),
                    pa.DictionaryArray.from_arrays(pa.array(runs.cells[begin:end]), ids),
                    pa.array(runs.values[begin:end]),
                ],
                schema=_STORED_SCHEMA,
            )
            writer.write_table(table, row_group_size=len(table))
            groups.append(RowGroup(len(table), str(runs.genes[first]), str(runs.genes[last - 1])))
    written = storage.stat(location)
    return PartEntry(location.rsplit("/", 1)[1], written.size if written else 0, tuple(groups))


def cut_at_genes(offsets: npt.NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Cut genes into consecutive ranges of about `rows` values each.

    Parameters
    ----------
    offsets : ndarray of int64, shape (genes + 1,)
        Of runs.
    rows : int
        Values wanted a range; a gene is never cut, so that a range may have more or fewer.

    Yields
    ------
    tuple of int
        First gene, and the one after the last.
    """
    total = int(offsets[-1])
    ranges = max(1, round(total / rows))
    edges = np.searchsorted(offsets, np.linspace(0, total, ranges + 1))
    edges[-1] = len(offsets) - 1
    edges = np.unique(edges)
    for first, last in pairwise(edges):
        if offsets[last] > offsets[first]:
            yield int(first), int(last)


class PartReader:
    """One part, open for reading its genes and values; close it by using it as a context manager.

    Parameters
    ----------
    location : str
        Path or URI of the part.

    Raises
    ------
    TableError
        If the part is missing or damaged.
    StorageError
        Here or at any read, if a store does not answer.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        filesystem, path = storage.resolve(location)
        with self._naming_damage():
            self._stream = storage.with_retries(location, lambda: filesystem.open_input_file(path))
            try:
                self._part = storage.with_retries(
                    location, lambda: pq.ParquetFile(self._stream, read_dictionary=["gene"], pre_buffer=True)
                )
            except BaseException:
                self._stream.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; once is enough."""
        self._part.close()
        self._stream.close()

    def read(self, row_group: int, expected_rows: int) -> GeneValues:
        """Read the genes and values of a row group.

        Parameters
        ----------
        row_group : int
            Its number.
        expected_rows : int
            Rows that it must have by the source's record.

        Returns
        -------
        GeneValues
            Without cells.

        Raises
        ------
        TableError
            If it is missing, damaged, or not what its record says.
        """
        with self._naming_damage():
            table = storage.with_retries(
                self.location,
                lambda: self._part.read_row_group(row_group, columns=list(GENE_VALUE_COLUMNS), use_threads=False),
            )
        if table.schema.types != _READ_TYPES:
            message = f"{self.location}: this part is not gene: string, value: double: convert its source again"
            raise TableError(message)
        if len(table) != expected_rows:
            message = (
                f"{self.location}: row group {row_group} has {len(table):,} rows where the source's record says "
                f"{expected_rows:,}: convert the source again"
            )
            raise TableError(message)
        return join_gene_values([_values_of(self.location, batch) for batch in table.to_batches()])

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            message = (
                f"{self.location}: this part is listed by its source's record but not there: convert the source again"
            )
            raise TableError(message) from error
        except (OSError, pa.ArrowException, IndexError, KeyError) as error:
            message = f"{self.location}: this part cannot be read ({error}): convert its source again"
            raise TableError(message) from error


def _values_of(location: str, batch: pa.RecordBatch) -> GeneValues:
    """Find the runs of a row group, or of a piece of it: Arrow may hand it over in several."""
    genes, values = batch.column(0), batch.column(1).to_numpy(zero_copy_only=False)
    sound = not len(values) or (values.min() > 0 and values.max() < np.inf)  # NaN is neither
    if genes.null_count or batch.column(1).null_count or not sound:
        message = f"{location}: values must be finite and above 0, and genes present; convert the source again"
        raise TableError(message)
    codes = genes.indices.to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1]) if len(codes) else np.zeros(0, np.int64)
    names = np.asarray(genes.dictionary.to_pylist(), dtype=np.str_)[codes[starts]]
    if np.any(names[1:] <= names[:-1]):
        message = f"{location}: genes do not ascend within a row group; convert the source again"
        raise TableError(message)
    return GeneValues(names, np.concatenate([starts, [len(codes)]]).astype(np.int64), values)
