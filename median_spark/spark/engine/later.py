"""A Spark session that is started when it is first asked for, so that other work can be done while it starts."""

import contextlib
from collections.abc import Callable, Iterator

from pyspark.sql import SparkSession

from median_spark.progress import ProgressReporter
from median_spark.spark.engine.session import session_with_classes, will_start_here


class LaterSession:
    """A session, or the way to start one.

    Parameters
    ----------
    start
        Called once, when the session is first asked for.
    pending
        True if that takes seconds, during which this machine has a core to spare.
    """

    def __init__(self, start: Callable[[], SparkSession], *, pending: bool) -> None:
        self._start = start
        self._session: SparkSession | None = None
        self._pending = pending

    @property
    def pending(self) -> bool:
        """Whether the session takes seconds to start, and is not started."""
        return self._pending and self._session is None

    def get(self) -> SparkSession:
        """Return the session; start it if need be."""
        if self._session is None:
            self._session = self._start()
        return self._session


def started(spark: SparkSession) -> LaterSession:
    """Return a session that is running already."""
    return LaterSession(lambda: spark, pending=False)


@contextlib.contextmanager
def later_session(master: str | None, *, debug: bool, progress: ProgressReporter) -> Iterator[LaterSession]:
    """Give what `spark_session` gives, for expression tables only, but start a local Spark when it is asked for.

    EngineError if it is plain already that Spark cannot be started.
    """
    with contextlib.ExitStack() as stack:

        def start() -> SparkSession:
            session = session_with_classes(None, master, debug=debug, progress=progress, tables_only=True)
            return stack.enter_context(session)

        session = LaterSession(start, pending=will_start_here(master))
        if not session.pending:
            session.get()
        yield session
