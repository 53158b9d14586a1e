"""Opening HDF5 files, naming what is damaged in them, and the compressions that they need."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import h5py
from h5py import h5z

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices.contract import brief

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
"""Compressions by HDF5's numbers; the last six are registered ones, which need a plugin."""

_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, SystemError)
"""What h5py raises over damaged files."""


def open_hdf5(location: str) -> tuple[h5py.File, Any]:
    """Open an HDF5 file, also one that was gzipped whole, for reading.

    Returns the file, and the stream beneath it where it is not read from its own path, which must be closed after it.
    InputError if it is missing, may not be read, is cut off, or is no HDF5; StorageError if a store does not answer.
    """
    stream = None
    try:
        if storage.is_plain_file(location):
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
    file = storage.stat(location)
    if file is not None and file.size == 0:
        return "this file is empty (0 bytes)"
    if "already open for write" in str(error) or "consistency flags" in str(error):
        return (
            "its writer has not closed this file: wait for it, or, if it died, mark the file as closed with "
            f"`h5clear -s {location}` and check what it holds ({error})"
        )
    if "truncated" in str(error):
        size = f"{file.size:,} bytes" if file else "what is left"
        return f"this HDF5 file is cut off after {size}: copy it again from where it came ({error})"
    return f"this is not an HDF5 file, or it is damaged ({error})"


@contextlib.contextmanager
def naming_damage(location: str, what: str | Callable[[], str]) -> Iterator[None]:
    """Turn whatever h5py raises while reading something into an InputError that names file and place.

    A function says what it is where that takes time: HDF5 looks for an object's name whenever it is asked.
    """
    try:
        yield
    except _DAMAGE as error:
        place = what if isinstance(what, str) else what()
        message = f"{location}: {place} cannot be read; the file is damaged ({error})"
        raise InputError(message) from error


def require_filters(location: str, dataset: h5py.Dataset) -> None:
    """Reject a dataset that needs a plugin of HDF5 that is not installed; InputError names it."""
    place = brief((dataset.name or "").lstrip("/"))
    for number, name in _filters(dataset):
        if h5z.filter_avail(number) or (_load_plugins() and h5z.filter_avail(number)):
            continue
        message = (
            f"{location}: '{place}' is compressed with {brief(name)} (HDF5 filter {number}), which needs a "
            "plugin that is not installed: pip install 'median_spark[h5ad]'"
        )
        raise InputError(message)


def compression_of(dataset: h5py.Dataset) -> str:
    """Return the names of a dataset's compressions, for people."""
    # Shuffling and checksums stand beside what compresses.
    beside = {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET}
    names = [brief(name) for number, name in _filters(dataset) if number not in beside]
    return ", ".join(names) or "uncompressed"


def _filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(place) for place in range(properties.get_nfilters())]
    return [
        (number, _FILTERS.get(number) or name.decode(errors="replace") or "an unknown filter")
        for number, _, _, name in filters
    ]


@cache
def _load_plugins() -> bool:
    """Let the package hdf5plugin, where it is installed, add its filters to HDF5."""
    try:
        import hdf5plugin  # noqa: F401  (importing it is what adds them)
    except ImportError:
        return False
    return True
