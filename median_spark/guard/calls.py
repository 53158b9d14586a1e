"""The parent's side of guarded calls: start children, wait for their answers, and say why one was lost."""

import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import count
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from median_spark.errors import InputError, MedianSparkError
from median_spark.guard.child import DEFAULT_LIMITS, Kept, Limits, SharedProgress, serve

_POLL_SECONDS = 1.0
_SLOW_SECONDS = 10.0
"""A call without progress for so long, or for half of its processor time, is reported as slow."""

_DAMAGED = "as damaged or hostile files can bring about"

_TRIES = 2
"""Tries of a call over which its child crashes."""

_TRIES_IF_KILLED = 5
"""The same where the child is killed, as the system does when memory is short, perhaps for a moment only."""

_forks_allowed = sys.platform == "linux"  # elsewhere the system's libraries do not survive a fork


def fork_no_more() -> None:
    """Start children as new interpreters from now on; call this before a library starts threads that forks lose."""
    global _forks_allowed
    _forks_allowed = False


class _Forked:
    """A child that is a fork of this process: ready in milliseconds, but without its threads."""

    def __init__(self, connection: Connection, shared: int) -> None:
        context = multiprocessing.get_context("fork")
        self._process = context.Process(
            target=serve,
            args=(connection, shared, os.getpid()),
            kwargs={"dies_with_parent": _in_main_thread()},
            daemon=True,
        )
        with warnings.catch_warnings():  # it uses none of this process's threads
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        self.kill = self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode or 0


class _Executed(subprocess.Popen[bytes]):
    """A child that is a new interpreter."""

    def __init__(self, connection: Connection, shared: int) -> None:
        numbers = (connection.fileno(), shared)
        super().__init__(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, (*numbers, int(_in_main_thread()))), *sys.path],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
        )


_PROGRAM = """
import sys
sys.path[:] = sys.argv[4:]
from multiprocessing.connection import Connection
from median_spark.guard.child import serve
serve(Connection(int(sys.argv[1])), int(sys.argv[2]), None, dies_with_parent=sys.argv[3] == "1")
"""


def _in_main_thread() -> bool:
    """Say whether this thread lives as long as its process; Linux ends children with the thread that started them."""
    return threading.current_thread() is threading.main_thread()


class LostError(Exception):
    """A child that ended, or was ended, before it answered; the message says why, `tries` how often to call it."""

    def __init__(self, message: str, tries: int = 1) -> None:
        super().__init__(message)
        self.tries = tries


