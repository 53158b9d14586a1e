"""How many tasks of a Spark job are done, asked beside the job; classic sessions only.

Spark Connect has no status tracker: there nothing is reported.
"""

import contextlib
import threading
import uuid
from collections.abc import Iterator

from pyspark import InheritableThread, SparkContext
from pyspark.sql import SparkSession

from median_spark.progress import ProgressReporter, StageReporter, StageState, stage_reporter
from median_spark.spark.engine.job_description import is_connect

_GROUP = "spark.jobGroup.id"
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


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
    watch = _Watch(context, group, tasks, reporter)
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

    def __init__(self, context: SparkContext, group: str, tasks: int, reporter: StageReporter) -> None:
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
        while not self._ended.wait(_POLL_SECONDS):
            try:
                done = self._tasks_done()
            except Exception:  # Spark is gone, each version with an error of its own: the job itself says so
                return
            if not self._ended.is_set():
                self._reporter.stage_state(StageState(done, self._tasks))

    def _tasks_done(self) -> int:
        """Return how many tasks of the jobs begun since are done; a stage that is tried again loses none."""
        for job in set(self._tracker.getJobIdsForGroup(self._group)) - self._earlier:
            info = self._tracker.getJobInfo(job)
            for stage in info.stageIds if info is not None else ():
                state = self._tracker.getStageInfo(stage)
                if state is not None:
                    self._done[stage] = max(self._done.get(stage, 0), state.numCompletedTasks)
        return min(sum(self._done.values()), self._tasks)
