"""Reading files from their beginning to their end, decompressed where they are gzipped.

A matrix that was gzipped whole is decompressed into scratch space, because its readers go to any place in it.
"""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.storage.attempts import with_retries
from median_spark.storage.converted import ScratchWriter, open_converted
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import is_local
from median_spark.storage.paths import unexplained_stat
from median_spark.storage.scratch import ScratchFile

ENDING = ".gz"
"""Ending of matrices that were gzipped whole."""

_MAGIC = b"\x1f\x8b"

_BLOCK_BYTES = 1 << 20
_FAR_BLOCK_BYTES = 8 << 20
"""Bytes to read at once of a local file, and of one in a store."""


class ForwardStream(io.RawIOBase):
    """The bytes of a file from its beginning on, decompressed if it is `gzipped`; InputError where gzip is damaged."""

    def __init__(self, location: str, stored: io.BufferedReader) -> None:
        self._location = location
        self.gzipped = stored.peek(len(_MAGIC)).startswith(_MAGIC)
        self._content: Any = gzip.GzipFile(fileobj=stored, mode="rb") if self.gzipped else stored

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, room: Any) -> int:
        """Fill a buffer with the next bytes."""
        beat()
        view = memoryview(room).cast("B")
        try:
            content = self._content.read(len(view))
        except EOFError as error:
            message = f"{self._location}: this gzip file is cut off: copy it again from where it came"
            raise InputError(message) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            message = f"{self._location}: this gzip file is damaged ({error}): copy it again from where it came"
            raise InputError(message) from error
        view[: len(content)] = content
        return len(content)


class _Stored(io.RawIOBase):
    """The bytes of a file as they are stored."""

    def __init__(self, location: str, file: Any) -> None:
        self._location = location
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        view = memoryview(room).cast("B")
        content = with_retries(self._location, lambda: self._file.read_at(len(view), self._at))
        self._at += len(content)
        view[: len(content)] = content
        return len(content)


@contextlib.contextmanager
def open_forward(location: str) -> Iterator[ForwardStream]:
    """Give a file's bytes from its beginning on, decompressed if it is gzipped, whatever its name.

    FileNotFoundError or PermissionError if it is not there, or may not be read; StorageError if a store does not
    answer.
    """
    filesystem, path = resolve(location)
    with with_retries(location, lambda: filesystem.open_input_file(path)) as file:
        block = _BLOCK_BYTES if is_local(location) else _FAR_BLOCK_BYTES
        yield ForwardStream(location, io.BufferedReader(_Stored(location, file), block))


def is_gzipped_matrix(location: str) -> bool:
    """Say whether a location is by its name a file that was gzipped whole."""
    return location.lower().endswith(ENDING)


def open_decompressed(location: str) -> ScratchFile[Any]:
    """Open what a gzipped file holds at random places: it is decompressed into scratch space, once per machine.

    FileNotFoundError or PermissionError if it is not there, or may not be read; InputError if it is not gzipped,
    damaged, or scratch space has no room for it; StorageError if a store does not answer.
    """

    def make(scratch: ScratchWriter) -> None:
        with open_forward(location) as stream:
            if not stream.gzipped:
                message = f"{location}: its name ends in {ENDING}, but it is not a gzip file: rename it"
                raise InputError(message)
            while content := stream.read(_BLOCK_BYTES):
                scratch.append(content)

    file = unexplained_stat(location)
    if file is None:
        raise FileNotFoundError(location)
    return open_converted(location, "decompressed", [file], make)
