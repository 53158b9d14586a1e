"""What a Spark that this program starts needs of its surroundings, and what a user may have set for another Spark.

Nothing here concerns a Spark that spark-submit, a platform or a Connect server provides.
"""

import os
import resource
import tempfile
from pathlib import Path

import pyspark

NEEDED_FILES = 512
"""Open files without which Spark's JVM does not start: it holds some 300 libraries open. On 2 cores 400 were enough."""

_AMPLE_FILES = 4096


def surroundings_problem() -> str | None:
    """Return one sentence that says what keeps Spark from running here and what helps, or None."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        return f"Spark needs a folder for temporary files ({error.strerror}): let TMPDIR name one that can be written"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ample = _AMPLE_FILES if hard == resource.RLIM_INFINITY else min(_AMPLE_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < ample:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ample, hard))
    if ample < NEEDED_FILES:
        return (
            f"Spark needs {NEEDED_FILES:,} open files or more and this process may open {hard:,}: raise the limit with "
            f"'ulimit -n {_AMPLE_FILES}', or where it was set (LimitNOFILE of a service, nofile in limits.conf, "
            "--ulimit of a container)"
        )
    return None


def temporary_folder_option() -> str:
    """Return the JVM option that makes Java follow TMPDIR, which it does not by itself; empty where both are /tmp."""
    folder = tempfile.gettempdir()
    return "" if folder == "/tmp" else f'"-Djava.io.tmpdir={folder}"'


def use_own_spark() -> None:
    """Let pyspark start the Spark that it was installed with, also where SPARK_HOME names another one."""
    own = Path(pyspark.__file__).parent
    named = os.environ.get("SPARK_HOME")
    if named is None or not (own / "jars").is_dir() or not (own / "bin" / "spark-submit").exists():
        return  # pyspark is itself part of the Spark that SPARK_HOME names, or finds it
    conf = os.environ.get("SPARK_CONF_DIR")
    if conf is not None and Path(named).resolve() in Path(conf).resolve().parents and Path(named).resolve() != own:
        del os.environ["SPARK_CONF_DIR"]
    os.environ["SPARK_HOME"] = str(own)


def use_loopback(master: str | None) -> None:
    """Let a local Spark use the loopback address, so that it starts where the host's own name does not resolve."""
    if is_local(master):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def is_local(master: str | None) -> bool:
    """Say whether a master runs its workers on this machine."""
    return master is None or master.startswith("local")
