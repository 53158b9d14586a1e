"""An object store to test against, behind a door that can be told to fail and that records all requests.

Run as a process of its own: ``store_process.py PORT s3`` serves moto's S3 itself; ``store_process.py PORT KIND BEHIND
COMMAND…`` starts the emulator of another store, which listens on the port BEHIND, and forwards to it. Both end when its
standard input does. ``GET /_asked`` gives the requests since the last
time, ``POST /_fail`` with ``{"every": 5}`` lets every fifth request fail as an overloaded store does.
"""

import http.client
import io
import json
import os
import subprocess
import sys
import threading

from werkzeug.serving import WSGIRequestHandler, run_simple

OVERLOADED = {
    "s3": (
        [("Content-Type", "application/xml")],
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    ),
    "gs": (
        [("Content-Type", "application/json; charset=UTF-8")],
        b'{"error": {"code": 503, "message": "Backend Error", "errors": [{"reason": "backendError"}]}}',
    ),
    "abfs": (
        [("Content-Type", "application/xml"), ("x-ms-error-code", "ServerBusy")],
        b'<?xml version="1.0" encoding="utf-8"?>\n'
        b"<Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>",
    ),
}
"""Headers and body of a 503, as each kind of store sends it."""

OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


class Door:
    """What stands before the store."""

    def __init__(self, kind, store):
        self._kind = kind
        self._store = store
        self._changing = threading.Lock()
        self._every = 0
        self._only = ""
        self._count = 0
        self._asked = []
        self._sent = {}

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
            ranges = environ.get("HTTP_RANGE") or environ.get("HTTP_X_MS_RANGE")
            heard = {"range": ranges, "payer": environ.get("HTTP_X_AMZ_REQUEST_PAYER"), "batch": deletions(environ)}
            self._asked.append({"asked": asked, **heard, "failed": fails})
        if fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            headers, body = OVERLOADED[self._kind]
            start_response("503 Service Unavailable", [*headers, ("Content-Length", str(len(body)))])
            return [body]
        upload = environ.get("QUERY_STRING", "").rpartition("upload_id=")[2]
        part = environ.get("HTTP_CONTENT_RANGE", "")
        if part == "bytes */*":
            return self._tell_how_far(upload, environ, start_response)
        with self._changing:
            self._sent[upload] = part.removeprefix("bytes ").partition("/")[0]
        return self._store(environ, start_response)

    def _tell_how_far(self, upload, environ, start_response):
        """Say which bytes of an upload to Google's store have come; the emulator would end the upload instead."""
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        last = self._sent.get(upload, "").partition("-")[2]
        start_response(
            "308 Resume Incomplete", [("Content-Length", "0"), *([("Range", f"bytes=0-{last}")] if last else [])]
        )
        return [b""]

    @staticmethod
    def _answer(start_response, content):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(content).encode()]


def deletions(environ):
    """Return the paths that a batch of Azure's deletes; its body stays to be read."""
    if "comp=batch" not in environ.get("QUERY_STRING", ""):
        return []
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    return [line.split(" ")[1].split("?")[0] for line in body.decode().splitlines() if line.startswith("DELETE ")]


def forwarding(port):
    """Return an application that passes each request on as it came, and the answer back."""
    connections = threading.local()

    def forward(environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])) if environ.get("CONTENT_LENGTH") else b""
        headers = {name: text for name, text in environ["headers as sent"] if name.lower() not in OF_THE_CONNECTION}
        if not hasattr(connections, "held"):
            connections.held = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection = connections.held
        try:
            connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError):  # one that the store has closed meanwhile
            connection.close()
            connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
            answer = connection.getresponse()
            content = answer.read()
        passed = [(name, text) for name, text in answer.getheaders() if name.lower() not in OF_THE_CONNECTION]
        if not any(name.lower() == "content-length" for name, _ in passed):
            passed.append(("Content-Length", str(len(content))))
        start_response(f"{answer.status} {answer.reason}", passed)
        return [content]

    return forward


class RequestHandler(WSGIRequestHandler):
    """Keeps the headers as they were sent: signatures cover them."""

    protocol_version = "HTTP/1.1"

    def make_environ(self):
        return {**super().make_environ(), "headers as sent": self.headers.items()}

    def handle_expect_100(self):
        """Answer when the whole request is there, as Azurite does: Azure's client takes nothing else."""
        return True

    def log_request(self, *_):
        """Say nothing: `Door` records requests."""


def end_with_input(emulator):
    sys.stdin.read()
    if emulator is not None:
        emulator.kill()
        emulator.wait()
    os._exit(0)


def s3_store():
    from moto.server import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


if __name__ == "__main__":
    port, kind, *behind = sys.argv[1:]
    emulator = subprocess.Popen(behind[1:], stdin=subprocess.DEVNULL) if behind else None
    threading.Thread(target=end_with_input, args=(emulator,), daemon=True).start()
    door = Door(kind, forwarding(int(behind[0])) if behind else s3_store())
    run_simple("127.0.0.1", int(port), door, threaded=True, request_handler=RequestHandler)
