"""The only right to write to a folder, held while a block runs.

On a disk it is an advisory lock of the operating system on ``folder/lock``: it ends with the process that holds it,
however that process ends, so that a killed run leaves nothing to clear away. Some network disks have no such lock;
there the block runs without one.

On a store, which has no locks, a run writes a claim, a small file of a name that nobody else uses, and then lists the
claims. Stores show in a listing all that was written before it, so that of two who claim at once at least one sees the
other; whoever sees another's withdraws. A claim is renewed while its run lives, and is void once it has not been for
five minutes by the store's own clock, or once its process on this very machine has ended. A holder that could not renew
its claim for half that time counts it as lost, and changes nothing any more.
"""

import contextlib
import errno
import fcntl
import getpass
import json
import os
import random
import re
import socket
import stat as modes
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from median_spark.errors import BusyError, MedianSparkError, OutputError, StorageError
from median_spark.storage.locations import is_local, join
from median_spark.storage.paths import FileStat, files_below, make_folder, read_bytes, reason, remove, stat
from median_spark.storage.writing import write_json

_LOCK = "lock"
"""Name in the folder: of a file on a disk, of a folder of claims on a store."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Answers of a disk that cannot lock."""

_RENEWED_SECONDS, _LOST_SECONDS, _VOID_SECONDS = 30.0, 150.0, 300.0

_YOUNG_SECONDS = 10.0
"""Another's claim that is not older may be about to be withdrawn: claim again."""

_CLAIMS = 4


class Lease:
    """The only right to write to a folder; that of a lock is never lost before it is released."""

    def require(self) -> None:
        """Return if it is still held, else raise BusyError; call this before changing what others see."""


@contextlib.contextmanager
def locked(folder: str, purpose: str) -> Iterator[Lease]:
    """Hold the only right to write to a folder, which is created if need be, while the block runs.

    `purpose` is for the message that a second run gets: BusyError, with this process, host, user and start. OutputError
    if the folder cannot be written to.
    """
    make_folder(folder)
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    holder = f"'{purpose}' (process {os.getpid()} on {host_name()}, user {_user()}, since {started})"
    if is_local(folder):
        with _flocked(folder, holder):
            yield Lease()
        return
    lease = _Claim(folder, holder)
    lease.claim()
    try:
        yield lease
    finally:
        lease.release()


@contextlib.contextmanager
def _flocked(folder: str, holder: str) -> Iterator[None]:
    """Hold the operating system's lock on a local folder while the block runs, where the disk can lock."""
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
            yield
            return
        _name_holder(handle, f"{holder}\n")
        try:
            yield
        finally:
            _name_holder(handle, "")


def _open_lock(folder: str) -> FileIO:
    """Open the lock of a folder for writing, and nothing that somebody put there in its place."""
    path = Path(folder) / _LOCK
    planted = OutputError(
        f"{path}: this must be a file of its own, for it is written to, and it is a link or something else: remove it"
    )
    try:
        # Not to append: volumes of Databricks, and other disks that are object stores beneath, cannot do that.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if os.path.lexists(path) and not modes.S_ISREG(path.lstat().st_mode):
            raise planted from error
        message = f"{folder}: this folder cannot be written to ({reason(error)})"
        raise OutputError(message) from error
    status = os.fstat(descriptor)
    if not modes.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise planted
    return FileIO(descriptor, "r+b")


def _name_holder(handle: FileIO, holder: str) -> None:
    """Write into the lock who holds it; it is held also where a disk cannot change a file's content."""
    with contextlib.suppress(OSError):
        handle.seek(0)
        handle.truncate()
        handle.write(holder.encode())


