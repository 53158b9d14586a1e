"""What several tests on real engines share."""

import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from connect_server import connect_server
from machines import bare_environment, bare_python
from store_servers import KINDS, store_server

PACK = Path(__file__).parents[2] / "conf" / "package" / "pack.py"


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in KINDS])
def server(request, tmp_path_factory):
    """A server of a module's own of each kind of store, to which this process's environment leads."""
    with reachable(request.param, tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="session")
def connect(tmp_path_factory):
    """A Spark Connect server for all files that want nothing special of it."""
    with connect_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """An S3 server of a module's own, to which this process's environment leads."""
    with reachable("s3", tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """A folder for the packed environment, of more than a gigabyte, so it is not kept."""
    folder = tmp_path_factory.mktemp("packed")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def archive(packed):
    """The packed environment, made as `make package` makes it, unless MEDIAN_SPARK_ARCHIVE names one of this state."""
    given = os.environ.get("MEDIAN_SPARK_ARCHIVE")
    if given:
        return Path(given).absolute()
    subprocess.run([sys.executable, str(PACK), "--out", str(packed / "dist")], check=True)
    (made,) = (packed / "dist").glob("*linux*.tar.gz")  # beside the source distribution
    return made


@pytest.fixture(scope="session")
def edge(packed, archive):
    """The folder on the machine that submits, with the environment unpacked as the driver needs it."""
    folder = packed / "edge"
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "environment", filter="tar")
    return folder


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """The environment variables of machines that have a Python, and not one package."""
    folder = tmp_path_factory.mktemp("bare")
    python = bare_python(folder / "python")
    environment = bare_environment(python, folder / "home")
    for package in ("numpy", "pyarrow", "pyspark", "median_spark"):
        command = [str(python), "-c", f"import {package}"]
        tried = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
        assert tried.returncode == 1, f"the bare Python has {package}"
    return environment


@contextmanager
def reachable(kind, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, store_server(kind, tmp_path_factory.mktemp(kind)) as running:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        yield running
