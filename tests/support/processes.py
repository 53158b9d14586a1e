"""Runs as processes of their own, and killing parts of them, by process id."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 180

SUPPORT = Path(__file__).parent
"""The folder of this file, with the programs that tests start."""


def start(*arguments, **more):
    """Start the command line in a process group of its own."""
    command = [sys.executable, "-m", "median_spark", *map(str, arguments)]
    return subprocess.Popen(command, start_new_session=True, **more)


def kill_group(process):
    """Kill the process, its JVM and its Python workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(what, process, step=0.005):
    """Wait until `what` holds; the process must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(step)


@contextmanager
def frozen(process):
    """While the block runs, let the process, but not those below it, do nothing; it keeps what it holds."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def python_workers(of):
    """Return the processes below a process that are Spark's Python workers."""
    daemons, parents = _spark_pythons(of)
    return [pid for pid in daemons if parents[pid] in daemons and parents[parents[pid]] not in daemons]


def guarded_readers(of):
    """Return the processes below a process in which Spark's Python workers read files."""
    daemons, parents = _spark_pythons(of)
    return [pid for pid in daemons if parents[pid] in daemons and parents[parents[pid]] in daemons]


def _spark_pythons(of):
    """Return Spark's Python daemon below a process with all of its forks, and the parent of every process."""
    parents, lines = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                lines[int(entry.name)] = (entry / "cmdline").read_bytes()

    def is_below(pid):
        while pid in parents and pid != of:
            pid = parents[pid]
        return pid == of

    return {pid for pid, line in lines.items() if b"pyspark.daemon" in line and is_below(pid)}, parents


def children(of):
    """Return the processes that a process has started and that are still there."""
    found = []
    for task in Path(f"/proc/{of}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found
