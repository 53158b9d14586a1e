"""Saying which sources a conversion waits for: those whose reading makes no progress."""

import contextlib
import threading
from collections.abc import Iterator, Mapping

from median_spark.errors import StorageError
from median_spark.expression import Staging
from median_spark.guard import Limits
from median_spark.progress import ProgressReporter

_LOOK_SECONDS = 2.0


class SlowSources:
    """Names each source once that a conversion waits for; `names` are those under way, by conversion."""

    def __init__(self, staging: Staging, names: Mapping[str, str], limits: Limits, progress: ProgressReporter) -> None:
        self._staging = staging
        self._names = names
        self._limits = limits
        self._progress = progress
        self._reported: set[str] = set()

    def look(self) -> None:
        """Look for such sources now."""
        slow = self._staging.slow_conversions() & self._names.keys()
        for conversion in sorted(slow - self._reported):
            self._progress.note(
                f"waiting for source '{self._names[conversion]}', which makes no progress; it fails after "
                f"{self._limits.processor_seconds} s of processor time, or {self._limits.waiting_seconds:g} s of any"
            )
        self._reported |= slow

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look every few seconds while a block runs."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOK_SECONDS):
                with contextlib.suppress(StorageError):  # it answers next time, or the block itself fails
                    self.look()

        watcher = threading.Thread(target=watch, name="median-spark waiting", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
