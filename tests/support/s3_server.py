"""The S3 server of `s3_process.py`, started and stopped by whoever needs it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import closing, contextmanager
from pathlib import Path

PATIENCE = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class S3Server:
    """A running server.

    Attributes
    ----------
    url : str
        Where it listens.
    bucket : str
        An empty bucket of a new name, as URI.
    environment : dict of str to str
        The variables by which it is found, beside those of this process.
    """

    def __init__(self, url):
        self.url = url
        name = f"b{uuid.uuid4().hex[:12]}"
        self.bucket = f"s3://{name}"
        self.variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._ask("PUT", f"/{name}")

    @property
    def environment(self):
        return {**os.environ, **self.variables}

    def fail(self, every, only=""):
        """Let one of so many requests fail, of those whose method, path and query hold `only`; 0 for none."""
        self._ask("POST", "/_fail", json.dumps({"every": every, "only": only}).encode())

    def asked(self):
        """Return what was asked since the last time: dicts of asked, range, payer, failed."""
        return json.loads(self._ask("GET", "/_asked"))

    def objects(self):
        """Return all keys of the bucket, markers of folders too, in the order of the store."""
        import boto3

        client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="t", aws_secret_access_key="s", region_name="us-east-1"
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.removeprefix("s3://"))
        return [held["Key"] for page in pages for held in page.get("Contents", [])]

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            return answer.read()


@contextmanager
def s3_server(folder):
    """Run a server that logs to a folder; it is stopped when the block ends, and when this process does."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    log = Path(folder) / "s3-server.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("s3_process.py")), str(port)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
        )
    try:
        wait_until_open(port, process, log)
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.communicate()


def wait_until_open(port, process, log):
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return
