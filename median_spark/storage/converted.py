"""Copies of files in another form, such as decompressed, each made once per machine in scratch space.

A copy has no name: it is gone when the last process that holds it closes it, ends, or is killed. On Linux, other
processes of the same user find a large one among open files (`/proc`); elsewhere each process makes its own.
"""

import atexit
import contextlib
import errno
import fcntl
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NoReturn

from median_spark.guard import beat
from median_spark.storage.paths import FileStat
from median_spark.storage.scratch import SPARED_BYTES, ScratchFile, free_bytes, no_room, roomiest

_CHECKED_BYTES = 64 << 20
"""Bytes to write between two looks at the free space."""

SHARED_BYTES = 16 << 20
"""Bytes of the files from which on a copy is shared: of smaller ones it takes no longer to make another."""

_COMPLETE, _INCOMPLETE = 0o400, 0o600
"""Permissions of a copy, which tell other processes whether it is complete."""

_POLL_SECONDS = 0.05

_LONGEST_FOLDER_LOCK = 5.0
"""Seconds to wait for the lock of the scratch folder: it is held for milliseconds, or by somebody else."""


class ScratchWriter:
    """A file in scratch space that is being written; InputError, naming `location`, if the disk has no room for it."""

    def __init__(self, location: str, file: int) -> None:
        self._location = location
        self._file = file
        self._unchecked = _CHECKED_BYTES
        self.size = 0

    def append(self, content: Any) -> None:
        """Write at the end."""
        self.write_at(content, self.size)

    def write_at(self, content: Any, offset: int) -> None:
        """Write a buffer at an offset."""
        view = memoryview(content).cast("B")
        self._unchecked += len(view)
        if self._unchecked >= _CHECKED_BYTES:
            self._unchecked = 0
            if free_bytes(self._file) < len(view) + SPARED_BYTES:
                self._refuse()
        try:
            while view:
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                self._refuse()
            raise
        self.size = max(self.size, offset)

    def read_into(self, room: Any, offset: int) -> None:
        """Fill a buffer with what was written at an offset."""
        view = memoryview(room).cast("B")
        while view:
            filled = os.preadv(self._file, [view], offset)
            if not filled:
                message = f"{self._location}: what was written to scratch space is not there any more"
                raise OSError(message)
            view, offset = view[filled:], offset + filled

    def _refuse(self) -> NoReturn:
        no_room(self._location, f"it becomes more than {self.size:,} bytes", free_bytes(self._file))


@contextlib.contextmanager
def scratch_writer(location: str) -> Iterator[ScratchWriter]:
    """Give a file in scratch space for intermediate results, which is gone afterwards."""
    file = _unnamed(f"{_PREFIX}{os.getpid()}")
    try:
        yield ScratchWriter(location, file)
    finally:
        os.close(file)


def open_converted(
    location: str, form: str, files: Sequence[FileStat], make: Callable[[ScratchWriter], None]
) -> "ScratchFile[_Copy]":
    """Open what `make` writes; a copy of the same files in the same form is reused.

    That of another process is, too, if the files have at least `SHARED_BYTES`.

    Parameters
    ----------
    location : str
        File to name in messages.
    form : str
        Identity of the copy, with everything that it depends on beside the files.
    files : sequence of FileStat
        Files that the copy is made from, in their present state.
    make : callable
        Writes the whole copy; called again if another process could not finish it.
    """
    key = hashlib.sha256(repr((form, [astuple(file) for file in files])).encode()).hexdigest()[:32]
    shared = sys.platform == "linux" and sum(file.size for file in files) >= SHARED_BYTES
    return ScratchFile(_COPIES.borrow(key, location, make, shared=shared), _COPIES.give_back)


def release_converted() -> None:
    """Free the scratch space of copies that are not open."""
    _COPIES.drop_unused()


_PREFIX = "median-spark-"


class _Copy:
    """One copy that this process holds."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.size = os.fstat(file).st_size
        self.users = 0

    def read(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset, fewer only at the end."""
        parts = []
        while length > 0 and (part := os.pread(self.file, length, offset)):  # Linux reads at most 2 GB at once
            parts.append(part)
            length, offset = length - len(part), offset + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Copies:
    """The copies of this process: those that are open, and the one that was opened last, for its next reader."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}
        self._changing = threading.RLock()
        atexit.register(self.drop_unused)
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def borrow(self, key: str, location: str, make: Callable[[ScratchWriter], None], *, shared: bool) -> _Copy:
        with self._changing:
            copy = self._copies.get(key)
            if copy is None:
                self.drop_unused()
                copy = self._copies[key] = _Copy(_found_or_made(key, location, make, shared=shared))
            copy.users += 1
            return copy

    def give_back(self, copy: _Copy) -> None:
        with self._changing:
            copy.users -= 1

    def drop_unused(self) -> None:
        with self._changing:
            for key in [key for key, copy in self._copies.items() if not copy.users]:
                os.close(self._copies.pop(key).file)

    def _leave_to_parent(self) -> None:
        """Share none with the process that forked this one: it may close them at any time."""
        self._changing = threading.RLock()
        self._copies = {}


_COPIES = _Copies()


def _found_or_made(key: str, location: str, make: Callable[[ScratchWriter], None], *, shared: bool) -> int:
    """Return a file descriptor of a complete copy."""
    file = _found_or_begun(key) if shared else _unnamed(f"{_PREFIX}{os.getpid()}")
    if os.fstat(file).st_mode & 0o777 == _COMPLETE:
        return file
    try:
        make(ScratchWriter(location, file))
        os.fchmod(file, _COMPLETE)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BaseException:
        os.close(file)
        raise
    return file


def _found_or_begun(key: str) -> int:
    """Return a file descriptor of a complete copy, or of an empty one that others wait for."""
    while True:
        with _folder_locked():
            file = _find(key)
            if file is None:
                file = _unnamed(f"{_PREFIX}{key}-{os.getpid()}")
                fcntl.flock(file, fcntl.LOCK_EX)
                return file
        if _is_complete(file):
            return file
        os.close(file)  # its maker failed


def _unnamed(name: str) -> int:
    """Create a file in scratch space and take its name away; `/proc` still shows which name it had."""
    path = Path(roomiest()) / name
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of a process that was killed between these lines
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _INCOMPLETE)
    path.unlink()
    return file


def _find(key: str) -> int | None:
    """Open a copy that a process of this user holds, None if there is none; it may be incomplete."""
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # the process has ended, or is somebody else's
            if descriptors.stat().st_uid != os.getuid():
                continue
            for descriptor in os.scandir(descriptors):
                if f"/{_PREFIX}{key}-" in (target := _target(descriptor.path)) and target.endswith(" (deleted)"):
                    return os.open(descriptor.path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _target(descriptor: str) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile
        return os.readlink(descriptor)  # noqa: PTH115 (there are many)
    return ""


def _is_complete(file: int) -> bool:
    """Wait for the process that makes a copy, and say whether it did."""
    while True:
        state = os.fstat(file)
        if state.st_uid == os.getuid() and state.st_nlink == 0 and state.st_mode & 0o777 == _COMPLETE:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            beat()
            time.sleep(_POLL_SECONDS)
            continue
        fcntl.flock(file, fcntl.LOCK_UN)
        return os.fstat(file).st_mode & 0o777 == _COMPLETE


@contextlib.contextmanager
def _folder_locked() -> Iterator[None]:
    """Let one process at a time look for copies and begin them, in one folder."""
    folder = os.open(roomiest(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + _LONGEST_FOLDER_LOCK
        while time.monotonic() < until:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_POLL_SECONDS / 10)
        yield
    finally:
        os.close(folder)
