"""What several tests on real engines share."""

from contextlib import contextmanager

import pytest
from connect_server import connect_server
from store_servers import KINDS, store_server


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


@contextmanager
def reachable(kind, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, store_server(kind, tmp_path_factory.mktemp(kind)) as running:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        yield running
