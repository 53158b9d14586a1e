"""What a person sees while the work goes on: a bar on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from median_spark.display import TolerantStream, printable
from median_spark.errors import counted

_LINE_SECONDS = 10.0
"""Plain lines come no more often than this."""


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


class ProgressReporter(Protocol):
    """Whoever is told how the work goes."""

    def note(self, text: str) -> None:
        """Say one sentence."""

    def convert_state(self, state: ConvertState) -> None:
        """Say how far a conversion is."""

    def working(self, text: str) -> AbstractContextManager[None]:
        """Say what goes on while a block runs."""


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
        begin = time.monotonic()
        yield
        self.note(f"  done in {_span(time.monotonic() - begin)}")


class TerminalBar:
    """Shows a bar that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def note(self, text: str) -> None:
        """Say one sentence, above the bar."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def convert_state(self, state: ConvertState) -> None:
        """Draw how far a conversion is; the bar stays as it is when it has ended."""
        if self._bar is None:
            self._bar = Progress(
                TextColumn("converting"),
                BarColumn(),
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
        """Show a spinner and the time."""
        with Progress(
            SpinnerColumn("dots" if self._console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        ) as spinner:
            task = spinner.add_task(printable(text), total=1)
            yield
            spinner.update(task, completed=1)

    def close(self) -> None:
        """Leave the terminal as it was, also when the work broke off."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def reporter(*, quiet: bool) -> Iterator[ProgressReporter]:
    """Choose how to report: nothing if quiet, a bar if standard error is a terminal, else lines."""
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
