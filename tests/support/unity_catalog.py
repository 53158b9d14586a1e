"""Unity Catalog's own server as a process, and its REST API."""

import json
import socket
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass

from emulators import unity_server_jars
from machines import Machine, running, told, wait_for

MAIN = "io.unitycatalog.server.UnityCatalogServer"


@dataclass(frozen=True)
class UnityCatalog:
    """Where a server listens, and its process."""

    url: str
    machine: Machine

    def create(self, kind, **fields):
        """Create a catalog, schema or volume; return what the server says of it."""
        address, sent = f"{self.url}/api/2.1/unity-catalog/{kind}", json.dumps(fields).encode()
        request = urllib.request.Request(address, sent, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def unity_catalog(folder):
    """Run a server that keeps its catalogs in memory; it is stopped when the block ends.

    It has two ports. Its API listens to this machine only, at the port after the one given to it. At that one a proxy
    would listen to other machines too; it cannot, because the port is taken, and the server does without.
    """
    class_path = unity_server_jars()
    settings = folder / "etc" / "conf"
    settings.mkdir(parents=True)
    (settings / "server.properties").write_text("server.env=test\nserver.authorization=disable\n")
    with closing(socket.socket()) as taken:
        port = _bind_before_a_free_port(taken)
        url = f"http://127.0.0.1:{port + 1}"
        command = ["java", "-Xmx512m", "-cp", class_path, MAIN, "--port", str(port)]
        with running(folder, None, command) as machine:
            wait_for(lambda: told(f"{url}/api/2.1/unity-catalog/catalogs"), machine)
            yield UnityCatalog(url, machine)


def _bind_before_a_free_port(taken):
    """Bind a socket to a port after which one is free, and return it."""
    with closing(socket.socket()) as following:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        following.bind(("127.0.0.1", port + 1))
    return port
