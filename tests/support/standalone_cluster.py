"""A Spark standalone cluster on this machine: a master and workers, each a machine of its own that can be lost.

Everything listens on loopback alone. A machine is a session of processes: the worker, its executors and their Python.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyspark
import pytest

PATIENCE = 240
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SPARK_HOME = Path(pyspark.__file__).parent


def bare_python(folder):
    """Make a Python of this minor version that has no packages, of another installation where there is one."""
    for base in (f"/usr/bin/python{MINOR}", f"/usr/local/bin/python{MINOR}", sys._base_executable):
        if Path(base).exists():
            made = subprocess.run([base, "-m", "venv", "--without-pip", str(folder)], check=False)
            if made.returncode == 0:
                return folder / "bin" / "python3"
            shutil.rmtree(folder, ignore_errors=True)
    pytest.fail("there is no Python that could make an empty environment")


def bare_environment(python, home):
    """Return the environment variables of a machine that has this Python, Java and Spark, and nothing of this one's."""
    java = Path(shutil.which("java")).parent
    found = {name: os.environ[name] for name in ("JAVA_HOME", "LANG", "LC_ALL") if name in os.environ}
    home.mkdir(parents=True, exist_ok=True)
    return found | {
        "PATH": f"{python.parent}:{java}:/usr/bin:/bin",
        "HOME": str(home),
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(home / "scratch"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",  # it would listen on a port that cannot be chosen
    }


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def told(url):
    """Return the JSON that a page of Spark's holds, or None while there is no such page."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError, ValueError), direct.open(url, timeout=10) as page:
        return json.load(page)
    return None


@dataclass
class Machine:
    """A process of Spark's with all that it has started."""

    process: subprocess.Popen
    folder: Path

    def processes(self):
        """Return all processes of its session; Python workers are in groups of their own, but not in other sessions."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    if int(fields[3]) == self.process.pid and fields[0] != "Z":
                        found.append(int(entry.name))
        return found

    def signal(self, number):
        """Send a signal to all of its processes, until none is left that has not got it."""
        reached = set()
        while new := set(self.processes()) - reached:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= new

    def kill(self):
        """Switch it off."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def executors(self):
        """Return the ids of the executors that it has been given, of the latest application."""
        applications = sorted((self.folder / "work").glob("app-*"), key=lambda path: path.name)
        return {path.name for path in applications[-1].iterdir()} if applications else set()


@dataclass
class Cluster:
    """A master and its workers."""

    url: str
    workers: list[Machine]


@contextmanager
def standalone_cluster(folder, environment, workers=2):
    """Start a master and workers of one core each, and stop them when the block ends, however it ends."""
    port, page = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:
        arguments = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page))
        master = stack.enter_context(machine(folder / "master", environment, "master.Master", *arguments))
        alive = f"http://127.0.0.1:{page}/json/"
        wait_for(lambda: told(alive) is not None, master)
        started = []
        for number in range(workers):
            home = folder / f"worker{number}"
            arguments = ("--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0")
            arguments += ("--work-dir", str(home / "work"), url)
            started.append(stack.enter_context(machine(home, environment, "worker.Worker", *arguments)))
        wait_for(lambda: (told(alive) or {}).get("aliveworkers") == workers, master)
        yield Cluster(url, started)


@contextmanager
def machine(folder, environment, role, *arguments):
    folder.mkdir(parents=True)
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
    own = environment | {"SPARK_LOCAL_DIRS": str(folder / "scratch")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=own, cwd=folder, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    started = Machine(process, folder)
    try:
        yield started
    finally:
        started.kill()


def wait_for(what, machine, step=0.05):
    """Wait until `what` holds; the machine must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        said = (machine.folder / "log").read_text(errors="replace")[-4000:]
        assert machine.process.poll() is None, f"it ended: {said}"
        assert time.monotonic() < deadline, f"it took too long: {said}"
        time.sleep(step)


@dataclass
class Submission(Machine):
    """A job that was given to spark-submit, with the driver's own pages while it runs, and its event log after it."""

    page: str
    events: Path
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
def submitted(folder, environment, *arguments, properties):
    """Give a job to spark-submit in a folder, and end it with all its processes when the block ends."""
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
    chosen = [part for name, value in properties.items() for part in ("--conf", f"{name}={value}")]
    command = [str(SPARK_HOME / "bin" / "spark-submit"), *chosen, *map(str, arguments)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    job = Submission(process, folder, f"http://127.0.0.1:{page}", events)
    try:
        yield job
    finally:
        job.kill()


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
