"""A Spark standalone cluster on this machine: a master and workers, each a machine of its own that can be lost.

Everything listens on loopback alone. A machine is a session of processes: the worker, its executors and their Python.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from machines import SPARK_HOME, Machine, free_port, running, told, wait_for


class Worker(Machine):
    """A worker with its executors."""

    def executors(self):
        """Return the ids of the executors that it has been given, of the latest application."""
        applications = sorted((self.folder / "work").glob("app-*"), key=lambda path: path.name)
        return {path.name for path in applications[-1].iterdir()} if applications else set()


@dataclass
class Cluster:
    """A master and its workers."""

    url: str
    workers: list[Worker]


@contextmanager
def standalone_cluster(folder, environment, workers=2):
    """Start a master and workers of one core each, and stop them when the block ends, however it ends."""
    port, page = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:

        def start(name, role, *arguments, kind=Machine):
            command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
            own = environment | {"SPARK_LOCAL_DIRS": str(folder / name / "scratch")}
            return stack.enter_context(running(folder / name, own, command, kind))

        arguments = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page))
        master = start("master", "master.Master", *arguments)
        alive = f"http://127.0.0.1:{page}/json/"
        wait_for(lambda: told(alive) is not None, master)
        started = []
        for number in range(workers):
            name = f"worker{number}"
            arguments = ("--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0")
            arguments += ("--work-dir", str(folder / name / "work"), url)
            started.append(start(name, "worker.Worker", *arguments, kind=Worker))
        wait_for(lambda: (told(alive) or {}).get("aliveworkers") == workers, master)
        yield Cluster(url, started)
