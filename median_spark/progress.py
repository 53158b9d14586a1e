"""What a person sees while the work goes on: a bar on a terminal, plain lines elsewhere, or nothing.

Knows nothing of Spark: whoever runs a job reports how many of its tasks are done.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO, cast, runtime_checkable

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

from median_spark.display import TolerantStream, printable
from median_spark.errors import counted

_LINE_SECONDS = 10.0
"""Plain lines come no more often than this."""

_BAR_WIDTH = 20


@dataclass(frozen=True)
class ConvertState:
    """How far a conversion is.

    Attributes
    ----------
    sources_done, sources : int
        Committed or failed, and all that are to be converted.
    cells_done, cells : int
        Cells read, and all.
    values : int
        Values written.
    """

    sources_done: int
    sources: int
    cells_done: int
    cells: int
    values: int


@dataclass(frozen=True)
class StageState:
    """How far a stage is, within the block of `ProgressReporter.working` that announced it.

    Attributes
    ----------
    done, total : int
        Items done, and all.
    noun : str
        What is counted, in the singular.
    """

    done: int
    total: int
    noun: str = "task"

    def text(self) -> str:
        """Return both numbers in words."""
        return f"{self.done:,} of {counted(self.total, self.noun)}"


class ProgressReporter(Protocol):
    """Whoever is told how the work goes.

    A reporter that also has the method of `StageReporter` is told how many tasks of a Spark job are done.
    """

    def note(self, text: str) -> None:
        """Say one sentence."""

    def convert_state(self, state: ConvertState) -> None:
        """Say how far a conversion is."""

    def working(self, text: str) -> AbstractContextManager[None]:
        """Say what goes on while a block runs."""


@runtime_checkable
class StageReporter(Protocol):
    """A progress reporter that also wants to know how far a stage is; jobs are watched only for such reporters."""

    def stage_state(self, state: StageState) -> None:
        """Say how far the stage is that is being worked on; may be called from another thread."""


def stage_reporter(progress: ProgressReporter) -> StageReporter | None:
    """Return a reporter if it wants to know how far a stage is, else None."""
    return progress if isinstance(progress, StageReporter) else None


class SilentProgress:
    """Says nothing.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.SilentProgress().note("converting")
    """

    def note(self, text: str) -> None:
        """Say nothing."""

    def convert_state(self, state: ConvertState) -> None:
        """Say nothing."""

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say nothing."""
        del text
        yield


class PlainLines:
    """Says lines, for logs and pipes; where these cannot be written, the work goes on without.

    Examples
    --------
    >>> import sys
    >>> import median_spark
    >>> median_spark.PlainLines(sys.stdout).note("converting")
    converting
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = TolerantStream(stream)
        self._started = 0.0
        self._said = 0.0
        self._stage_started = 0.0

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._stream.write(f"{printable(text)}\n")
        self._stream.flush()

    def convert_state(self, state: ConvertState) -> None:
        """Say how far a conversion is, at its end and every few seconds."""
        now = time.monotonic()
        self._started = self._started or now
        done = state.sources_done == state.sources
        if not done and now - max(self._said, self._started) < _LINE_SECONDS:
            return
        self._said = now
        elapsed = now - self._started
        left = elapsed * (state.cells - state.cells_done) / state.cells_done if state.cells_done else None
        ending = "" if done or left is None else f", {_span(left)} left"
        self.note(f"converted {_convert_text(state)} in {_span(elapsed)}{ending}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say what begins, and how long it took."""
        self.note(text)
        begin = self._stage_started = self._said = time.monotonic()
        yield
        self.note(f"  done in {_span(time.monotonic() - begin)}")

    def stage_state(self, state: StageState) -> None:
        """Say how far a stage is every few seconds; its end is said anyway."""
        now = time.monotonic()
        if state.done == state.total or now - self._said < _LINE_SECONDS:
            return
        self._said = now
        elapsed = now - self._stage_started
        left = f", {_span(elapsed * (state.total - state.done) / state.done)} left" if state.done else ""
        self.note(f"  {state.text()} done in {_span(elapsed)}{left}")


