"""The only right to write to a folder, held while a block runs."""

import contextlib
import errno
import fcntl
import getpass
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from median_spark.errors import BusyError, OutputError
from median_spark.storage.paths import is_local, make_folder, reason

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a disk answers that cannot lock."""


@contextlib.contextmanager
def locked(folder: str, purpose: str) -> Iterator[None]:
    """Hold the only right to write to a folder while the block runs.

    The right is an advisory lock of the operating system on ``folder/lock``: it ends with the process that holds it,
    however that process ends, so that a killed run leaves nothing to clear away. Object stores and some network disks
    have no such lock; there the block runs without one.

    Parameters
    ----------
    folder : str
        What is to be written to; created if need be.
    purpose : str
        What this run does, for the message that a second run gets.

    Raises
    ------
    BusyError
        If another run holds the right; it is named by process, host, user and start.
    OutputError
        If the folder cannot be written to.
    """
    make_folder(folder)
    if not is_local(folder):
        yield
        return
    path = Path(folder) / "lock"
    try:
        handle = path.open("a+")
    except OSError as error:
        message = f"{folder}: this folder cannot be written to ({reason(error)})"
        raise OutputError(message) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another run"
            message = f"{folder}: {holder} is writing here; wait for it to end, or stop it, and run this again"
            raise BusyError(message) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            yield
            return
        handle.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        handle.write(
            f"'{purpose}' (process {os.getpid()} on {socket.gethostname()}, user {_user()}, since {started})\n"
        )
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
