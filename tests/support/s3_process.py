"""An S3 server to test against: moto's, with a door through which it is told to fail, and tells what it was asked.

Run as a process of its own, with a port; it ends when its standard input does. ``GET /_asked`` gives what was asked
since the last time, ``POST /_fail`` with ``{"every": 5}`` lets every fifth request fail as an overloaded store does.
"""

import json
import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>1</RequestId></Error>"""


class Door:
    """What stands before the server."""

    def __init__(self, server):
        self._server = server
        self._changing = threading.Lock()
        self._every = 0
        self._only = ""
        self._count = 0
        self._asked = []

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/_asked":
            with self._changing:
                told, self._asked = self._asked, []
            return self._answer(start_response, told)
        if path == "/_fail":
            body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            with self._changing:
                self._every, self._only, self._count = body["every"], body.get("only", ""), 0
            return self._answer(start_response, {})
        asked = f"{environ['REQUEST_METHOD']} {path}?{environ.get('QUERY_STRING', '')}"
        with self._changing:
            counts = self._only in asked
            self._count += counts
            fails = bool(self._every) and counts and self._count % self._every == 0
            heard = {"range": environ.get("HTTP_RANGE"), "payer": environ.get("HTTP_X_AMZ_REQUEST_PAYER")}
            self._asked.append({"asked": asked, **heard, "failed": fails})
        if fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        return self._server(environ, start_response)

    @staticmethod
    def _answer(start_response, content):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(content).encode()]


def end_with_input():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    run_simple("127.0.0.1", int(sys.argv[1]), Door(DomainDispatcherApplication(create_backend_app)), threaded=True)
