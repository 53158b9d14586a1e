"""Whether there is a Java that Spark can run on. Standard library only: `make` runs it before anything is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NEEDED = 17
"""The lowest major version of Java that Spark 4 runs on."""

_REMEDY = (
    "install one (Debian, Ubuntu: 'apt-get install openjdk-17-jre-headless'; macOS: 'brew install openjdk@17'; "
    "conda: 'conda install -c conda-forge openjdk=17') or point JAVA_HOME to it"
)


def java_problem() -> str | None:
    """Return one sentence that says what is wrong with this machine's Java and what helps, or None if it will do."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        return f"Spark needs Java {NEEDED} or newer and there is none on this machine: {_REMEDY}"
    try:
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Spark needs Java {NEEDED} or newer and {java} cannot be run ({error}): {_REMEDY}"
    version = re.search(r'version "(?:1\.)?(\d+)', output.stderr + output.stdout)
    if version is None:
        return f"Spark needs Java {NEEDED} or newer and {java} does not tell its version: {_REMEDY}"
    if int(version[1]) < NEEDED:
        return f"Spark needs Java {NEEDED} or newer and {java} is version {version[1]}: {_REMEDY}"
    return None


if __name__ == "__main__":
    problem = java_problem()
    if problem:
        sys.exit(f"error: {problem}")
