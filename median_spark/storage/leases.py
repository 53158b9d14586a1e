"""The only right to write to a folder of a store that has no locks.

Whoever wants it writes a claim, a small file of a name that nobody else uses, and then lists the claims. Stores show in
a listing all that was written before it, so that of two who claim at once at least one sees the other; whoever sees
another's withdraws. A claim is renewed while its run lives, and is void once it has not been for five minutes by the
store's own clock, or once its process on this very machine has ended. A holder that could not renew its claim for half
that time counts it as lost, and changes nothing any more.
"""

import contextlib
import json
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from median_spark.errors import BusyError, MedianSparkError, OutputError, StorageError
from median_spark.storage.atomic_write import write_json
from median_spark.storage.locations import join
from median_spark.storage.machine import host_name
from median_spark.storage.paths import FileStat, files_below, read_bytes, remove, stat

_RENEWED_SECONDS = 30.0
_VOID_SECONDS = 300.0
_LOST_SECONDS = 150.0

_YOUNG_SECONDS = 10.0
"""Another's claim that is not older than this may be about to be withdrawn: one asks again."""

_CLAIMS = 4


@contextlib.contextmanager
def leased(folder: str, name: str, holder: str) -> Iterator["Lease"]:
    """Hold the only right to write to a folder while the block runs.

    Parameters
    ----------
    folder : str
        Canonical URI.
    name : str
        Of the folder in it that the claims go to.
    holder : str
        Who this is, for the message that a second run gets.

    Raises
    ------
    BusyError
        If another run holds the right; it is named.
    OutputError
        If nothing can be written there.
    """
    lease = Lease(folder, name, holder)
    lease.claim()
    try:
        yield lease
    finally:
        lease.give_up()


class Lease:
    """A claim to a folder, and the thread that renews it."""

    def __init__(self, folder: str, name: str, holder: str) -> None:
        self._folder = folder
        self._claims = join(folder, name)
        self._own = join(self._claims, f"{uuid.uuid4().hex}.json")
        self._content = {"holder": holder, "process": _this_process()}
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="median-spark lease", daemon=True)
        self._renewed = 0.0
        self._trouble: Exception | None = None
        self._taken = False

    def claim(self) -> None:
        """Get the right, and keep it until `give_up`.

        Raises
        ------
        BusyError
            If another holds it.
        """
        for attempt in range(1, _CLAIMS + 1):
            try:
                self._write()
                others = self._living()
            except BaseException:
                remove(self._own)
                raise
            if not others:
                self._renewer.start()
                return
            remove(self._own)
            mature = [other for other in others if other.age > _YOUNG_SECONDS]
            if mature or attempt == _CLAIMS:
                self._refuse((mature or others)[0])
            time.sleep(random.uniform(0.5, 2.0) * attempt)

    def require(self) -> None:
        """Return if the right is still held.

        Raises
        ------
        BusyError
            If it was lost.
        """
        silent = _now() - self._renewed
        if self._taken or silent > _LOST_SECONDS:
            why = (
                f"it could not be renewed for {silent:,.0f} seconds"
                if silent > _LOST_SECONDS
                else "its claim was deleted"
            )
            trouble = f": {self._trouble}" if self._trouble else ""
            message = f"{self._folder}: the right to write here was lost ({why}{trouble}); run this again: it resumes"
            raise BusyError(message)

    def give_up(self) -> None:
        """Let others have the right."""
        self._ended.set()
        self._renewer.join()
        with contextlib.suppress(StorageError):  # then it becomes void by itself
            remove(self._own)

    def _write(self) -> None:
        before = _now()  # that it is valid is counted from before the store's clock stamps it
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
            except MedianSparkError as error:  # told by `require` if it goes on
                self._trouble = error

    def _living(self) -> list["_Claim"]:
        """Return the claims of others that are not void; those that are, are removed."""
        files = files_below(self._claims)
        now = next((file.mtime_ns for file in files if file.path == self._own), None)
        if now is None:
            message = f"{self._folder}: the store does not show a file that was just written there; it cannot be shared"
            raise OutputError(message)
        found = []
        for file in files:
            claim = _read(file, now) if file.path != self._own else None
            if claim is not None and claim.is_void:
                remove(file.path)
            elif claim is not None:
                found.append(claim)
        return found

    def _refuse(self, other: "_Claim") -> None:
        message = (
            f"{self._folder}: {other.holder} is writing here, and was heard of {other.age:,.0f} seconds ago; wait for "
            f"it to end, or stop it, and run this again (if it is gone, its claim ends {_VOID_SECONDS / 60:.0f} "
            f"minutes after it was last heard of, or when {other.location} is deleted)"
        )
        raise BusyError(message)


class _Claim:
    """Another's claim as it is found."""

    def __init__(self, location: str, content: dict[str, object], age: float) -> None:
        self.location = location
        self.holder = str(content.get("holder", "another run"))
        self.age = age
        self.is_void = age > _VOID_SECONDS or _has_ended(content.get("process"))


def _read(file: FileStat, now: int) -> _Claim | None:
    try:
        content = json.loads(read_bytes(file.path))
    except FileNotFoundError:
        return None  # withdrawn since it was listed
    except ValueError:
        content = {}
    return _Claim(file.path, content if isinstance(content, dict) else {}, max(0.0, (now - file.mtime_ns) / 1e9))


def _this_process() -> dict[str, str | int]:
    """Return what tells this process from any other, on this machine and elsewhere; empty where nothing does."""
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
    """Say whether a process of this machine is known to have ended; one that cannot be told is taken to live."""
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
    """Return when a process was started, in clock ticks since the machine was."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


def _now() -> float:
    """Return seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
