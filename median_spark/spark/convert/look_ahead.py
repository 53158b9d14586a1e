"""Looking at sources in the driver while Spark starts: a local Spark leaves a core idle for seconds."""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence

from median_spark import storage
from median_spark.expression import LookedAt, Looking, WantedSource, stage_batch
from median_spark.guard import Kept, Limits, end_reader, start_reader


@contextlib.contextmanager
def looking_ahead(
    looking: Looking, wanted: Sequence[WantedSource], software: dict[str, str], limits: Limits
) -> Iterator[dict[str, LookedAt]]:
    """While the block runs, look at local sources in a thread, one after another, as a worker does.

    Yields a dictionary that has, when the block has ended, what the looks brought, by conversion. Sources that it lacks
    are left to the workers.
    """
    outcomes: dict[str, LookedAt] = {}
    start_reader()  # before there are other threads and a JVM, of which it would keep the files
    environment = dict(os.environ)
    ended = threading.Event()
    kept = Kept.of(looking)

    def look() -> None:
        for one in wanted:
            # The reader keeps the environment that it started in, and would be started again with another one.
            if ended.is_set() or dict(os.environ) != environment:
                return
            if storage.is_local(one.source.file.path):
                try:
                    (outcome,) = stage_batch([one], kept, looking.table.staging, software, limits)
                except Exception:  # such as a full disk: the workers meet it, too, and say so
                    return
                outcomes[one.conversion] = outcome

    thread = threading.Thread(target=look, name="median-spark look", daemon=True)
    thread.start()
    try:
        yield outcomes
    except BaseException:
        ended.set()  # and do not wait: this process ends
        raise
    ended.set()
    thread.join()
    end_reader()
