"""A Spark job in a thread of its own, so that the driver can commit what is done while it runs."""

from collections.abc import Callable
from inspect import signature

from pyspark import InheritableThread
from pyspark.sql import SparkSession


class BackgroundJob:
    """Runs a function that waits for a Spark job.

    The thread inherits what the caller has set on Spark, such as the job group by which a notebook cancels a cell.
    """

    def __init__(self, spark: SparkSession, name: str, run: Callable[[], None]) -> None:
        # Spark 3.5 has no tags on classic sessions to take over, and no such parameter.
        tags = {"session": spark} if "session" in signature(InheritableThread).parameters else {}
        self._thread = InheritableThread(self._keep_error, **tags, name=f"median-spark {name}", daemon=True)
        self._function = run
        self._error: BaseException | None = None
        self._thread.start()

    def _keep_error(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float) -> bool:
        """Wait a while, and say whether the job has ended."""
        self._thread.join(seconds)
        alive: bool = self._thread.is_alive()
        return not alive

    @property
    def succeeded(self) -> bool:
        """Whether nothing has gone wrong."""
        return self._error is None

    def raise_error(self) -> None:
        """Raise what the job raised, if it did."""
        if self._error is not None:
            raise self._error
