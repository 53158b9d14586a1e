import socket
from contextlib import closing

import pytest

from median_spark.errors import EngineError, UsageError
from median_spark.spark.engine.connect import check_reachable, connect_address


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SPARK_REMOTE", raising=False)


@pytest.fixture
def listening():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("master", "environment", "address"),
    [
        ("sc://host:1", None, "sc://host:1"),
        ("sc://host:1", "sc://other", "sc://host:1"),
        (None, "sc://other", "sc://other"),
        ("local[2]", "sc://other", None),
        (None, "unix:///some/socket", None),
        (None, None, None),
    ],
)
def test_the_address_is_the_named_one_else_the_environments(monkeypatch, master, environment, address):
    if environment is not None:
        monkeypatch.setenv("SPARK_REMOTE", environment)
    assert connect_address(master) == address


@pytest.mark.parametrize("more", ["", "/", "/;user_id=me;token=a=b"])
def test_an_address_where_something_listens_will_do(listening, more):
    check_reachable(f"sc://127.0.0.1:{listening}{more}")


def test_an_address_where_nothing_listens_is_refused(listening):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineError, match=f"no Spark Connect server answers at port {port} of 127.0.0.1"):
        check_reachable(f"sc://127.0.0.1:{port}")


def test_nothing_is_told_of_an_address_behind_a_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    check_reachable("sc://127.0.0.1:9")


@pytest.mark.parametrize("address", ["sc://", "sc://:15002", "sc://host:port", "sc://host:99999"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UsageError, match="write it as sc://host:port"):
        check_reachable(address)
