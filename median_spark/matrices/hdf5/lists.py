"""Lists of names or numbers in HDF5 files, one per cell or per gene, read in blocks of bounded size."""

import html
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.contract import brief
from median_spark.matrices.hdf5.sizes import file_bytes, require_strings

_BLOCK_BYTES = 32 << 20
"""Bytes to read at once."""

_LEAST_STRINGS, _MOST_STRINGS = 1 << 10, 1 << 16
"""Strings to read at once."""

_STRING_BYTES = 256 << 20
"""Bytes of strings of variable length to read at once; each may be as long as the file."""


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

    The dataset has one dimension and is from `members.find_member`; of records one `field` is read. `what` names it in
    messages: ``"column attribute 'n_counts'"``. `unescape` says that XML entities stand for characters.

    Raises
    ------
    InputError
        If it is a list of anything else, or its strings are too long or damaged.
    """
    dtype = dataset.dtype if field is None else dataset.dtype[field]
    odd = odd_kind(dtype)
    if odd is not None:
        message = f"{location}: {what} must hold strings or numbers; it holds {odd}: name another one"
        raise InputError(message)
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


def first_damaged(strings: npt.NDArray[Any]) -> int:
    """Return the place of the first string with bytes after an embedded NUL, -1 if there is none.

    Of types that end a string at its first NUL, HDF5 returns only what is before it; those that pad have none within.
    """
    if strings.dtype.kind != "S":
        return -1
    signs = np.ascontiguousarray(strings).view(np.uint8).reshape(-1, strings.dtype.itemsize)
    damaged = np.flatnonzero(((signs[:, :-1] == 0) & (signs[:, 1:] != 0)).any(axis=1))
    return int(damaged[0]) if len(damaged) else -1


def as_strings(values: npt.NDArray[Any], *, unescape: bool = False) -> npt.NDArray[np.str_]:
    r"""Return what HDF5 gives for strings or numbers as strings, shape (strings,).

    Bytes that are no UTF-8 are spelled out, as in ``g\xe9``, so that what differs in the file differs here;
    `median_spark.genes.is_no_id` recognises that.
    """
    if values.dtype.kind not in "OS":
        return np.asarray(values).ravel().astype(np.str_)
    texts = [
        text.decode("utf-8", errors="backslashreplace") if isinstance(text, bytes) else str(text)
        for text in values.ravel().tolist()
    ]
    if unescape:
        texts = [html.unescape(text) for text in texts]
    return np.array(texts, dtype=np.str_) if texts else np.array([], dtype="<U1")


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
