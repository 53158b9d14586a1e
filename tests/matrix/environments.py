"""Virtual environments of the version matrix: made when they are first needed, and again when their versions change."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from legs import HERE, Leg

CHECKOUT = HERE.parents[1]

TOOLS = ("duckdb", "hypothesis", "polars", "psutil", "pytest", "pytest-xdist")
"""What the tests need beside the package and its extras."""

VERSIONS, BUILT = ".versions", ".wheel"
"""Files of an environment with digests of what it was made from."""


class BrokenLegError(Exception):
    """An environment that cannot be made, or something in it that cannot be run."""


def bare_environ():
    """Return this process's environment without what would lead another Python, or Spark, astray."""
    astray = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "SPARK_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"}
    return {name: text for name, text in os.environ.items() if name not in astray}


def run_logged(arguments, log, *, cwd, minutes):
    """Run a program, its output appended to a log, and return its exit status."""
    with log.open("ab") as sink:
        sink.write(f"\n$ {' '.join(map(str, arguments))}\n".encode())
        sink.flush()
        try:
            done = subprocess.run(
                list(map(str, arguments)),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=bare_environ(),
                timeout=minutes * 60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            sink.write(f"ended after {minutes} minutes\n".encode())
            return -1
    return done.returncode


def build_wheel(folder, log):
    """Build the checkout's wheel into a folder, and return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CHECKOUT]
    if run_logged(arguments, log, cwd=CHECKOUT, minutes=10):
        message = f"the wheel cannot be built, see {log}"
        raise BrokenLegError(message)
    return next(Path(folder).glob("*.whl"))


def ready_python(leg: Leg, environments, wheel, log):
    """Return the Python of a leg's environment, with the wheel installed.

    The versions of what is installed are compared with the leg's file, so that it is what it says.
    """
    if leg.constraints is None:
        return Path(sys.executable)
    folder = Path(environments) / leg.name
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    wanted = _digest(leg.constraints.read_bytes() + " ".join([leg.extras, *TOOLS]).encode())
    if _text(folder / VERSIONS) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _make([sys.executable, "-m", "venv", folder], log)
        _make([*pip, "--constraint", leg.constraints, f"{wheel}[{leg.extras}]", "pyspark", *TOOLS], log)
        (folder / VERSIONS).write_text(wanted)
    built = _digest(wheel.read_bytes())
    if _text(folder / BUILT) != built:  # else what numba has compiled for it stays
        _make([*pip, "--no-deps", "--force-reinstall", wheel], log)
        (folder / BUILT).write_text(built)
    check_versions(leg, python)
    return python


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _text(path):
    return path.read_text() if path.exists() else None


def _make(arguments, log):
    if run_logged(arguments, log, cwd=CHECKOUT, minutes=30):
        message = f"its environment cannot be made, see {log}"
        raise BrokenLegError(message)


def check_versions(leg, python):
    """Refuse an environment whose packages are not the ones that the leg's file names, no more and no fewer."""
    listed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    found = {line.strip().lower() for line in listed.splitlines() if "==" in line}
    wanted = {line.strip().lower() for line in leg.constraints.read_text().splitlines() if "==" in line}
    if found != wanted:
        message = f"its packages are not those of {leg.constraints.name}: {sorted(found ^ wanted)}"
        raise BrokenLegError(message)


def versions_of(python, names):
    """Return the versions of some packages in an environment, and of Python itself as ``python``."""
    code = (
        "import sys, json, platform; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]} | {'python': platform.python_version()}))"
    )
    told = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True, env=bare_environ())
    return json.loads(told.stdout)
