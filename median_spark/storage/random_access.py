"""Opening a matrix file at random places, wherever it is and whether or not it was gzipped whole."""

from typing import Any

from pyarrow import fs

from median_spark.storage.converted import release_converted
from median_spark.storage.gzipped import is_gzipped_matrix, open_decompressed
from median_spark.storage.locations import is_local
from median_spark.storage.scratch import open_far, release_far


def open_random(location: str) -> Any:
    """Open a canonical location for reading at random places; of a matrix that was gzipped whole, what it holds.

    Returns a file with ``read``, ``seek``, ``tell``, ``close``, ``size()`` and ``read_at(length, offset)``.
    FileNotFoundError or PermissionError if it is not there, or may not be read, StorageError if a store does not
    answer; InputError, here or at any read, if gzip is damaged, or scratch space has no room for it.
    """
    if is_gzipped_matrix(location):
        return open_decompressed(location)
    return fs.LocalFileSystem().open_input_file(location) if is_local(location) else open_far(location)


def is_plain_file(location: str) -> bool:
    """Say whether a location is a path on this machine whose bytes are the matrix's own."""
    return is_local(location) and not is_gzipped_matrix(location)


def release(location: str) -> None:
    """Free the scratch space of a file that will not be read again soon; nothing happens while it is open."""
    release_far(location)
    release_converted()
