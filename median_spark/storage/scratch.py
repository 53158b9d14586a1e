"""Reading a file of a store at random places, as HDF5 does, without holding it in memory.

What has been read of it lies in a file in scratch space that has no name: it is gone when it is closed, and also when
its process is killed. First only the ranges that are asked for are fetched. Each request costs time, and a matrix that
is cut into small tiles asks for thousands of places; so once the requests have cost as much as fetching all that is
left, that is done, many ranges at a time. This is never much more than twice the cost of what would have been best.
"""

import atexit
import errno
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pyarrow import fs

from median_spark.errors import InputError
from median_spark.storage.attempts import unreachable, with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import is_local
from median_spark.storage.paths import FileStat, unexplained_stat

BLOCK_BYTES = 1 << 20
"""What is fetched at least."""

REQUEST_BYTES = 3 << 20
"""What could be fetched in the time that a request takes before its first byte: 30 ms at 100 MB/s."""

_RANGE_BYTES = 8 << 20
_RANGES_AT_ONCE = 8

_SPARED_BYTES = 64 << 20
"""Of scratch space that is left to others."""


def open_random(location: str) -> Any:
    """Open a file for reading at random places.

    Parameters
    ----------
    location : str
        Canonical path or URI.

    Returns
    -------
    pyarrow.NativeFile or ScratchFile
        With ``read``, ``seek``, ``tell``, ``close``, ``read_at(length, offset)`` and ``size()``.

    Raises
    ------
    FileNotFoundError, PermissionError
        If it is not there, or may not be read.
    StorageError
        If a store does not answer.
    InputError
        Here or at any read, if there is no room for it in scratch space.
    """
    if is_local(location):
        return fs.LocalFileSystem().open_input_file(location)
    return ScratchFile(_COPIES.borrow(location))


def release(location: str) -> None:
    """Free the scratch space of a file that will not be read again soon; nothing happens while it is open."""
    _COPIES.drop(location)


