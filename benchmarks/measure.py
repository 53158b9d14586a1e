"""Measuring ways side by side: each in its own process, their repeats in turn, within limits of time and memory."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory import TreeMemory
from results import Result

_HERE = Path(__file__).resolve().parent
_START_SECONDS = 300.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Way:
    """One way of doing a piece of work.

    Attributes
    ----------
    name : str
        Module and name of its function, see `subject.ROOMS`.
    label : str
        For people.
    options : dict
        Arguments of its function.
    memory : int
        Bytes it is likely to need: what does not fit beside others is measured alone.
    discard : bool
        Do not count its first run.
    repeats : int, optional
        Number of repeats, however long they take; by default that of the limits.
    skip : str
        Why it is not measured at all, if it is not.
    environment : dict of str to str
        Variables that its process is given.
    """

    name: str
    label: str
    options: dict[str, Any] = field(default_factory=dict)
    memory: int = 1 << 30
    discard: bool = True
    repeats: int | None = None
    skip: str = ""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes
    ----------
    repeats : int
        Repeats of each way.
    each : float
        Seconds that a single run may take.
    patience : float
        Seconds after which a way is not repeated any more.
    deadline : float
        Moment, by `time.monotonic`, after which nothing new is begun.
    memory : int
        Bytes that ways measured in turn may take together.
    """

    repeats: int
    each: float
    patience: float
    deadline: float
    memory: int


def measure(
    section: str, case: str, ways: Sequence[Way], limits: Limits, logs: Path, say: Callable[[str], None]
) -> Iterator[Result]:
    """Yield what each way took, in the order of the ways.

    Parameters
    ----------
    section, case : str
        See `results.Result`.
    ways : sequence of Way
        In turn, as far as they fit into memory together; the others one after another.
    limits : Limits
    logs : Path
        Folder for what the ways print.
    say : function
        Is told what goes on.
    """
    for together in arrange([way for way in ways if not way.skip], limits.memory):
        subjects: list[Subject] = []
        try:
            for way in together:
                subject = Subject(Result(section, case, way.name, way.label), way, limits, logs)
                subjects.append(subject)
                subject.start()
                if subject.result.note:
                    say(f"{section} {case}: {subject.told()}")
            for number in range(-1, limits.repeats):
                for subject in subjects:
                    if subject.goes_on() and (number >= 0 or subject.way.discard):
                        subject.once(counts=number >= 0)
                        say(f"{section} {case}: {subject.told()}")
        finally:
            for subject in subjects:
                subject.close()
        yield from (subject.result for subject in subjects)
    yield from (Result(section, case, way.name, way.label, note=way.skip) for way in ways if way.skip)


def arrange(ways: Sequence[Way], memory: int) -> list[list[Way]]:
    """Return the ways that fit into memory together, and each of the others on its own."""
    together: list[Way] = []
    alone: list[list[Way]] = []
    for way in ways:
        if sum(each.memory for each in together) + way.memory <= memory:
            together.append(way)
        else:
            alone.append([way])
    return [together, *alone] if together else alone


class Subject:
    """The process of one way."""

    def __init__(self, result: Result, way: Way, limits: Limits, logs: Path) -> None:
        self.result = result
        self.way = way
        self._limits = limits
        self._logs = logs
        self._log = logs / f"{result.section}-{result.case}-{way.name}.log".replace(" ", "-")
        self._process: subprocess.Popen[str] | None = None
        self._memory: TreeMemory | None = None

    def start(self) -> None:
        """Start the process, and wait until it is ready."""
        if time.monotonic() > self._limits.deadline:
            self.result.note = "left out: the time for all was used up"
            return
        begin = time.perf_counter()
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(_HERE / "subject.py"), self.way.name, json.dumps(self.way.options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._logs,  # what engines leave behind goes with it
                env={
                    **with_tests_on_path(),
                    "TMPDIR": str(self._logs),
                    "SPARK_LOCAL_DIRS": str(self._logs),
                    **self.way.environment,
                },
            )
        self._memory = TreeMemory(self._process.pid)
        self._answer(_START_SECONDS)
        self.result.startup = time.perf_counter() - begin

    def goes_on(self) -> bool:
        """Say whether it is to be run again."""
        if self._process is None:
            return False
        if not self.result.seconds:
            return True
        if self.way.repeats is not None:
            return len(self.result.seconds) < self.way.repeats and time.monotonic() < self._limits.deadline
        spent = sum(self.result.discarded) + sum(self.result.seconds)
        return spent < self._limits.patience and time.monotonic() < self._limits.deadline

    def once(self, *, counts: bool) -> None:
        """Let it do its work once."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self._answer(self._limits.each)
        if answer:
            (self.result.seconds if counts else self.result.discarded).append(answer.pop("seconds"))
            self.result.found = answer

    def told(self) -> str:
        """Return how it goes, for people."""
        took = [*self.result.discarded, *self.result.seconds]
        return f"{self.way.label}: {self.result.note or f'{took[-1]:.2f} s'}"

    def close(self) -> None:
        """End the process: ask it to stop, and then see to it."""
        if self._process is None or self._process.stdin is None or self._memory is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.stdin.close()
            self._process.wait(_STOP_SECONDS)
        self._memory.end()
        self._process.wait()
        self._process = None
        self.result.memory = dict(self._memory.peaks)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """Wait for an answer; None if there is none, and then the process has ended and the result says why."""
        process, memory = self._process, self._memory
        if process is None or process.stdout is None or memory is None:
            return None
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), memory.end()))
        timer.start()
        try:
            with memory:
                line = process.stdout.readline()
        finally:
            timer.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {}
        answer.pop("ready", None)
        if line and "error" not in answer:
            return answer
        self.result.note = self._why(answer, late=late.is_set(), seconds=seconds)
        self.close()
        return None

    def _why(self, answer: dict[str, Any], *, late: bool, seconds: float) -> str:
        if late:
            return f"ended after {seconds:,.0f} s"
        if self._memory is not None and self._memory.exhausted:
            return f"ended: out of memory at {self._memory.peaks['all'] / 2**30:.1f} GiB"
        if "error" in answer:
            return f"failed: {_brief(answer['error'])}"
        status = self._process.wait() if self._process else None
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return f"died (status {status}): {_brief(' '.join(tail))}"


def _brief(text: str) -> str:
    """Return what a process said last, to be shown in a table: without this machine's paths, and short."""
    return re.sub(r"(/[\w.+-]+){2,}/?", "…", text).replace("|", "/")[:100]


def with_tests_on_path() -> dict[str, str]:
    """Return the environment of processes that import the published procedure and the writing of looms."""
    tests = str(_HERE.parent / "tests" / "support")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))}
