"""Compiling loops with numba, and keeping what was compiled for other processes.

Compiled code is kept on disk beside the package, or where that is read-only in the user's cache or a private folder for
temporary files. Imported by the modules of loops and by nothing else, for numba takes half a second to import.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba.core import event

from median_spark.guard import compiling

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _TellGuard(event.Listener):  # type: ignore[misc]  # numba has no types
    """Tells the guard when this process compiles; loops that call others are compiled within each other."""

    def __init__(self) -> None:
        self._depth = 0

    def on_start(self, event: Any) -> None:
        """Count one more loop that is being compiled."""
        del event
        self._depth += 1
        compiling(begins=True)

    def on_end(self, event: Any) -> None:
        """Count one less."""
        del event
        self._depth -= 1
        compiling(begins=self._depth > 0)


event.register("numba:compile", _TellGuard())


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function when it is first called, and keep the result for other processes."""
    try:
        made: Callable[_P, _R] = _jit(function, cache=True)
    except RuntimeError:  # numba status no folder that it may write to
        folder = _private_folder()
        if folder is not None:
            vars(numba.config)["CACHE_DIR"] = folder
        made = _jit(function, cache=folder is not None)
    return made


def _jit(function: Any, *, cache: bool) -> Any:
    return numba.njit(cache=cache, error_model="numpy")(function)


def _private_folder() -> str | None:
    """Return a folder that this user alone can write to, or None: what lies in it is run as code."""
    folder = Path(tempfile.gettempdir()) / f"median-spark-compiled-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return str(folder) if own else None
