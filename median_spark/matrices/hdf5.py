"""What the HDF5 formats share: opening with clear errors, and decoding string arrays."""

import contextlib
import html
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import InputError


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
    """
    stream = None
    try:
        if storage.is_local(location):
            return h5py.File(location, "r", locking=False), None
        filesystem, path = storage.resolve(location)
        stream = filesystem.open_input_file(path)
        return h5py.File(stream, "r"), stream
    except OSError as error:
        if stream is not None:
            stream.close()
        raise InputError(f"{location}: {_why_unreadable(location, error)}") from error  # noqa: EM102


def _why_unreadable(location: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this file may not be read by this user"
    found = storage.stat(location)
    if found is not None and found.size == 0:
        return "this file is empty (0 bytes)"
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
        In place of whatever h5py raises: OSError, RuntimeError, KeyError, and TypeError or ValueError where a type or
        a name is beyond recognition.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        message = f"{location}: {what} cannot be read; the file is damaged ({error})"
        raise InputError(message) from error


def read_strings(dataset: h5py.Dataset, *, unescape: bool = False) -> npt.NDArray[np.str_]:
    """Return a dataset of strings or numbers as strings.

    Parameters
    ----------
    dataset : h5py.Dataset
        Strings of fixed or variable length, in ASCII or UTF-8, or numbers.
    unescape : bool
        Whether XML entities stand for characters, as in loom files before specification 3.
    """
    found = dataset[()]
    if found.dtype.kind in "OS":
        texts = [
            text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)
            for text in found.ravel().tolist()
        ]
        if unescape:
            texts = [html.unescape(text) for text in texts]
        return np.array(texts, dtype=np.str_) if texts else np.array([], dtype="<U1")
    return np.asarray(found).ravel().astype(np.str_)
