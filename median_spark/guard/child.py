"""The child's side of a guarded call: serve one call after another, within limits that the system enforces."""

import contextlib
import ctypes
import hashlib
import mmap
import os
import pickle
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from median_spark.errors import MedianSparkError, UsageError
from median_spark.sizes import bytes_of

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl

Answer = tuple[bool, Any, bool]
"""If the function returned; its result or error; and if the child can serve another call."""


@dataclass(frozen=True)
class Limits:
    """What one call may use.

    Attributes
    ----------
    processor_seconds : int
        Seconds of processor time without progress. What waits for a slow disk uses none.
    waiting_seconds : float
        Seconds of any kind without progress.
    memory : int or str
        Memory that the child may hold beyond what it holds when the call begins, in bytes or as ``"8GB"``; enforced on
        Linux.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.Limits(processor_seconds=120, memory="8GB").memory_bytes
    8000000000
    """

    processor_seconds: int = 30
    waiting_seconds: float = 600.0
    memory: int | str = 4 << 30

    @property
    def memory_bytes(self) -> int:
        """`memory` as a number."""
        return bytes_of(self.memory, "memory")

    def __post_init__(self) -> None:
        _ = self.memory_bytes
        if self.processor_seconds < 1 or not self.waiting_seconds > 0:
            message = f"limits for reading a file must be above 0, not {self}"
            raise UsageError(message)


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Kept:
    """An argument of many calls, such as options with a gene table: a child unpickles it once and keeps it.

    `content` is its pickle; it is left out for a child that has it.
    """

    key: str
    content: bytes | None

    @classmethod
    def of(cls, value: object) -> Self:
        """Return a value as such an argument; the called function gets the value, and must not change it."""
        content = pickle.dumps(value)
        return cls(hashlib.sha256(content).hexdigest(), content)


_KEPT: dict[str, Any] = {}
"""In a child: the last value that came as `Kept`, by its key."""


def _value_of(argument: object) -> object:
    """Return an argument as the called function gets it."""
    if not isinstance(argument, Kept):
        return argument
    if argument.content is not None:
        _KEPT.clear()
        _KEPT[argument.key] = pickle.loads(argument.content)
    return _KEPT[argument.key]


class SharedProgress:
    """What the parent sees of its child's progress, in a file of memory that both have mapped.

    Each number is read and written at once, whole: `struct` fills its place with zeros first, which the other process
    could see.
    """

    def __init__(self, file: int) -> None:
        self._numbers = memoryview(mmap.mmap(file, mmap.PAGESIZE)).cast("d")

    @property
    def last(self) -> float:
        """When there was progress last, by the monotonic clock."""
        return self._numbers[0]

    @property
    def compiles(self) -> bool:
        """Whether the child compiles code, which says nothing about the file."""
        return self._numbers[1] != 0

    def beat(self) -> None:
        """Tell of progress now."""
        self._numbers[0] = time.monotonic()

    def compiling(self, *, begins: bool) -> None:
        """Tell that compiling begins, or has ended."""
        self._numbers[1] = begins


class _Progress:
    """The child's last progress, reported to the parent and to the system; a no-op outside a child."""

    def __init__(self) -> None:
        self._shared: SharedProgress | None = None
        self._processor_seconds = 0

    def begin(self, shared: SharedProgress, processor_seconds: int) -> None:
        self._shared, self._processor_seconds = shared, processor_seconds
        self.compiling(begins=False)

    def end(self) -> None:
        self._shared = None
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))

    def beat(self) -> None:
        if self._shared is None:
            return
        self._shared.beat()
        # The system counts whole seconds, and ends the process by SIGXCPU.
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + self._processor_seconds)

    def compiling(self, *, begins: bool) -> None:
        if self._shared is not None:
            self._shared.compiling(begins=begins)
        self.beat()


_PROGRESS = _Progress()


def beat() -> None:
    """Tell that a guarded call makes progress: call this in loops over files, between calls that are bounded.

    Costs a microsecond, and does nothing outside a guarded call.
    """
    _PROGRESS.beat()


def compiling(*, begins: bool) -> None:
    """Tell that a guarded call begins to compile code, or has compiled it: a pause for this is no fault of the file."""
    _PROGRESS.compiling(begins=begins)


def serve(connection: Connection, shared: int, parent: int | None, *, dies_with_parent: bool) -> None:
    """Answer calls until the parent is gone.

    `shared` is the descriptor of the file that tells the parent of progress, `parent` the parent's process number if
    this process is a fork of it. With `dies_with_parent` the system ends this process at once when the thread that
    started it ends; otherwise a call under way is finished, or exceeds its limits, first.
    """
    progress = SharedProgress(shared)
    if dies_with_parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)
    if parent is not None:
        _leave_files(keep=connection.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            function, arguments, limits = connection.recv()
        except EOFError:
            return
        held = _held_bytes()  # also what earlier calls have left: libraries, and memory that is kept for the next
        if held is not None:
            _limit(resource.RLIMIT_DATA, held + limits.memory_bytes)
        _PROGRESS.begin(progress, limits.processor_seconds)
        try:
            answer = (True, function(*map(_value_of, arguments)), True)
        except MedianSparkError as error:
            answer = (False, error, True)
        except BaseException as error:
            # Its memory may be exhausted or in disorder: this child serves no other call.
            answer = (False, error if isinstance(error, Exception) else RuntimeError(repr(error)), False)
        finally:
            _PROGRESS.end()
        _send(connection, answer)


def _send(connection: Connection, answer: Answer) -> None:
    try:
        connection.send(answer)
    except MemoryError as error:
        connection.send((False, error, False))
    except (TypeError, AttributeError, ValueError) as error:
        instead = RuntimeError(f"{type(answer[1]).__name__}: {answer[1]} ({error})")
        connection.send((False, instead, False))


def _leave_files(keep: int) -> None:
    """Release the parent's open files, such as its connection to a JVM: they must end when the parent does.

    Each is replaced and not closed, as objects that the parent's memory still holds may close its number once more.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (names are numbers)
        descriptor = int(name)
        if descriptor > 2 and descriptor not in (keep, nothing):
            with contextlib.suppress(OSError):  # the one by which the folder was listed is closed by now
                os.fstat(descriptor)
                os.dup2(nothing, descriptor)


def _held_bytes() -> int | None:
    """Return the bytes of private memory that this process may write to, or None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:")), None)


def _limit(what: int, wanted: int) -> None:
    """Set a limit of this process, at most the one that the system sets."""
    _, most = resource.getrlimit(what)
    resource.setrlimit(what, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
