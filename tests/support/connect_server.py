"""A Spark Connect server as a process of its own, and sessions with it that leave this process as it was."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

PATIENCE = 120
CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"
CLIENT_VARIABLES = ("SPARK_REMOTE", "SPARK_LOCAL_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE")


@dataclass(frozen=True)
class ConnectServer:
    """Where a server listens, its process id, and the file that has what it says."""

    url: str
    pid: int
    log: Path


def free_port():
    """Return a port of the loopback interface at which nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return listening.getsockname()[1]


def clean_environment():
    """Return this process's environment without what makes pyspark a Connect client."""
    kept = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    return {**kept, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


@contextmanager
def connect_server(folder, settings=None, **environment):
    """Run a server in a folder, with more of Spark's settings, and more in its environment.

    It is stopped, with its workers, when the block ends.
    """
    port = free_port()
    chosen = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": 4,
        "spark.ui.enabled": "false",
        **(settings or {}),
    }
    command = [str(Path(sys.executable).with_name("spark-submit")), "--class", CLASS, "--master", "local[2]"]
    command += [*("--driver-memory", "1g")]
    for name, value in chosen.items():
        command += ["--conf", f"{name}={value}"]
    log = Path(folder) / "connect-server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**clean_environment(), **environment},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        _wait_for(port, process, log)
        yield ConnectServer(f"sc://127.0.0.1:{port}", process.pid, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def remote_session(url):
    """Lend a session with a server, and take back what pyspark notes in the environment about it."""
    before = {name: os.environ.get(name) for name in CLIENT_VARIABLES}
    # Not getOrCreate: a classic session of other tests may be alive in this process.
    session = SparkSession.builder.remote(url).create()
    try:
        yield session
    finally:
        session.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _wait_for(port, process, log):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, f"the server ended:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"the server does not listen:\n{log.read_text()[-4000:]}"
            time.sleep(0.1)
        else:
            return
