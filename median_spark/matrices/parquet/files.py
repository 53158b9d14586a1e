"""Parquet files: opening them, reading columns of some row groups within bounds of memory, naming what is damaged."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import Ints, Numbers, brief
from median_spark.storage import FileStat

_ENTRIES = 1 << 20
"""Entries of a batch, more or less: a few columns of so many are in memory at once."""

_MOST_ROWS = 1 << 17

_BUFFER = 1 << 20
"""Bytes that are read at once of a column on disk."""

_MOST_REMEMBERED = 4
_REMEMBERED: dict[tuple[str, int, int, str], Any] = {}
"""What was found out about whole files, by file and state: a worker reads one unit of a file after another."""

_Made = TypeVar("_Made")

Piece = tuple[Ints, Ints, Numbers]
"""Cells, numbers of genes, and counts of some entries, by ascending cell."""

_DAMAGE = (OSError, pa.ArrowException, ValueError, TypeError, LookupError)
"""What pyarrow raises over damaged files."""


@contextlib.contextmanager
def naming_damage(location: str, what: str) -> Iterator[None]:
    """Turn whatever pyarrow raises while reading something into an InputError that names file and place."""
    try:
        yield
    except pa.ArrowMemoryError:
        raise
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{location}: {what} cannot be read; the file is damaged ({brief(reason)})"
        raise InputError(message) from error


class ParquetTable:
    """One Parquet file, open for reading; row groups are read by range, also from a store."""

    def __init__(self, location: str) -> None:
        """Open a file; InputError if it is missing, cut off, or no Parquet."""
        self.location = location
        stat = storage.stat(location)
        if stat is None:
            message = f"{location}: there is no such file"
            raise InputError(message)
        self.stat: FileStat = stat
        try:
            self._file = self._open()
        except PermissionError as error:
            message = f"{location}: this file may not be read by this user"
            raise InputError(message) from error
        except storage.UNREADABLE as error:
            reason = brief((str(error).splitlines() or [""])[0])
            state = "is empty (0 bytes)" if stat.size == 0 else f"is not a Parquet file, or it is cut off ({reason})"
            message = f"{location}: this file {state}"
            raise InputError(message) from error
        with naming_damage(location, "its schema"):
            self.schema: pa.Schema = self._file.schema_arrow
            self._leaves = self._find_leaves()
        groups = [self._file.metadata.row_group(number) for number in range(self._file.metadata.num_row_groups)]
        self.first_rows: Ints = np.concatenate([[0], np.cumsum([group.num_rows for group in groups], dtype=np.int64)])

    def _open(self, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
        filesystem, path = storage.resolve(self.location)
        return storage.with_retries(
            self.location,
            lambda: pq.ParquetFile(
                filesystem.open_input_file(path),
                read_dictionary=list(dictionaries),
                page_checksum_verification=True,
                pre_buffer=not storage.is_local(self.location),
                buffer_size=_BUFFER if storage.is_local(self.location) else 0,
            ),
        )

    def with_dictionaries(self, columns: Sequence[str]) -> None:
        """Read columns of strings as dictionaries from now on, which is faster where strings repeat."""
        texts = [name for name in columns if pa.types.is_string(self.schema.field(name).type)]
        if texts:
            self._file.close()
            with naming_damage(self.location, "its schema"):
                self._file = self._open(texts)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.first_rows[-1])

    @property
    def groups(self) -> int:
        """The number of row groups."""
        return len(self.first_rows) - 1

    def _find_leaves(self) -> dict[str, list[int]]:
        """Return the numbers of the stored columns of each top-level column."""
        leaves: dict[str, list[int]] = {}
        for number in range(self._file.metadata.num_columns):
            path = self._file.schema.column(number).path
            name = next((name for name in self.schema.names if path == name or path.startswith(f"{name}.")), path)
            leaves.setdefault(name, []).append(number)
        return leaves

    def values_in(self, column: str) -> Ints:
        """Return how many values each row group declares in a column, nulls and empty lists included."""
        leaf = self._leaves[column][0]
        metadata = self._file.metadata
        counts = [metadata.row_group(group).column(leaf).num_values for group in range(self.groups)]
        return np.array(counts, dtype=np.int64)

    def bytes_in(self, column: str) -> Ints:
        """Return the compressed bytes of a column in each row group."""
        metadata, leaves = self._file.metadata, self._leaves[column]
        return np.array(
            [
                sum(metadata.row_group(group).column(leaf).total_compressed_size for leaf in leaves)
                for group in range(self.groups)
            ],
            dtype=np.int64,
        )

    def groups_of(self, first: int, last: int) -> range:
        """Return the row groups that hold the rows ``first <= row < last``."""
        if last <= first:
            return range(0)
        begin = int(np.searchsorted(self.first_rows, first, side="right")) - 1
        return range(begin, int(np.searchsorted(self.first_rows, last, side="left")))

    def batches(self, columns: Sequence[str], groups: range, entries_per_row: float = 1.0) -> Iterator[pa.RecordBatch]:
        """Yield some columns of row groups, a number of rows at a time; columns are in the order asked for."""
        rows = int(min(_MOST_ROWS, max(1, _ENTRIES / max(entries_per_row, 1.0))))
        names = " and ".join(f"column '{brief(name)}'" for name in columns)
        with naming_damage(self.location, names):
            held = self._file.iter_batches(rows, list(groups), list(columns), use_threads=False)
            while True:
                beat()
                batch = storage.with_retries(self.location, lambda: next(held, None))
                if batch is None:
                    return
                yield batch.select(list(columns))

    def read(self, column: str, first: int, last: int) -> pa.ChunkedArray:
        """Return the rows ``first <= row < last`` of a column."""
        groups = self.groups_of(first, last)
        begin = int(self.first_rows[groups.start]) if len(groups) else 0
        pieces, row = [], begin
        for batch in self.batches([column], groups) if len(groups) else ():
            start, stop = max(first - row, 0), min(last - row, len(batch))
            if start < stop:
                pieces.append(batch.column(0).slice(start, stop - start))
            row += len(batch)
            if row >= last:
                break
        kind = pieces[0].type if pieces else self.schema.field(column).type
        held = pa.chunked_array(pieces, kind)
        if len(held) != last - first:
            message = f"{self.location}: column '{brief(column)}' has {len(held):,} of {last - first:,} declared rows"
            raise InputError(message)
        return held

    def remember(self, what: str, make: Callable[[], _Made]) -> _Made:
        """Return what a function makes of the whole file, or what it made when this process read another unit of it."""
        key = (self.location, self.stat.size, self.stat.mtime_ns, what)
        if key not in _REMEMBERED:
            made = make()
            while len(_REMEMBERED) >= _MOST_REMEMBERED:
                del _REMEMBERED[next(iter(_REMEMBERED))]
            _REMEMBERED[key] = made
        remembered: _Made = _REMEMBERED[key]
        return remembered

    def close(self) -> None:
        """Close the file."""
        self._file.close()
