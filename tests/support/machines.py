"""Machines of a cluster that are processes on this one and can be lost.

They have Java, Spark and a Python without packages.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
        """Switch it off, and see that nothing of it is left."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + PATIENCE
        while left := self.processes():
            assert time.monotonic() < deadline, f"processes {left} are still there"
            time.sleep(0.05)


@contextmanager
def running(folder, environment, command, kind=Machine):
    """Start a process in a session and a folder of its own; when the block ends, it and all it has started are gone."""
    folder.mkdir(parents=True, exist_ok=True)
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
    machine = kind(process, folder)
    try:
        yield machine
    finally:
        machine.kill()


def wait_for(what, machine, step=0.05):
    """Wait until `what` holds; the machine must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        said = (machine.folder / "log").read_text(errors="replace")[-4000:]
        assert machine.process.poll() is None, f"it ended: {said}"
        assert time.monotonic() < deadline, f"it took too long: {said}"
        time.sleep(step)