class Guard:
    """One child process that serves one call after another.

    A child keeps the environment it started in. Where that changed since, as when a notebook sets credentials after a
    first try, another child is started.
    """

    def __init__(self) -> None:
        self._child: _Forked | _Executed | None = None
        self._connection: Connection | None = None
        self._environment: dict[str, str] = {}
        self._kept = ""  # key of what the child keeps
        self._shared = tempfile.TemporaryFile()  # noqa: SIM115  (for the life of this process)
        self._shared.truncate(mmap.PAGESIZE)
        self._progress = SharedProgress(self._shared.fileno())
        self._busy = threading.Lock()

    def call(
        self,
        function: Callable[..., Any],
        *arguments: object,
        limits: Limits = DEFAULT_LIMITS,
        on_slow: Callable[[], None] | None = None,
    ) -> Any:
        """Return what a function returns in the child, or raise what it raises there.

        The function is one of a module, so that it can be pickled; so must be its arguments, its result and its errors.
        An argument that is `Kept` is sent to a child once; there may be one.
        `on_slow` is called once if the call makes no progress for ten seconds and does not compile. LostError if the
        child crashed, or exceeded a limit.
        """
        for attempt in count(1):
            try:
                with self._busy:
                    return self._call_once(function, arguments, limits, on_slow)
            except LostError as error:
                if attempt >= error.tries:
                    raise
        raise AssertionError  # it counts for ever

    def _call_once(
        self,
        function: Callable[..., Any],
        arguments: tuple[object, ...],
        limits: Limits,
        on_slow: Callable[[], None] | None,
    ) -> Any:
        connection = self.start()
        self._progress.beat()
        try:
            connection.send((function, tuple(map(self._sent, arguments)), limits))
            self._wait(connection, limits, on_slow)
            succeeded, answer, reusable = connection.recv()
        except (EOFError, ConnectionError):
            self._raise_lost(limits)
        except BaseException:
            self.close()
            raise
        if not reusable:
            self.close()
        if succeeded:
            return answer
        raise answer

    def _sent(self, argument: object) -> object:
        """Return an argument as it is sent: without its content if the child keeps it already."""
        if not isinstance(argument, Kept):
            return argument
        if argument.key == self._kept:
            return replace(argument, content=None)
        self._kept = argument.key
        return argument

    def close(self) -> None:
        """End the child."""
        self._kept = ""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start(self) -> Connection:
        """Return the connection to a child that is alive."""
        environment = dict(os.environ)
        alive = self._child is not None and self._child.poll() is None
        if self._connection is not None and alive and environment == self._environment:
            return self._connection
        self.close()
        self._environment = environment
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._child = (_Forked if _forks_allowed else _Executed)(theirs, self._shared.fileno())
        return self._connection

    def _wait(self, connection: Connection, limits: Limits, on_slow: Callable[[], None] | None) -> None:
        """Return when there is an answer, or the child is gone."""
        poll_seconds = min(_POLL_SECONDS, limits.waiting_seconds, limits.processor_seconds / 4)
        while not connection.poll(poll_seconds):
            waited = time.monotonic() - self._progress.last
            if (
                on_slow is not None
                and not self._progress.compiles
                and waited > min(_SLOW_SECONDS, limits.processor_seconds / 2)
            ):
                on_slow()
                on_slow = None
            if waited > limits.waiting_seconds:
                message = f"reading it made no progress for {limits.waiting_seconds:g} s"
                raise LostError(message)

    def _raise_lost(self, limits: Limits) -> NoReturn:
        code = self._child.wait() if self._child is not None else 0
        self.close()
        if code == -signal.SIGXCPU:
            message = (
                f"reading it took more than {limits.processor_seconds} s of processor time without progress, {_DAMAGED}"
            )
            raise LostError(message)
        if code < 0:
            killed = code == -signal.SIGKILL
            cause = "most likely because memory ran out" if killed else _DAMAGED
            message = f"the process that read it was ended by {signal.Signals(-code).name}, {cause}"
            raise LostError(message, _TRIES_IF_KILLED if killed else _TRIES)
        message = f"the process that read it ended with status {code}"
        raise LostError(message, _TRIES)


@lru_cache(maxsize=1)
def _guard_of(pid: int) -> Guard:
    """Return the guard of this process; a forked process makes its own."""
    return Guard()


def start_reader() -> None:
    """Start this process's child, unless it has one, before a call needs it."""
    _guard_of(os.getpid()).start()


def end_reader() -> None:
    """End this process's child, if it has one, and so free its memory; the next call starts another."""
    _guard_of(os.getpid()).close()


def read_guarded(
    location: str,
    function: Callable[..., Any],
    *arguments: object,
    limits: Limits = DEFAULT_LIMITS,
    on_slow: Callable[[], None] | None = None,
) -> Any:
    """Return what a function makes of a file, read in this process's child; see `Guard.call`.

    InputError if the file, `location`, hangs or crashes its reader, asks for too much memory, or the function raises an
    exception of a class that is not this package's; its own errors are raised as they are.
    """
    try:
        return _guard_of(os.getpid()).call(function, *arguments, limits=limits, on_slow=on_slow)
    except MedianSparkError:
        raise
    except LostError as error:
        message = f"{location}: {error}"
    except MemoryError:
        message = f"{location}: reading it needs more than {limits.memory_bytes / (1 << 30):.3g} GiB of memory"
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        message = f"{location}: Unexpected error while this file was read ({type(error).__name__}: {first})"
        raise InputError(message) from error
    raise InputError(message)