class LogLines(PlainLines):
    """Says lines to a logger of the standard library."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(None)
        self._logger = logger

    def note(self, text: str) -> None:
        """Log one sentence."""
        level = logging.WARNING if text.startswith("warning: ") else logging.INFO
        self._logger.log(level, "%s", printable(text))


class TerminalBar:
    """Shows a bar that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._stage: Progress | None = None

    def note(self, text: str) -> None:
        """Say one sentence, above the bar."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def convert_state(self, state: ConvertState) -> None:
        """Draw how far a conversion is; the bar stays as it is when it has ended."""
        if self._bar is None:
            self._bar = Progress(
                TextColumn("converting"),
                BarColumn(_BAR_WIDTH),
                TextColumn("{task.description}", markup=False),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=self._console,
            )
            self._bar.add_task("", total=state.cells or None)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=state.cells_done, description=_convert_text(state))
        if state.sources_done == state.sources:
            self._bar.stop()
            self._bar = None

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show the time and a spinner, and a bar as soon as it is known how far the stage is."""
        with Progress(
            SpinnerColumn("dots" if self._console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            _StageBar(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        ) as stage:
            task = stage.add_task(printable(text), total=None, state="")
            self._stage = stage
            try:
                yield
            finally:
                self._stage = None
            total = stage.tasks[0].total or 1
            stage.update(task, total=total, completed=total, state="")

    def stage_state(self, state: StageState) -> None:
        """Draw how far a stage is, beside what `working` says."""
        stage = self._stage  # the block may end in another thread meanwhile
        if stage is not None:
            stage.update(stage.task_ids[0], total=state.total, completed=state.done, state=state.text())

    def close(self) -> None:
        """Leave the terminal as it was, also when the work broke off."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _StageBar(ProgressColumn):
    """A bar, or nothing while it is unknown how far a stage is, and when it has ended."""

    def render(self, task: Task) -> RenderableType:
        """Return what is drawn."""
        if task.total is None or task.finished:
            return Text("")
        return ProgressBar(total=task.total, completed=task.completed, width=_BAR_WIDTH)


class BothReporters:
    """Passes on to two reporters what it is told, such as the console and a log file."""

    def __init__(self, first: ProgressReporter, second: ProgressReporter) -> None:
        self._both = (first, second)

    def note(self, text: str) -> None:
        """Say one sentence."""
        for each in self._both:
            each.note(text)

    def convert_state(self, state: ConvertState) -> None:
        """Say how far a conversion is."""
        for each in self._both:
            each.convert_state(state)

    def stage_state(self, state: StageState) -> None:
        """Say how far a stage is, where that is wanted."""
        for each in map(stage_reporter, self._both):
            if each is not None:
                each.stage_state(state)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say what goes on while a block runs."""
        first, second = self._both
        with first.working(text), second.working(text):
            yield


@contextmanager
def reporter(*, quiet: bool, logger: logging.Logger | None = None) -> Iterator[ProgressReporter]:
    """Choose how to report: nothing if quiet, a bar if standard error is a terminal, else lines; and to a logger."""
    with _console_reporter(quiet=quiet) as console:
        if logger is None:
            yield console
        else:
            yield LogLines(logger) if quiet else BothReporters(console, LogLines(logger))


@contextmanager
def _console_reporter(*, quiet: bool) -> Iterator[ProgressReporter]:
    if quiet:
        yield SilentProgress()
    elif sys.stderr is not None and sys.stderr.isatty():
        bar = TerminalBar(Console(file=cast(TextIO, TolerantStream(sys.stderr))))
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield PlainLines(sys.stderr)


def _convert_text(state: ConvertState) -> str:
    return (
        f"{state.sources_done:,} of {counted(state.sources, 'source')}, "
        f"{state.cells_done:,} of {counted(state.cells, 'cell')}, {counted(state.values, 'value')}"
    )


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
