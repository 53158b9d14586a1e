"""Jobs that are given to spark-submit on this machine, and machines that are switched off under way."""

import json
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from machines import PATIENCE, SPARK_HOME, Machine, free_port, running, told, wait_for


@dataclass
class Submission(Machine):
    """A job that was given to spark-submit, with the driver's own pages while it runs, and its event log after it."""

    page: str = field(default="")
    events: Path = field(default=Path())
    application: str = field(default="")

    def ask(self, what):
        """Return what the driver's REST interface says about the application, or nothing while there is none."""
        if not self.application:
            found = told(f"{self.page}/api/v1/applications")
            if not found:
                return []
            self.application = found[0]["id"]
        return told(f"{self.page}/api/v1/applications/{self.application}/{what}") or []

    def running(self, what):
        """Return the running job whose description begins so, or None."""
        jobs = self.ask("jobs?status=running")
        return next((job for job in jobs if job.get("description", "").startswith(what)), None)

    def busy(self, executors, done):
        """Say whether one of these executors has a task, and has done so many before."""
        found = [found for found in self.ask("executors") if found["id"] in executors]
        return any(each["activeTasks"] and each["completedTasks"] >= done for each in found)

    def said(self):
        return (self.folder / "log").read_text(errors="replace")

    def end(self):
        """Wait for it to end, and return its exit status."""
        return self.process.wait(timeout=3 * PATIENCE)

    def logged(self, kind):
        """Return the events of a kind from the event log of the application, which has ended."""
        (log,) = self.events.glob("[!.]*")
        with log.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        return [event for event in events if event["Event"] == f"SparkListener{kind}"]


@contextmanager
def submitted(folder, environment, *arguments, properties, as_defaults=False):
    """Give a job to spark-submit in a folder, and end it with all its processes when the block ends.

    Its properties are on the command line or, as defaults, in the configuration of the machine that submits.
    """
    page, events = free_port(), folder / f"events-{time.monotonic_ns()}"
    events.mkdir(parents=True)
    properties = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "true",
        "spark.ui.port": str(page),
        "spark.ui.liveUpdate.period": "0",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{events}",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    } | properties
    chosen = []
    if as_defaults:
        environment = environment | {"SPARK_CONF_DIR": str(folder / "spark")}
        (folder / "spark").mkdir(exist_ok=True)
        lines = [f"{name} {value}\n" for name, value in properties.items()]
        (folder / "spark" / "spark-defaults.conf").write_text("".join(lines))
    else:
        chosen = [part for name, value in properties.items() for part in ("--conf", f"{name}={value}")]
    command = [str(SPARK_HOME / "bin" / "spark-submit"), *chosen, *map(str, arguments)]
    with running(folder, environment, command, Submission) as job:
        job.page, job.events = f"http://127.0.0.1:{page}", events
        yield job


@dataclass(frozen=True)
class Loss:
    """A machine that was switched off while it had a task.

    Attributes
    ----------
    job : int
        The number of the Spark job that was running.
    executors : set of str
        The machine's executors.
    """

    job: int
    executors: set[str]


def switch_off_at_work(job, victim, what, done=0):
    """Switch a worker off in the midst of a job whose description begins as told; it has done so many tasks before.

    It is frozen while it has a task, and looked at again, for the task may have ended at that moment. It is switched
    off when another task of the same job is done: neither in the job's first moments nor in its last.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert job.process.poll() is None, f"it ended before a worker could be switched off: {job.said()[-4000:]}"
        found = job.running(what)
        executors = victim.executors()
        if found is None or not job.busy(executors, done):
            time.sleep(0.02)
            continue
        victim.signal(signal.SIGSTOP)
        time.sleep(0.5)
        still = job.running(what)
        if still is None or still["jobId"] != found["jobId"] or not job.busy(executors, done):
            victim.signal(signal.SIGCONT)
            continue
        wait_for(lambda: (job.running(what) or {}).get("numCompletedTasks"), job)
        victim.kill()
        return Loss(found["jobId"], executors)
    pytest.fail(f"no worker was seen at work on {what!r}: {job.said()[-4000:]}")


def assert_lost_at_work(job, loss):
    """By the event log: an executor of the machine was lost with a task of that job, which another one did again."""
    (started,) = [event for event in job.logged("JobStart") if event["Job ID"] == loss.job]
    ended = [event for event in job.logged("TaskEnd") if event["Stage ID"] in started["Stage IDs"]]
    lost = [event for event in ended if event["Task End Reason"]["Reason"] == "ExecutorLostFailure"]
    assert lost
    assert {event["Task Info"]["Executor ID"] for event in lost} <= loss.executors
    done = {event["Task Info"]["Index"] for event in ended if is_success(event) and not by(loss.executors, event)}
    assert {event["Task Info"]["Index"] for event in lost} <= done
    assert {event["Executor ID"] for event in job.logged("ExecutorRemoved")} >= loss.executors


def is_success(event):
    return event["Task End Reason"]["Reason"] == "Success"


def by(executors, event):
    return event["Task Info"]["Executor ID"] in executors
