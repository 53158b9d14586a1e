"""Progress on a terminal: one live line for each stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

from median_spark.display import printable
from median_spark.progress.contract import ConvertState, StageState
from median_spark.progress.pace import Pace, rough_span

_BAR_WIDTH = 20


class TerminalBar:
    """Shows a bar that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._stage: Progress | None = None
        self._pace = self._stage_pace = Pace(0.0)

    def note(self, text: str) -> None:
        """Say one sentence, above the bar."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def convert_state(self, state: ConvertState) -> None:
        """Draw how far a conversion is; the bar stays as it is when it has ended."""
        now = time.monotonic()
        if self._bar is None:
            self._pace = Pace(now, state.cells_done)
            self._bar = Progress(
                TextColumn("converting"),
                BarColumn(_BAR_WIDTH),
                TextColumn("{task.description}", markup=False),
                TextColumn("{task.fields[left]}", markup=False),
                console=self._console,
            )
            self._bar.add_task("", total=state.cells or None, left="")
            self._bar.start()
        left = _left(self._pace.left(now, state.cells_done, state.cells))
        self._bar.update(self._bar.task_ids[0], completed=state.cells_done, description=state.text(), left=left)
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
            self._stage, self._stage_pace = stage, Pace(time.monotonic())
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
            left = _left(self._stage_pace.left(time.monotonic(), state.done, state.total))
            text = f"{state.text()}, {left}" if left else state.text()
            stage.update(stage.task_ids[0], total=state.total, completed=state.done, state=text)

    def close(self) -> None:
        """Leave the terminal as it was, also when the work broke off."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _left(seconds: float | None) -> str:
    return f"{rough_span(seconds)} left" if seconds else ""


class _StageBar(ProgressColumn):
    """A bar, or nothing while it is unknown how far a stage is, and when it has ended."""

    def render(self, task: Task) -> RenderableType:
        """Return what is drawn."""
        if task.total is None or task.finished:
            return Text("")
        return ProgressBar(total=task.total, completed=task.completed, width=_BAR_WIDTH)
