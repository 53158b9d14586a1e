"""Which reporter the command line uses."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console

from median_spark.display import TolerantStream
from median_spark.progress.contract import (
    ConvertState,
    ProgressReporter,
    SilentProgress,
    StageState,
    stage_reporter,
)
from median_spark.progress.lines import LogLines, PlainLines
from median_spark.progress.terminal import TerminalBar


class BothReporters:
    """Passes everything on to two reporters, such as the console and a log file."""

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
