"""Progress as lines of text: for pipes, and for a log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from median_spark.display import TolerantStream, printable
from median_spark.progress.contract import ConvertState, StageState
from median_spark.progress.pace import Pace, rough_span

_LINE_SECONDS = 10.0
"""Plain lines come no more often than this."""


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
        self._pace = self._stage_pace = Pace(0.0)

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._stream.write(f"{printable(text)}\n")
        self._stream.flush()

    def convert_state(self, state: ConvertState) -> None:
        """Say how far a conversion is, at its end and every few seconds."""
        now = time.monotonic()
        done = state.sources_done == state.sources
        if not self._started:
            self._started, self._pace = now, Pace(now, state.cells_done)
        left = self._pace.left(now, state.cells_done, state.cells)
        if not done and now - max(self._said, self._started) < _LINE_SECONDS:
            return
        self._said = now
        self.note(f"converted {state.text()} in {_span(state.seconds)}{'' if done else _left(left)}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say what begins, and how long it took."""
        self.note(text)
        begin = self._stage_started = self._said = time.monotonic()
        self._stage_pace = Pace(begin)
        yield
        self.note(f"  done in {_span(time.monotonic() - begin)}")

    def stage_state(self, state: StageState) -> None:
        """Say how far a stage is every few seconds; its end is said anyway."""
        now = time.monotonic()
        left = self._stage_pace.left(now, state.done, state.total)
        if state.done == state.total or now - self._said < _LINE_SECONDS:
            return
        self._said = now
        self.note(f"  {state.text()} done in {_span(now - self._stage_started)}{_left(left)}")


class LogLines(PlainLines):
    """Says lines to a logger of the standard library."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(None)
        self._logger = logger

    def note(self, text: str) -> None:
        """Log one sentence."""
        level = logging.WARNING if text.startswith("warning: ") else logging.INFO
        self._logger.log(level, "%s", printable(text))


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", {rough_span(seconds)} left"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
