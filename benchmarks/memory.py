"""How much memory a process and its descendants take, by what they are: looked at from outside while they work."""

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

INTERVAL = 0.25
"""Seconds between looks: seldom enough to cost nothing. A process's own peak is counted by the kernel in between."""

LEFT_FREE = 700 << 20
"""With less than this available on the machine, what is being measured is ended before the kernel ends something."""


class TreeMemory:
    """Watches a tree of processes; as a context manager, while a block runs.

    Attributes
    ----------
    peaks : dict of str to int
        Bytes: the most that any one ``driver`` (Python), ``worker`` (Python) and ``jvm`` took, and of ``all`` together.
    exhausted : bool
        True if the machine ran out of memory, and the processes were ended.
    """

    def __init__(self, pid: int) -> None:
        self.peaks: dict[str, int] = {}
        self.exhausted = False
        self._root = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {}
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._done.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Look once."""
        together = 0
        with contextlib.suppress(psutil.Error):
            for process in [self._root, *self._root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error, OSError):
                    now = process.memory_info().rss
                    self._seen[process.pid] = process
                    kind = _kind(process)  # looked at every time: what is to be a JVM begins as something else
                    self.peaks[kind] = max(self.peaks.get(kind, 0), now, _kernel_peak(process.pid))
                    together += now
        self.peaks["all"] = max(self.peaks.get("all", 0), together)

    def end(self) -> None:
        """End every process that was ever seen in the tree, for those of one that has died have no parent any more."""
        self.look()
        for process in list(self._seen.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # psutil's own: never another process that has got the number since

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            self.look()
            if psutil.virtual_memory().available < LEFT_FREE:
                self.exhausted = True
                self.end()
                return


def _kind(process: psutil.Process) -> str:
    if process.name().startswith("java"):
        return "jvm"
    return "worker" if any("pyspark.daemon" in word for word in process.cmdline()) else "driver"


def _kernel_peak(pid: int) -> int:
    """Return the largest resident size a process ever had, where the system tells: on Linux."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0