class _Claim(Lease):
    """A claim to a folder of a store, and the thread that renews it."""

    def __init__(self, folder: str, holder: str) -> None:
        self._folder = folder
        self._claims = join(folder, _LOCK)
        self._own = join(self._claims, f"{uuid.uuid4().hex}.json")
        self._content = {"holder": holder, "process": _this_process()}
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="median-spark lease", daemon=True)
        self._renewed = 0.0
        self._trouble: Exception | None = None
        self._taken = False

    def claim(self) -> None:
        """Get the right, and keep it until `release`; BusyError if another holds it."""
        for attempt in range(1, _CLAIMS + 1):
            try:
                self._write()
                others = self._valid_others()
            except BaseException:
                remove(self._own)
                raise
            if not others:
                self._renewer.start()
                return
            remove(self._own)
            mature = [other for other in others if other.age > _YOUNG_SECONDS]
            if mature or attempt == _CLAIMS:
                other = (mature or others)[0]
                message = (
                    f"{self._folder}: {other.holder} is writing here; last heartbeat {other.age:,.0f} s ago; "
                    f"wait for it to end, or stop it, and run this again (if it is gone, its claim ends "
                    f"{_VOID_SECONDS / 60:.0f} minutes after its last heartbeat, or when {other.location} is deleted)"
                )
                raise BusyError(message)
            time.sleep(random.uniform(0.5, 2.0) * attempt)

    def require(self) -> None:
        """Return if the right is still held, else raise BusyError."""
        silent = _now() - self._renewed
        if self._taken or silent > _LOST_SECONDS:
            unrenewed = f"it could not be renewed for {silent:,.0f} seconds"
            why = unrenewed if silent > _LOST_SECONDS else "its claim was deleted"
            trouble = f": {self._trouble}" if self._trouble else ""
            message = f"{self._folder}: the right to write here was lost ({why}{trouble}); run this again: it resumes"
            raise BusyError(message)

    def release(self) -> None:
        """Let others have the right."""
        self._ended.set()
        self._renewer.join()
        with contextlib.suppress(StorageError):  # then it becomes void by itself
            remove(self._own)

    def _write(self) -> None:
        before = _now()  # its validity is counted from before the store's clock stamps it
        write_json(self._own, self._content)
        self._renewed = before

    def _renew(self) -> None:
        while not self._ended.wait(_RENEWED_SECONDS):
            try:
                # Once it counts as lost it stays lost: it must not be renewed behind the back of who took it over.
                if stat(self._own) is None or _now() - self._renewed > _LOST_SECONDS:
                    self._taken = True
                    return
                self._write()
                self._trouble = None
            except MedianSparkError as error:  # raised by `require` if it goes on
                self._trouble = error

    def _valid_others(self) -> list["_OtherClaim"]:
        """Return the claims of others that are not void; those that are, are removed."""
        files = files_below(self._claims)
        now = next((file.mtime_ns for file in files if file.path == self._own), None)
        if now is None:
            message = f"{self._folder}: the store does not show a file that was just written there; it cannot be shared"
            raise OutputError(message)
        others = []
        for file in files:
            other = _read_claim(file, now) if file.path != self._own else None
            if other is not None and other.is_void:
                remove(other.location)
            elif other is not None:
                others.append(other)
        return others


@dataclass(frozen=True)
class _OtherClaim:
    """Another run's claim as it is found."""

    location: str
    holder: str
    age: float  # seconds since it was written, by the store's clock
    is_void: bool


def _read_claim(file: FileStat, now: int) -> _OtherClaim | None:
    """Return a claim, or None if it was withdrawn since it was listed; one that cannot be read holds, too."""
    try:
        content = json.loads(read_bytes(file.path))
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    claim = content if isinstance(content, dict) else {}
    age = max(0.0, (now - file.mtime_ns) / 1e9)
    void = age > _VOID_SECONDS or _has_ended(claim.get("process"))
    return _OtherClaim(file.path, str(claim.get("holder", "another run")), age, void)


def _this_process() -> dict[str, str | int]:
    """Return what distinguishes this process from any other, here and elsewhere; empty where nothing does."""
    try:
        return {
            "host": host_name(),
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "namespace": str(Path("/proc/self/ns/pid").readlink()),
            "pid": os.getpid(),
            "start": _start_of(os.getpid()),
        }
    except OSError:  # no Linux
        return {}


def _has_ended(process: object) -> bool:
    """Say whether a process of this machine is known to have ended; if in doubt, it lives."""
    here = _this_process()
    if not here or not isinstance(process, dict):
        return False
    if any(process.get(field) != here[field] for field in ("host", "boot", "namespace")):
        return False
    pid, start = process.get("pid"), process.get("start")
    if not isinstance(pid, int) or not isinstance(start, int):
        return False
    try:
        return _start_of(pid) != start
    except (FileNotFoundError, ProcessLookupError):
        return True


def _start_of(pid: int) -> int:
    """Return the start of a process, in clock ticks since the machine's."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


def _now() -> float:
    """Return seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def host_name() -> str:
    """Return this machine's name, fit for a file's name: signs other than ``.``, ``_`` and ``-`` are replaced."""
    try:
        name = socket.gethostname()
    except (OSError, UnicodeError):  # a name that is not text
        name = ""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64] or "unnamed-host"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
