"""Whether there is a Java that Spark can run on. Standard library only: `make` runs it before anything is installed."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NEEDED = 17
"""The lowest major version of Java that Spark 4 runs on."""

_REMEDY = (
    "install one (Debian, Ubuntu: 'apt-get install openjdk-17-jre-headless'; macOS: 'brew install openjdk@17'; "
    "conda: 'conda install -c conda-forge openjdk=17') or point JAVA_HOME to it"
)


class JavaError(Exception):
    """No usable Java; the message is one sentence that says what is wrong with this machine's and what helps."""


@dataclass(frozen=True)
class Java:
    """A Java that Spark can run on; `version` is what ``java -version`` prints."""

    path: str
    version: str


def usable_java() -> Java:
    """Return the Java that Spark will start; JavaError if Spark cannot run on it."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        message = f"Spark needs Java {NEEDED} or newer and there is none on this machine: {_REMEDY}"
        raise JavaError(message)
    try:
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"Spark needs Java {NEEDED} or newer and {java} cannot be run ({error}): {_REMEDY}"
        raise JavaError(message) from error
    printed = output.stderr + output.stdout
    version = re.search(r'version "(?:1\.)?(\d+)', printed)
    if version is None:
        message = f"Spark needs Java {NEEDED} or newer and {java} does not tell its version: {_REMEDY}"
        raise JavaError(message)
    if int(version[1]) < NEEDED:
        message = f"Spark needs Java {NEEDED} or newer and {java} is version {version[1]}: {_REMEDY}"
        raise JavaError(message)
    return Java(java, printed)


if __name__ == "__main__":
    try:
        usable_java()
    except JavaError as error:
        sys.exit(f"error: {error}")
