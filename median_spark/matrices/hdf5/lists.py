"""Lists of names or numbers in HDF5 files, one per cell or per gene, read in blocks of bounded size."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import Numbers, brief
from median_spark.matrices.hdf5.files import require_filters
from median_spark.matrices.hdf5.sizes import file_bytes, require_strings, require_whole_chunks
from median_spark.matrices.tables import OTHER_TYPE, StoredTable, as_strings

_BLOCK_BYTES = 32 << 20
"""Bytes to read at once."""

_LEAST_STRINGS, _MOST_STRINGS = 1 << 10, 1 << 16
"""Strings to read at once."""

_STRING_BYTES = 256 << 20
"""Bytes of strings of variable length to read at once; each may be as long as the file."""


class Hdf5Table(StoredTable):
    """A table whose columns are HDF5 datasets."""

    def _read(self, column: str, held: h5py.Dataset, first: int = 0, last: int | None = None, **how: Any) -> Numbers:
        return read_list(self.location, held, self.place(column), first, last, **how)

    def _check(self, column: str, held: Any) -> None:
        """Reject a column that is not of the table's length, or that cannot be decompressed."""
        self._require_list(column, held)
        if held.shape != (self.length,):
            kind = OTHER_TYPE if held.ndim != 1 else ""
            self.refuse(column, f"has shape {held.shape}, where the matrix has {self.length:,} {self.axis}", kind)

    def _require_list(self, column: str, held: Any) -> None:
        """Reject what is no dataset, or cannot be decompressed."""
        if not isinstance(held, h5py.Dataset):
            kind = type(held).__name__.lower()
            self.refuse(column, f"must be a dataset, or made of datasets; it is a {kind}", OTHER_TYPE)
        require_filters(self.location, held)


def read_list(
    location: str,
    dataset: h5py.Dataset,
    what: str,
    first: int = 0,
    last: int | None = None,
    *,
    field: str | None = None,
    unescape: bool = False,
) -> Numbers:
    """Return a list of strings as strings, or one of numbers or truth values as it is.

    The dataset has one dimension and is from `members.find_member`; of records one `field` is read. `what` names it in
    messages: ``"column attribute 'n_counts'"``. `unescape` says that XML entities stand for characters. InputError if
    it is a list of anything else, or its strings are too long or damaged.
    """
    dtype = dataset.dtype if field is None else dataset.dtype[field]
    odd = odd_kind(dtype)
    if odd is not None:
        message = f"{location}: {what} must hold strings or numbers; it holds {odd}: name another one"
        raise InputError(message, kind=OTHER_TYPE)
    require_whole_chunks(location, what, dataset)
    first, last, _ = slice(first, last).indices(len(dataset))
    source = dataset if field is None else dataset.fields(field)
    if dtype.kind not in "OS":
        room = np.empty(max(0, last - first), dtype=dtype)
        for start, stop in _blocks(first, last, max(1, _BLOCK_BYTES // dataset.dtype.itemsize)):
            room[start - first : stop - first] = source[start:stop]
        return room
    parts, longest = [np.array([], dtype="<U1")], 1
    for start, stop in _blocks(first, last, _strings_at_once(dataset, dtype)):
        stored = np.asarray(source[start:stop])
        damaged = first_damaged(stored)
        if damaged >= 0:
            message = (
                f"{location}: {what} has bytes after the NUL that ends a text, at entry {start + damaged:,} "
                f"({brief(stored[damaged])}); the file is damaged"
            )
            raise InputError(message)
        texts = as_strings(stored, unescape=unescape)
        longest = max(longest, texts.dtype.itemsize // 4)
        require_strings(location, what, dataset, last - first, longest)
        parts.append(texts)
    return np.concatenate(parts)


def odd_kind(dtype: np.dtype[Any]) -> str | None:
    """Return what a type is, None if it is one of strings, numbers or truth values."""
    if dtype.subdtype is not None:
        return f"arrays of type {brief(dtype.subdtype[0])} and shape {dtype.subdtype[1]}"
    if dtype.names is not None:
        return f"records (a compound type of the fields {', '.join(map(brief, dtype.names[:5]))})"
    if h5py.check_enum_dtype(dtype) is not None and dtype.kind != "b":
        return "numbers that stand for words (an enumerated type)"
    if dtype.kind == "O" and h5py.check_string_dtype(dtype) is None:
        base = h5py.check_vlen_dtype(dtype)
        return f"lists of variable length, of type {brief(base)}" if base is not None else "references to other objects"
    return None if dtype.kind in "OSUiufb" else f"values of type {brief(dtype)}"


def first_damaged(strings: Numbers) -> int:
    """Return the place of the first string with bytes after an embedded NUL, -1 if there is none.

    HDF5 cuts strings of types that end at the first NUL there; those that pad have none within.
    """
    if strings.dtype.kind != "S":
        return -1
    signs = np.ascontiguousarray(strings).view(np.uint8).reshape(-1, strings.dtype.itemsize)
    damaged = np.flatnonzero(((signs[:, :-1] == 0) & (signs[:, 1:] != 0)).any(axis=1))
    return int(damaged[0]) if len(damaged) else -1


def _strings_at_once(dataset: h5py.Dataset, dtype: np.dtype[Any]) -> int:
    if dtype.kind == "S":
        return max(1, min(_MOST_STRINGS, _BLOCK_BYTES // max(1, int(dataset.dtype.itemsize))))
    size: int = file_bytes(dataset)
    wanted = min(max(_LEAST_STRINGS, _STRING_BYTES // max(1, size)), _MOST_STRINGS)
    # A chunk that is larger than HDF5's cache is decompressed again for each block.
    chunk = int(dataset.chunks[0]) if dataset.chunks and size > _BLOCK_BYTES else 0
    return int(max(wanted, min(chunk, _MOST_STRINGS)))


def _blocks(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range into blocks, and send the guard a sign of life for each."""
    for start in range(first, last, step):
        beat()
        yield start, min(start + step, last)
