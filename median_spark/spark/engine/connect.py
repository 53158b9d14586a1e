"""The address of a Spark Connect server, and whether anything answers there.

pyspark's client tries for ten minutes before it says that nobody is there; a mistyped port should be told at once.
"""

import os
import socket
from urllib.parse import urlsplit

from median_spark.errors import EngineError, UsageError
from median_spark.options import MASTER

SCHEME = "sc://"

_PORT = 15002  # Spark's own choice where the address names none
_PATIENCE = 10.0
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def connect_address(master: str | None) -> str | None:
    """Return the address of the Connect server that was asked for, or None where it was another Spark.

    Parameters
    ----------
    master : str, optional
        What the user named; without it the environment's ``SPARK_REMOTE`` counts.
    """
    named = master or os.environ.get("SPARK_REMOTE", "")
    return named if named.startswith(SCHEME) else None


def check_reachable(address: str) -> None:
    """Refuse an address at which nothing listens.

    Where gRPC goes through a proxy this tells nothing, and nothing is checked.

    Parameters
    ----------
    address : str
        ``sc://host:port``, perhaps with parameters after a semicolon.

    Raises
    ------
    UsageError
        If the address names no host, or its port is no number.
    EngineError
        If no connection comes about within ten seconds.
    """
    found = urlsplit("http" + address[2:].split(";", 1)[0])  # a scheme whose addresses the standard library knows
    try:
        host, port = found.hostname, found.port or _PORT
    except ValueError as error:
        message = f"{address}: this address cannot be used ({error}): write it as sc://host:port"
        raise UsageError(message) from error
    if host is None:
        message = f"{address}: this address names no host: write it as sc://host:port"
        raise UsageError(message)
    if any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as error:
        message = (
            f"{address}: no Spark Connect server answers at port {port} of {host} ({error.strerror or error}): "
            f"start it there, or name another one with {MASTER}"
        )
        raise EngineError(message) from error