class ScratchFile(io.RawIOBase):
    """A place in a file of a store; h5py reads from it as from any Python file."""

    def __init__(self, copy: "_Copy") -> None:
        self._copy = copy
        self._at = 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._copy.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def size(self) -> int:
        """Return the bytes of the file."""
        return self._copy.size

    def read_at(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset on, fewer only where the file ends."""
        return self._copy.read(length, offset)

    def readinto(self, room: Any) -> int:
        """Fill a buffer from where it is, as far as the file goes."""
        view = memoryview(room).cast("B")
        found = self._copy.read(len(view), self._at)
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        """Give the copy back."""
        if not self.closed:
            _COPIES.give_back(self._copy)
        super().close()


class _Copy:
    """What is here of one file of a store."""

    def __init__(self, file: FileStat) -> None:
        self.file = file
        self.size = file.size
        self.users = 0
        self._held = np.zeros(-(-file.size // BLOCK_BYTES), dtype=np.bool_)
        self._spent = 0
        self._fetching = threading.Lock()
        self._stream: Any = None
        self._room: Any = None

    def read(self, length: int, offset: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        self._need(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))
        return os.pread(self._room.fileno(), length, offset)

    def close(self) -> None:
        for opened in (self._stream, self._room):
            if opened is not None:
                opened.close()
        self._stream = self._room = None

    def _need(self, first: int, last: int) -> None:
        """Fetch the blocks ``first <= block < last`` that are not here; or all, once that is the cheaper way."""
        if self._held[first:last].all():
            return
        with self._fetching:
            gaps = list(_gaps(self._held, first, last))
            if not gaps:
                return
            missing = int((~self._held).sum()) * BLOCK_BYTES
            if self._spent + len(gaps) * REQUEST_BYTES >= missing:
                gaps = list(_gaps(self._held, 0, len(self._held)))
            else:
                self._spent += len(gaps) * REQUEST_BYTES
            self._fetch(gaps)

    def _fetch(self, gaps: list[tuple[int, int]]) -> None:
        """Fetch ranges of blocks, in pieces, several at a time."""
        if self._room is None:
            self._open()
        step = _RANGE_BYTES // BLOCK_BYTES
        pieces = [(start, min(start + step, last)) for first, last in gaps for start in range(first, last, step)]
        self._check_room(sum(last - first for first, last in pieces) * BLOCK_BYTES)
        if len(pieces) == 1:
            self._fetch_piece(pieces[0])
            return
        with ThreadPoolExecutor(min(_RANGES_AT_ONCE, len(pieces))) as fetchers:
            list(fetchers.map(self._fetch_piece, pieces))

    def _fetch_piece(self, piece: tuple[int, int]) -> None:
        begin, end = piece[0] * BLOCK_BYTES, min(piece[1] * BLOCK_BYTES, self.size)

        def fetch() -> bytes:
            found: bytes = self._stream.read_at(end - begin, begin)
            if len(found) != end - begin:
                message = f"it has {len(found)} bytes from {begin} on where {end - begin} were expected: unexpected end"
                raise OSError(message)
            return found

        try:
            content = memoryview(with_retries(self.file.path, fetch))
        except PermissionError as error:  # keys that ran out under way: what HDF5 reads from is not damaged
            raise unreachable(self.file.path, error) from error
        at = begin
        try:
            while content:
                written = os.pwrite(self._room.fileno(), content, at)
                content, at = content[written:], at + written
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._refuse(end - begin, 0)
            raise
        self._held[piece[0] : piece[1]] = True

    def _open(self) -> None:
        filesystem, path = resolve(self.file.path)
        self._stream = with_retries(self.file.path, lambda: filesystem.open_input_file(path))
        # On Linux such a file never has a name, elsewhere it loses it at once.
        self._room = tempfile.TemporaryFile(prefix="median-spark-", dir=_roomiest(), buffering=0)  # noqa: SIM115

    def _check_room(self, needed: int) -> None:
        statistics = os.fstatvfs(self._room.fileno())
        free = statistics.f_bavail * statistics.f_frsize
        if free < needed + _SPARED_BYTES:
            self._refuse(needed, free)

    def _refuse(self, needed: int, free: int) -> None:
        message = (
            f"{self.file.path}: {needed:,} bytes of it are needed in scratch space, and {_roomiest()} has {free:,} "
            "bytes free: name a folder on a larger disk with SPARK_LOCAL_DIRS, or TMPDIR where Spark sets none"
        )
        raise InputError(message)


class _Copies:
    """The copies of this process: those that are read, and the one that was read last, for who comes for it again."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}
        self._changing = threading.Lock()
        atexit.register(self.drop_all)
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def borrow(self, location: str) -> _Copy:
        """Return the copy of a file; one that is being read stays what it was when that began."""
        with self._changing:
            copy = self._copies.get(location)
            if copy is None or not copy.users:
                found = unexplained_stat(location) or _missing(location)
                if copy is None or copy.file != found:
                    self._close_unused()
                    copy = self._copies[location] = _Copy(found)
            copy.users += 1
            return copy

    def give_back(self, copy: _Copy) -> None:
        """Tell that a reader is done."""
        with self._changing:
            copy.users -= 1

    def drop(self, location: str) -> None:
        """Close the copy of a file if nobody reads it."""
        with self._changing:
            copy = self._copies.get(location)
            if copy is not None and not copy.users:
                self._copies.pop(location).close()

    def drop_all(self) -> None:
        """Close all."""
        with self._changing:
            while self._copies:
                self._copies.popitem()[1].close()

    def _close_unused(self) -> None:
        for location in [location for location, copy in self._copies.items() if not copy.users]:
            self._copies.pop(location).close()

    def _leave_to_parent(self) -> None:
        """Share none with the process that forked this one; its streams have their threads there."""
        self._changing = threading.Lock()
        self._inherited = self._copies
        self._copies = {}


_COPIES = _Copies()


def _missing(location: str) -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)


def _gaps(held: Any, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield ranges that have all blocks in ``first <= block < last`` that are not held.

    A few between them that are held are fetched again, for that is cheaper than another request.
    """
    missing = np.flatnonzero(~held[first:last]) + first
    if len(missing):
        for together in np.split(missing, np.flatnonzero(np.diff(missing) > REQUEST_BYTES // BLOCK_BYTES) + 1):
            yield int(together[0]), int(together[-1]) + 1


def _roomiest() -> str:
    """Return the folder for scratch files with the most space: one of Spark's, or else the system's for such files."""
    named = [folder for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if folder and Path(folder).is_dir()]
    writable = [folder for folder in named if os.access(folder, os.W_OK)]
    return max(writable or [tempfile.gettempdir()], key=lambda folder: shutil.disk_usage(folder).free)
