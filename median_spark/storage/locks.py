"""The only right to write to a folder, held while a block runs."""

import contextlib
import errno
import fcntl
import getpass
import os
import stat
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Protocol

from median_spark.errors import BusyError, OutputError
from median_spark.storage.leases import leased
from median_spark.storage.locations import is_local
from median_spark.storage.machine import host_name
from median_spark.storage.paths import make_folder, reason

LOCK = "lock"
"""What a right is called in its folder: a file on a disk; on a store a file for each who asks for it."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a disk answers that cannot lock."""


class Lease(Protocol):
    """The right to write to a folder."""

    def require(self) -> None:
        """Return if it is still held; to be called before what others see is changed.

        Raises
        ------
        BusyError
            If it was lost: a store knows no locks, only claims that are renewed, and this one was not for too long.
        """


class _Kept:
    """A right that is never lost before it is given up."""

    def require(self) -> None:
        """Return."""


@contextlib.contextmanager
def locked(folder: str, purpose: str) -> Iterator[Lease]:
    """Hold the only right to write to a folder while the block runs.

    On a disk the right is an advisory lock of the operating system on ``folder/lock``: it ends with the process that
    holds it, however that process ends, so that a killed run leaves nothing to clear away. Some network disks have no
    such lock; there the block runs without one. On object stores and HDFS it is a lease, see
    `median_spark.storage.leases`.

    Parameters
    ----------
    folder : str
        What is to be written to; created if need be.
    purpose : str
        What this run does, for the message that a second run gets.

    Yields
    ------
    Lease
        To be asked, now and then, whether it is still held.

    Raises
    ------
    BusyError
        If another run holds the right; it is named by process, host, user and start.
    OutputError
        If the folder cannot be written to.
    """
    make_folder(folder)
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    holder = f"'{purpose}' (process {os.getpid()} on {host_name()}, user {_user()}, since {started})"
    with _flocked(folder, holder) if is_local(folder) else leased(folder, LOCK, holder) as right:
        yield right


@contextlib.contextmanager
def _flocked(folder: str, holder: str) -> Iterator[Lease]:
    """Hold the operating system's lock on a local folder while the block runs."""
    with _open_lock(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = handle.read().decode(errors="replace").strip() or "another run"
            message = f"{folder}: {other} is writing here; wait for it to end, or stop it, and run this again"
            raise BusyError(message) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            yield _Kept()
            return
        _tell_holder(handle, f"{holder}\n")
        try:
            yield _Kept()
        finally:
            _tell_holder(handle, "")


def _open_lock(folder: str) -> FileIO:
    """Open the lock of a folder for writing, and nothing that somebody put there in its place."""
    path = Path(folder) / LOCK
    try:
        # Not to append: volumes of Databricks, and other disks that are object stores beneath, cannot do that.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise _planted(path) from error
        message = f"{folder}: this folder cannot be written to ({reason(error)})"
        raise OutputError(message) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise _planted(path)
    return FileIO(descriptor, "r+b")


def _planted(path: Path) -> OutputError:
    return OutputError(
        f"{path}: this must be a file of its own, for it is written to, and it is a link or something else: remove it"
    )


def _tell_holder(handle: FileIO, holder: str) -> None:
    """Say in the file who holds the right, which is held all the same where a disk cannot change a file's content."""
    with contextlib.suppress(OSError):
        handle.seek(0)
        handle.truncate()
        handle.write(holder.encode())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
