"""The address of a Spark Connect server, and whether anything answers there.

pyspark's client tries for ten minutes before it reports that no server answers, also where a port was mistyped.
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
    """Return the address of a Connect server that `master` or ``SPARK_REMOTE`` names; None for other Sparks."""
    named = master or os.environ.get("SPARK_REMOTE", "")
    return named if named.startswith(SCHEME) else None


def check_reachable(address: str) -> None:
    """Reject an address, ``sc://host:port``, at which nothing listens; behind a gRPC proxy nothing is checked.

    Raises
    ------
    UsageError
        If the address names no host, or its port is no number.
    EngineError
        If there is no connection within ten seconds.
    """
    parsed = urlsplit("http" + address[2:].split(";", 1)[0])  # a scheme whose addresses the standard library knows
    try:
        host, port = parsed.hostname, parsed.port or _PORT
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
