"""What the HDF5 formats share: opening with clear errors, and decoding string arrays."""

import contextlib
import html
from collections.abc import Iterator
from functools import cache
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5z

from median_spark import storage
from median_spark.errors import InputError

_FILTERS = {
    h5z.FILTER_DEFLATE: "gzip",
    h5z.FILTER_LZF: "lzf",
    h5z.FILTER_SZIP: "szip",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
"""Compressions by HDF5's number for them; the last six are registered ones, which need a plugin."""


_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, SystemError)
"""What h5py raises over damaged files."""


def open_hdf5(location: str) -> tuple[h5py.File, Any]:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    location : str
        Canonical path or URI.

    Returns
    -------
    h5py.File
        The open file.
    file-like or None
        The stream beneath it where the file is not local; to be closed after it.

    Raises
    ------
    InputError
        If it is missing, may not be read, is cut off, or is no HDF5.
    StorageError
        If a store does not answer.
    """
    stream = None
    try:
        if storage.is_local(location):
            return h5py.File(location, "r", locking=False), None
        stream = storage.open_random(location)
        return h5py.File(stream, "r"), stream
    except BaseException as error:
        if stream is not None:
            stream.close()
        if isinstance(error, _DAMAGE):
            raise InputError(f"{location}: {_why_unreadable(location, error)}") from error  # noqa: EM102
        raise


def _why_unreadable(location: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this file may not be read by this user"
    found = storage.stat(location)
    if found is not None and found.size == 0:
        return "this file is empty (0 bytes)"
    if "already open for write" in str(error) or "consistency flags" in str(error):
        return (
            "its writer has not closed this file: wait for it, or, if it died, mark the file as closed with "
            f"`h5clear -s {location}` and check what it holds ({error})"
        )
    if "truncated" in str(error):
        size = f"{found.size:,} bytes" if found else "what is left"
        return f"this HDF5 file is cut off after {size}: copy it again from where it came ({error})"
    return f"this is not an HDF5 file, or it is damaged ({error})"


@contextlib.contextmanager
def naming_damage(location: str, what: str) -> Iterator[None]:
    """Turn HDF5's errors while reading something into one that names file and place.

    Raises
    ------
    InputError
        In place of whatever h5py raises: OSError, RuntimeError, KeyError, and of the others where a type, a size or a
        name is beyond recognition.
    """
    try:
        yield
    except _DAMAGE as error:
        message = f"{location}: {what} cannot be read; the file is damaged ({error})"
        raise InputError(message) from error


def as_strings(found: npt.NDArray[Any], *, unescape: bool = False) -> npt.NDArray[np.str_]:
    r"""Return what HDF5 gives for strings or numbers as strings, shape (strings,).

    Bytes that are no UTF-8 are spelled out, as in ``g\xe9``, so that what differs in the file differs here;
    `median_spark.genes.is_no_id` recognises that.
    """
    if found.dtype.kind in "OS":
        texts = [
            text.decode("utf-8", errors="backslashreplace") if isinstance(text, bytes) else str(text)
            for text in found.ravel().tolist()
        ]
        if unescape:
            texts = [html.unescape(text) for text in texts]
        return np.array(texts, dtype=np.str_) if texts else np.array([], dtype="<U1")
    return np.asarray(found).ravel().astype(np.str_)


def require_filters(location: str, dataset: h5py.Dataset) -> None:
    """See to it that HDF5 can decompress a dataset.

    Raises
    ------
    InputError
        If it needs a plugin that is not installed.
    """
    place = (dataset.name or "").lstrip("/")
    for number, name in _filters(dataset):
        if h5z.filter_avail(number) or (_load_plugins() and h5z.filter_avail(number)):
            continue
        message = (
            f"{location}: '{place}' is compressed with {name} (HDF5 filter {number}), which needs a "
            "plugin that is not installed: pip install 'median_spark[h5ad]'"
        )
        raise InputError(message)


def compression_of(dataset: h5py.Dataset) -> str:
    """Return by what a dataset is compressed, for people."""
    # Shuffling and checksums stand beside what compresses.
    beside = {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET}
    names = [name for number, name in _filters(dataset) if number not in beside]
    return ", ".join(names) or "uncompressed"


def _filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    properties = dataset.id.get_create_plist()
    found = [properties.get_filter(place) for place in range(properties.get_nfilters())]
    return [
        (number, _FILTERS.get(number) or name.decode(errors="replace") or "an unknown filter")
        for number, _, _, name in found
    ]


@cache
def _load_plugins() -> bool:
    """Let the package hdf5plugin, where it is installed, add its filters to HDF5."""
    try:
        import hdf5plugin  # noqa: F401  (importing it is what adds them)
    except ImportError:
        return False
    return True
