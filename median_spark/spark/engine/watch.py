"""How many tasks of a Spark job are done, asked beside the job; classic sessions only.

Spark Connect has no status tracker: there nothing is reported.
"""

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Iterator
from weakref import WeakSet

from pyspark import InheritableThread, SparkContext
from pyspark.sql import SparkSession

from median_spark.progress import ProgressReporter, StageReporter, StageState, stage_reporter
from median_spark.spark.engine.job_description import is_connect

_GROUP = "spark.jobGroup.id"
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0

_START_SECONDS = 8.0
"""On a cluster, a first task that takes longer is explained: lines of progress say that none is done after 10 s."""

_LOCAL = re.compile(r"local(\[|$)")
"""Masters whose workers start within seconds; ``local-cluster[2,1,1024]`` is none of them."""

_started_contexts: "WeakSet[SparkContext]" = WeakSet()
"""Contexts of which a task has ended, or whose start was explained."""


@contextlib.contextmanager
def watched_tasks(spark: SparkSession, progress: ProgressReporter, tasks: int) -> Iterator[None]:
    """Report how many tasks of the jobs that this thread starts are done while a block runs.

    The caller's job group, by which a notebook cancels a cell, stays; where there is none, the block has its own.

    Parameters
    ----------
    spark
        Session of the jobs.
    progress
        Progress reporter; nothing is asked of Spark unless it wants to know.
    tasks
        Tasks of all stages of the jobs.
    """
    reporter = stage_reporter(progress)
    if reporter is None or is_connect(spark):
        yield
        return
    context = spark.sparkContext
    group = context.getLocalProperty(_GROUP)
    own = group is None
    if own:
        group = f"median_spark {uuid.uuid4().hex}"
        context.setLocalProperty(_GROUP, group)
    watch = _Watch(context, group, tasks, reporter, progress)
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        watch.end(wait=False)
        raise  # this thread's connection to the JVM may still wait for an answer: nothing can be asked of it safely
    except BaseException:
        watch.end()
        if own:
            with contextlib.suppress(Exception):  # a JVM that is gone must not hide what went wrong before
                context.setLocalProperty(_GROUP, None)
        raise
    watch.end()
    if own:
        context.setLocalProperty(_GROUP, None)


class _Watch:
    """Asks the status tracker every second, in a thread of its own."""

    def __init__(
        self, context: SparkContext, group: str, tasks: int, reporter: StageReporter, progress: ProgressReporter
    ) -> None:
        self._context = context
        self._progress = progress
        self._tracker = context.statusTracker()
        self._group = group
        self._tasks = tasks
        self._reporter = reporter
        self._earlier = set(self._tracker.getJobIdsForGroup(group))
        self._done: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = InheritableThread(self._run, name="median-spark tasks", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self, *, wait: bool = True) -> None:
        """Ask no more, and report nothing any more once an answer that is under way has come."""
        self._ended.set()
        if wait:
            self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._ended.wait(_POLL_SECONDS):
            try:
                done = self._tasks_done()
            except Exception:  # Spark is gone, each version with an error of its own: the job itself says so
                return
            if not self._ended.is_set():
                self._explain_start(done, time.monotonic() - begin)
                self._reporter.stage_state(StageState(done, self._tasks))

    def _explain_start(self, done: int, seconds: float) -> None:
        """Say once why no task has ended yet, if that may be because workers start."""
        if self._context in _started_contexts or not (done or seconds >= _START_SECONDS):
            return
        _started_contexts.add(self._context)
        if not done and not _LOCAL.match(self._context.master):
            self._progress.note(
                "note: no task has ended yet: before its first task ends, each worker unpacks its environment, imports "
                "and compiles, which may take a minute"
            )

    def _tasks_done(self) -> int:
        """Return how many tasks of the jobs begun since are done; a stage that is tried again loses none."""
        for job in set(self._tracker.getJobIdsForGroup(self._group)) - self._earlier:
            info = self._tracker.getJobInfo(job)
            for stage in info.stageIds if info is not None else ():
                state = self._tracker.getStageInfo(stage)
                if state is not None:
                    self._done[stage] = max(self._done.get(stage, 0), state.numCompletedTasks)
        return min(sum(self._done.values()), self._tasks)
