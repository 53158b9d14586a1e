"""Reading a file of a store at random places, as HDF5 does, without holding it in memory.

Ranges that were read are kept in a file in scratch space that has no name: it is gone when it is closed, and also when
its process is killed. First only the ranges that are asked for are fetched. Each request costs time, and a matrix that
is cut into small tiles asks for thousands of places; so once the requests have cost as much as fetching all that is
left, that is done, many ranges at a time. This is never much more than twice the cost of the best choice.

fsspec's caches make five to thirteen times as many requests for a loom, and map the copy into memory.
"""

import atexit
import errno
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import numpy as np

from median_spark.errors import InputError
from median_spark.storage.attempts import unreachable, with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.paths import FileStat, unexplained_stat

BLOCK_BYTES = 1 << 20
"""Bytes fetched at least."""

REQUEST_BYTES = 3 << 20
"""Bytes that could be fetched in the time that a request takes before its first byte: 30 ms at 100 MB/s."""

_RANGE_BYTES = 8 << 20
_RANGES_AT_ONCE = 8

SPARED_BYTES = 64 << 20
"""Scratch space that is left to others."""


def open_far(location: str) -> "ScratchFile[_Copy]":
    """Open a file of a store for reading at random places.

    FileNotFoundError or PermissionError if it is not there, or may not be read, StorageError if the store does not
    answer; InputError, here or at any read, if scratch space has no room for it.
    """
    return ScratchFile(_COPIES.borrow(location), _COPIES.give_back)


def release_far(location: str) -> None:
    """Free the scratch space of a file that will not be read again soon; nothing happens while it is open."""
    _COPIES.drop(location)


class HeldCopy(Protocol):
    """A copy in scratch space, whole or in part."""

    size: int

    def read(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset, fewer only at the end."""


Copy = TypeVar("Copy", bound=HeldCopy)


class ScratchFile(io.RawIOBase, Generic[Copy]):
    """A file in scratch space with a position; h5py reads from it as from any Python file."""

    def __init__(self, copy: Copy, give_back: Callable[[Copy], None]) -> None:
        self._copy = copy
        self._give_back = give_back
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
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
        """Return bytes from an offset, fewer only at the file's end."""
        return self._copy.read(length, offset)

    def readinto(self, room: Any) -> int:
        """Fill a buffer from the current offset, as far as the file goes."""
        view = memoryview(room).cast("B")
        content = self._copy.read(len(view), self._at)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        """Give the copy back."""
        if not self.closed:
            self._give_back(self._copy)
        super().close()


class _Copy:
    """The fetched blocks of one file of a store."""

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
        needed = sum(last - first for first, last in pieces) * BLOCK_BYTES
        free = free_bytes(self._room.fileno())
        if free < needed + SPARED_BYTES:
            self._refuse(needed, free)
        if len(pieces) == 1:
            self._fetch_piece(pieces[0])
            return
        with ThreadPoolExecutor(min(_RANGES_AT_ONCE, len(pieces))) as fetchers:
            list(fetchers.map(self._fetch_piece, pieces))

    def _fetch_piece(self, piece: tuple[int, int]) -> None:
        begin, end = piece[0] * BLOCK_BYTES, min(piece[1] * BLOCK_BYTES, self.size)

        def fetch() -> bytes:
            content: bytes = self._stream.read_at(end - begin, begin)
            if len(content) != end - begin:
                message = (
                    f"it has {len(content)} bytes from {begin} on where {end - begin} were expected: unexpected end"
                )
                raise OSError(message)
            return content

        try:
            content = memoryview(with_retries(self.file.path, fetch))
        except PermissionError as error:  # keys that ran out under way: the file is not damaged
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
        self._room = tempfile.TemporaryFile(prefix="median-spark-", dir=roomiest(), buffering=0)  # noqa: SIM115

    def _refuse(self, needed: int, free: int) -> NoReturn:
        no_room(self.file.path, f"{needed:,} bytes of it are needed", free)


class _Copies:
    """The copies of this process: those that are read, and the one that was read last, for its next reader."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}
        self._changing = threading.Lock()
        atexit.register(self.drop_all)
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def borrow(self, location: str) -> _Copy:
        """Return the copy of a file; one that is being read stays as it was when that began."""
        with self._changing:
            copy = self._copies.get(location)
            if copy is None or not copy.users:
                file = unexplained_stat(location)
                if file is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
                if copy is None or copy.file != file:
                    self._close_unused(self._copies)
                    copy = self._copies[location] = _Copy(file)
            copy.users += 1
            return copy

    def give_back(self, copy: _Copy) -> None:
        """Note that a reader is done."""
        with self._changing:
            copy.users -= 1

    def drop(self, location: str) -> None:
        """Close the copy of a file if nobody reads it."""
        with self._changing:
            self._close_unused([location])

    def drop_all(self) -> None:
        """Close all."""
        with self._changing:
            while self._copies:
                self._copies.popitem()[1].close()

    def _close_unused(self, locations: Iterable[str]) -> None:
        for location in list(locations):
            if location in self._copies and not self._copies[location].users:
                self._copies.pop(location).close()

    def _leave_to_parent(self) -> None:
        """Share none with the process that forked this one; its streams have their threads there."""
        self._changing = threading.Lock()
        self._inherited = self._copies
        self._copies = {}


_COPIES = _Copies()


def _gaps(held: Any, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield ranges that have all blocks in ``first <= block < last`` that are not held.

    A few held blocks between them are fetched again, as that is cheaper than another request.
    """
    missing = np.flatnonzero(~held[first:last]) + first
    if len(missing):
        for near in np.split(missing, np.flatnonzero(np.diff(missing) > REQUEST_BYTES // BLOCK_BYTES) + 1):
            yield int(near[0]), int(near[-1]) + 1


def no_room(location: str, needed: str, free: int) -> NoReturn:
    """Reject a file because scratch space has no room for what is `needed` of it; `free` bytes are left."""
    message = (
        f"{location}: {needed} in scratch space, and {roomiest()} has {free:,} bytes free: name a folder on a larger "
        "disk with SPARK_LOCAL_DIRS, or TMPDIR where Spark sets none"
    )
    raise InputError(message)


def free_bytes(file: int) -> int:
    """Return the bytes that are free on the disk of an open file."""
    disk = os.fstatvfs(file)
    return disk.f_bavail * disk.f_frsize


def roomiest() -> str:
    """Return the folder for scratch files with the most space: one of Spark's, or else the system's for such files."""
    named = [folder for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if folder and Path(folder).is_dir()]
    writable = [folder for folder in named if os.access(folder, os.W_OK)]
    return max(writable or [tempfile.gettempdir()], key=lambda folder: shutil.disk_usage(folder).free)
