"""The interface of progress reporters, and the silent one.

Knows nothing of Spark: the caller that runs a job reports how many of its tasks are done.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from median_spark.errors import counted


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
    seconds : float
        Time since the conversion began: its look at the sources, which converts small ones, and a start of Spark count.
    """

    sources_done: int
    sources: int
    cells_done: int
    cells: int
    values: int
    seconds: float = 0.0

    def text(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.sources_done:,} of {counted(self.sources, 'source')}, "
            f"{self.cells_done:,} of {counted(self.cells, 'cell')}, {counted(self.values, 'value')}"
        )


@dataclass(frozen=True)
class StageState:
    """How far a stage is, within the block of `ProgressReporter.working` that announced it.

    Attributes
    ----------
    done, total : int
        Items done, and all.
    noun : str
        Noun for what is counted, in the singular.
    """

    done: int
    total: int
    noun: str = "task"

    def text(self) -> str:
        """Return both numbers in words."""
        return f"{self.done:,} of {counted(self.total, self.noun)}"


class ProgressReporter(Protocol):
    """Receives notes, the progress of a conversion, and the begin and end of each stage.

    A reporter that also has the method of `StageReporter` receives the number of finished tasks of a Spark job.
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
