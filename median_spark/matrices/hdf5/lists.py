"""Lists of names or numbers in HDF5 files, one per cell or per gene, read in blocks of bounded size."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.hdf5.files import as_strings
from median_spark.matrices.hdf5.sizes import file_bytes, require_strings

_BLOCK_BYTES = 32 << 20
"""What is read at once."""

_LEAST_STRINGS, _MOST_STRINGS = 1 << 10, 1 << 16
"""Strings that are read at once."""

_STRING_BYTES = 256 << 20
"""What strings of variable length may take that are read at once; each may be as long as the file."""


def read_list(
    location: str,
    dataset: h5py.Dataset,
    what: str,
    first: int = 0,
    last: int | None = None,
    *,
    field: str | None = None,
    unescape: bool = False,
) -> npt.NDArray[Any]:
    """Return a list of strings as strings, or one of numbers or truth values as it is.

    Parameters
    ----------
    location : str
        The file, for messages.
    dataset : h5py.Dataset
        Of one dimension; from `members.find_member`.
    what : str
        What it is called in messages: ``"column attribute 'n_counts'"``.
    first, last : int
        Those to return, ``first <= place < last``; by default all.
    field : str, optional
        The field to read of a list of records.
    unescape : bool
        Whether XML entities stand for characters, as in loom files before specification 3.

    Raises
    ------
    InputError
        If it is a list of anything else, or its strings are too long.
    """
    dtype = dataset.dtype if field is None else dataset.dtype[field]
    require_plain(location, dtype, what)
    first, last, _ = slice(first, last).indices(len(dataset))
    source = dataset if field is None else dataset.fields(field)
    if dtype.kind not in "OS":
        room = np.empty(max(0, last - first), dtype=dtype)
        for start, stop in _blocks(first, last, max(1, _BLOCK_BYTES // dataset.dtype.itemsize)):
            room[start - first : stop - first] = source[start:stop]
        return room
    parts, longest = [np.array([], dtype="<U1")], 1
    for start, stop in _blocks(first, last, _strings_at_once(dataset, dtype)):
        found = as_strings(np.asarray(source[start:stop]), unescape=unescape)
        longest = max(longest, found.dtype.itemsize // 4)
        require_strings(location, what, dataset, last - first, longest)
        parts.append(found)
    return np.concatenate(parts)


def require_plain(location: str, dtype: np.dtype[Any], what: str) -> None:
    """Refuse a list of anything but strings, numbers and truth values.

    Raises
    ------
    InputError
        If it is one.
    """
    found = _odd_kind(dtype)
    if found is not None:
        message = f"{location}: {what} must hold strings or numbers; it holds {found}: name another one"
        raise InputError(message)


def _odd_kind(dtype: np.dtype[Any]) -> str | None:
    """Return what a type is, None if it is one of strings, numbers or truth values."""
    if dtype.subdtype is not None:
        return f"arrays of type {dtype.subdtype[0]} and shape {dtype.subdtype[1]}"
    if dtype.names is not None:
        return f"records (a compound type of the fields {', '.join(dtype.names[:5])})"
    if h5py.check_enum_dtype(dtype) is not None and dtype.kind != "b":
        return "numbers that stand for words (an enumerated type)"
    if dtype.kind == "O" and h5py.check_string_dtype(dtype) is None:
        base = h5py.check_vlen_dtype(dtype)
        return f"lists of variable length, of type {base}" if base is not None else "references to other objects"
    return None if dtype.kind in "OSiufb" else f"values of type {dtype}"


def _strings_at_once(dataset: h5py.Dataset, dtype: np.dtype[Any]) -> int:
    if dtype.kind == "S":
        return max(1, min(_MOST_STRINGS, _BLOCK_BYTES // max(1, int(dataset.dtype.itemsize))))
    size: int = file_bytes(dataset)
    wanted = min(max(_LEAST_STRINGS, _STRING_BYTES // max(1, size)), _MOST_STRINGS)
    # A chunk that is larger than HDF5's cache is decompressed again for each block.
    chunk = int(dataset.chunks[0]) if dataset.chunks and size > _BLOCK_BYTES else 0
    return int(max(wanted, min(chunk, _MOST_STRINGS)))


def _blocks(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range into blocks, and tell the guard of each."""
    for start in range(first, last, step):
        beat()
        yield start, min(start + step, last)
