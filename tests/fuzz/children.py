"""Running a function in a child process that may crash, hang or take any amount of memory."""

import contextlib
import faulthandler
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ADDRESS_SPACE = 3 << 30
"""Bytes that a child may reserve in addition to what its parent has: others use this machine, too."""

_POLL_SECONDS = 0.005
_WALL = 6
"""Wall time, in multiples of processor time, after which a child is ended that does nothing."""


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes
    ----------
    kind : str
        ``"returned"``, ``"raised"``, ``"crash"``, or ``"hang"`` and ``"memory"`` if it was ended for these.
    value : object
        What the function returned or raised: of an exception its class's name.
    text : str
        For people: the exception's message or traceback, the signal, the processor time.
    where : str
        The last function of the traceback that is ours, or the innermost.
    grown : int
        Bytes of memory at most beyond what the child began with, its own children included.
    """

    kind: str
    value: Any
    text: str
    where: str
    grown: int


def in_child(
    function: Callable[[], Any], seconds: float, folder: Path, expected: tuple[type[Exception], ...] = ()
) -> Ending:
    """Call a function in a forked child.

    Parameters
    ----------
    function : callable
        It returns what can be pickled.
    seconds : float
        Processor time that it may take.
    folder : Path
        Where the child leaves what it found.
    expected : tuple of types
        Exceptions of these classes are refusals: `Ending.value` is ``"refused"``.
    """
    outcome, errors = folder / "outcome", folder / "stderr"
    outcome.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _run(function, outcome, errors, expected)
    status, grown, spent = _watch(child, seconds)
    text = _brief(errors.read_text(errors="replace")) if errors.exists() else ""
    if status is None:
        kind = "memory" if grown > ADDRESS_SPACE else "hang"
        return Ending(kind, None, f"ended after {spent:.0f} s of processor time\n{text}", _ours(text), grown)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Ending("crash", name, f"{name}\n{text}", _ours(text), grown)
    if not outcome.exists():
        return Ending("crash", f"exit {os.WEXITSTATUS(status)}", text, "", grown)
    kind, value, text, where, peak = pickle.loads(outcome.read_bytes())
    return Ending(kind, value, text, where, max(grown, peak))


def _run(function: Callable[[], Any], outcome: Path, errors: Path, expected: tuple[type[Exception], ...]) -> None:
    """Call the function and leave what comes of it; this process ends here."""
    begun = _memory("self", "RssAnon")
    os.setsid()
    stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)
    faulthandler.enable(stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _memory("self", "VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    status = 1
    try:
        try:
            told = ("returned", function(), "", "")
        except expected as error:
            told = ("returned", "refused", str(error), "")
        except BaseException as error:
            text = traceback.format_exc(limit=-12)[-4_000:]
            kind = "memory" if isinstance(error, MemoryError) else "raised"
            told = (kind, type(error).__name__, text, _ours(text))
        # The peak of all memory less what maps files: libraries that are read again are no one's fault.
        peak = _memory("self", "VmHWM") - _memory("self", "RssFile") - _memory("self", "RssShmem") - begun
        outcome.write_bytes(pickle.dumps((*told, peak)))
        status = 0
    finally:
        os._exit(status)


def _watch(child: int, seconds: float) -> tuple[int | None, int, float]:
    """Wait for a child; return its status, None if it was ended, its growth in memory, and its processor time."""
    process = psutil.Process(child)
    begun = time.monotonic()
    first, grown, spent = None, 0, 0.0
    while True:
        done, status, _ = os.wait4(child, os.WNOHANG)
        if done:
            return status, grown, spent
        with contextlib.suppress(psutil.NoSuchProcess, OSError, ValueError):
            below = process.children(recursive=True)
            sizes = [_memory(str(each.pid), "RssAnon") for each in (process, *below)]
            first = sizes[0] if first is None else first
            grown = max(grown, sum(sizes) - first)
            spent = sum(sum(each.cpu_times()[:2]) for each in (process, *below))
        if spent > seconds or time.monotonic() - begun > _WALL * seconds or grown > ADDRESS_SPACE:
            _end(process)
            return None, grown, spent
        time.sleep(_POLL_SECONDS if time.monotonic() - begun < 1 else 20 * _POLL_SECONDS)


def _end(process: psutil.Process) -> None:
    """End a child and its own children."""
    processes = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        processes += process.children(recursive=True)
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(each.pid, signal.SIGABRT if each is process else signal.SIGKILL)  # to see where it was
    for _ in range(100):
        if os.waitpid(process.pid, os.WNOHANG)[0]:
            return
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def _memory(process: str, field: str) -> int:
    """Return a field of a process's memory in bytes, 0 if it has ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _brief(text: str) -> str:
    """Return what a process wrote without faulthandler's list of extension modules."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("Extension modules:"))[:4_000]


def _ours(text: str) -> str:
    """Return the innermost place in median_spark that a traceback names, as file and function."""
    places = [
        line.strip() for line in text.splitlines() if "median_spark/" in line and line.strip().startswith("File ")
    ]
    if not places:
        return ""
    # Python's tracebacks end with the innermost call, faulthandler's begin with it.
    place = places[0] if "most recent call first" in text else places[-1]
    file, _, rest = place.partition('", line ')
    return f"{file.rpartition('median_spark/')[2]} {rest.rpartition(' in ')[2]}"
