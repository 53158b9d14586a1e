"""An archive of the classes that Spark's JVM loads: with it, Spark starts and runs its first query in half the time.

Java calls it a class-data-sharing archive. It lies in the user's cache folder, under a name that stands for Java, Spark
and its jars. It is never needed: a JVM ignores an archive that is missing, damaged or another JVM's.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyspark import SparkContext
from pyspark.find_spark_home import _find_spark_home

from median_spark.spark.engine.java import Java

SWITCH = "MEDIAN_SPARK_CLASS_ARCHIVE"
"""Variable of the environment that keeps archives from being used and made if it is ``off``."""

_MAKER = "median_spark.spark.make_class_archive"
"""Module that makes an archive, in a process of its own."""

_SILENT = "-Xlog:cds=off -Xlog:cds+dynamic=off"

_OPTIONS_OF_JAVA = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS")
_OF_SHARING = ("Archive", "-Xshare", "SharedClassList", "DumpLoadedClassList")
_OTHER_CLASSES = ("PYSPARK_SUBMIT_ARGS", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_DIST_CLASSPATH", "SPARK_CLASSPATH")

_UNSAFE = '":\\'
"""Characters of a path that the options of a JVM cannot hold."""

_RETRY_SECONDS = 24 * 3600
_KEPT_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class ClassArchive:
    """The archive of one Java and one Spark, made or not.

    Attributes
    ----------
    path : Path
        File of the archive.
    """

    path: Path

    @property
    def _lock(self) -> Path:
        return self.path.with_suffix(".lock")

    def options(self) -> str:
        """Return the options of a JVM that use the archive; empty if there is none.

        A JVM checks what the archive holds, but crashes if it is shorter than it was.
        """
        try:
            os.utime(self.path)  # one that has not been used for long is removed
            whole = self._lock.read_bytes() == _size(self.path)
        except OSError:
            return ""
        if not whole:
            self.path.unlink(missing_ok=True)
        if not (whole and self._own_folder()):
            return ""
        return f'"-XX:SharedArchiveFile={self.path}" -XX:+VerifySharedSpaces {_SILENT}'

    def make_later(self) -> None:
        """Start a process that makes the archive, with the lowest priority, unless that was tried within a day."""
        with contextlib.suppress(OSError):  # without an archive all works as well
            if self.path.exists() or time.time() - _changed(self._lock) < _RETRY_SECONDS or not self._own_folder():
                return
            self._lock.touch(mode=0o600)
            subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def making(self) -> Iterator[str | None]:
        """Yield the options of a JVM that writes the archive when it ends; the block must wait for that end.

        None is yielded if there is an archive already, if it is being made by another process, or if it cannot be. The
        archive is moved to its place when it is whole, if the block ends without an error.
        """
        with contextlib.ExitStack() as stack:
            if not self._own_folder() or self.path.exists() or not stack.enter_context(_locked(self._lock)):
                yield None
                return
            self._remove_old()
            unfinished = self.path.with_suffix(f".{os.getpid()}")
            stack.callback(unfinished.unlink, missing_ok=True)
            yield f'"-XX:ArchiveClassesAtExit={unfinished}" {_SILENT}'
            if unfinished.exists():
                with unfinished.open("rb") as file:
                    os.fsync(file.fileno())
                self._lock.write_bytes(_size(unfinished))
                unfinished.replace(self.path)

    def _own_folder(self) -> bool:
        """Make the folder; say if that worked and it is this user's alone: what lies in it is run as code."""
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError:
            return False
        return status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(folder, os.W_OK)

    def _remove_old(self) -> None:
        """Remove archives that were not used for long, and what killed processes have left of this one."""
        for file in self.path.parent.iterdir():
            unfinished = file.stem == self.path.stem and file != self._lock
            if unfinished or time.time() - _changed(file) > _KEPT_SECONDS:
                file.unlink(missing_ok=True)


_PROGRAM = f"""
import os, runpy, sys
sys.path[:] = sys.argv[1:]
os.nice(19)
runpy.run_module("{_MAKER}", run_name="__main__")
"""


def class_archive(java: Java) -> ClassArchive | None:
    """Return the archive for a Java and the Spark that pyspark will start; None where there should be none.

    That is where Java cannot share classes, where a user's own settings concern sharing or change which classes there
    are, and where there is no folder for it.
    """
    environment = os.environ
    home = Path(_find_spark_home())
    conf = Path(environment.get("SPARK_CONF_DIR") or home / "conf")
    if (
        environment.get(SWITCH) == "off"
        or "sharing" not in java.version
        or any(word in environment.get(name, "") for name in _OPTIONS_OF_JAVA for word in _OF_SHARING)
        or any(environment.get(name) for name in _OTHER_CLASSES)
        or (conf.is_dir() and any(conf.iterdir()))
    ):
        return None
    jars = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in (home / "jars").iterdir())
    version = [line for line in java.version.splitlines() if not line.startswith("Picked up")]  # options of the user
    key = hashlib.sha256(repr((os.path.realpath(java.path), version, str(home), jars)).encode()).hexdigest()[:32]
    folder = _cache_folder()
    if folder is None or any(character in str(folder) for character in _UNSAFE):
        return None
    return ClassArchive(folder / f"{key}.jsa")


def end_jvm() -> int:
    """End the JVM that pyspark has started, wait for it, and return its exit status."""
    process = SparkContext._gateway.proc
    process.stdin.close()
    status: int = process.wait()
    return status


def _cache_folder() -> Path | None:
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # this user has no home
        return None
    return root / "median_spark" / "classes"


def _size(file: Path) -> bytes:
    """Return the size of a file as it is kept in the lock file."""
    return str(file.stat().st_size).encode()


def _changed(file: Path) -> float:
    """Return when a file was changed last; 0 if there is none."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Lock a file while the block runs, and yield True; yield False if another process has locked it."""
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.utime(file)
        yield True
