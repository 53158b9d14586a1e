"""Servers that stand in for S3, Google Cloud Storage and Azure's blobs, behind the door of `store_process.py`."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, unquote

from emulators import azurite, fake_gcs_server

PATIENCE = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StoreServer:
    """A running server.

    Attributes
    ----------
    kind : str
        The scheme of its locations.
    url : str
        Where it listens.
    bucket : str
        An empty bucket of a new name, as URI.
    variables : dict of str to str
        The environment variables by which it is found.
    environment : dict of str to str
        These beside those of this process.
    endpoint_variable : str
        The one among them that has the endpoint.
    list_request, part_request, last_part_request : str
        What the requests have in common that list keys, and that send one part of a large file, or a late one.
    """

    kind = endpoint_variable = list_request = part_request = last_part_request = ""

    def __init__(self, url):
        self.url = url
        self.name = f"b{uuid.uuid4().hex[:12]}"
        self.bucket = f"{self.kind}://{self.name}"
        self.variables = self._variables()
        self._make_bucket()

    @property
    def environment(self):
        return {**os.environ, **self.variables}

    def fail(self, every, only=""):
        """Let one of so many requests fail, of those whose method, path and query hold `only`; 0 for none."""
        self._ask("POST", "/_fail", json.dumps({"every": every, "only": only}).encode())

    def asked(self):
        """Return what was asked since the last time: dicts of asked, range, payer, batch, failed."""
        return json.loads(self._ask("GET", "/_asked"))

    def objects(self):
        """Return all keys of the bucket, markers of folders too, in the order of the store."""
        raise NotImplementedError

    def changes(self, asked):
        """Return what requests have changed, in order: pairs of "write" or "delete" and a key."""
        raise NotImplementedError

    def polars_options(self):
        """Return what Polars needs to find the server."""
        raise NotImplementedError

    def _variables(self):
        raise NotImplementedError

    def _make_bucket(self):
        raise NotImplementedError

    def _ask(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            return answer.read()


class S3Server(StoreServer):
    """S3, by moto."""

    kind, endpoint_variable = "s3", "AWS_ENDPOINT_URL"
    list_request, part_request, last_part_request = "list-type=2", "partNumber=", "partNumber=2"

    def _variables(self):
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _make_bucket(self):
        self._ask("PUT", f"/{self.name}")

    def objects(self):
        import boto3

        client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="t", aws_secret_access_key="s", region_name="us-east-1"
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [held["Key"] for page in pages for held in page.get("Contents", [])]

    def changes(self, asked):
        words = {"PUT": "write", "DELETE": "delete"}
        requests = (each["asked"].split("?")[0].split(" ", 1) for each in asked)
        return [(words[verb], path.removeprefix(f"/{self.name}/")) for verb, path in requests if verb in words]

    def polars_options(self):
        return {
            "aws_endpoint_url": self.url,
            "aws_access_key_id": "tester",
            "aws_secret_access_key": "secret",
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }


class GoogleServer(StoreServer):
    """Google Cloud Storage, by fake-gcs-server."""

    kind, endpoint_variable = "gs", "STORAGE_EMULATOR_HOST"
    list_request, part_request, last_part_request = "/o?", "upload_id=", "upload_id="

    def _variables(self):
        return {"STORAGE_EMULATOR_HOST": self.url}

    def _make_bucket(self):
        body = json.dumps({"name": self.name}).encode()
        self._ask("POST", "/storage/v1/b?project=p", body, {"Content-Type": "application/json"})

    def objects(self):
        found, token = [], ""
        while True:
            page = json.loads(self._ask("GET", f"/storage/v1/b/{self.name}/o?maxResults=1000{token}"))
            found += [item["name"] for item in page.get("items", [])]
            if "nextPageToken" not in page:
                return found
            token = f"&pageToken={page['nextPageToken']}"

    def changes(self, asked):
        found = []
        for verb, _, request in (each["asked"].partition(" ") for each in asked):
            path, _, query = request.partition("?")
            if verb == "DELETE":
                found.append(("delete", path.split("/o/", 1)[1]))
            elif verb == "POST" and path.startswith("/upload/"):
                found.append(("write", parse_qs(query)["name"][0]))
        return found

    def polars_options(self):
        account = {"gcs_base_url": self.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        account |= {"private_key_id": "", "token_uri": ""}
        return {"service_account_key": json.dumps(account)}


ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account of every Azurite, and its key, as its documentation has them."""


class AzureServer(StoreServer):
    """Azure's blobs, by Azurite."""

    kind, endpoint_variable = "abfs", "AZURE_STORAGE_ENDPOINT"
    list_request, part_request, last_part_request = "comp=list", "comp=block&", "comp=block&"

    def __init__(self, url):
        super().__init__(url)
        self.bucket = f"abfs://{self.name}@{ACCOUNT}.dfs.core.windows.net"

    def _variables(self):
        return {"AZURE_STORAGE_ENDPOINT": f"{self.url}/{ACCOUNT}", "AZURE_STORAGE_KEY": KEY}

    def _make_bucket(self):
        self._signed("PUT", {"restype": "container"})

    def objects(self):
        from xml.etree import ElementTree as Tree

        found, marker = [], {}
        while True:
            page = Tree.fromstring(self._signed("GET", {"comp": "list", "restype": "container", **marker}))
            found += [name.text for name in page.iterfind("Blobs/Blob/Name")]
            following = page.findtext("NextMarker")
            if not following:
                return found
            marker = {"marker": following}

    def changes(self, asked):
        found, start = [], f"/{ACCOUNT}/{self.name}/"
        for each in asked:
            verb, request = each["asked"].split(" ", 1)
            path, _, query = request.partition("?")
            if verb == "POST" and "comp=batch" in query:
                found += [("delete", unquote(key).removeprefix(start)) for key in each["batch"]]
            elif verb == "PUT" and query in {"", "comp=blocklist"}:
                found.append(("write", path.removeprefix(start)))
        return found

    def polars_options(self):
        return {
            "azure_storage_account_name": ACCOUNT,
            "azure_storage_account_key": KEY,
            "azure_storage_endpoint": f"{self.url}/{ACCOUNT}",
            "azure_allow_http": "true",
        }

    def _signed(self, method, query):
        """Send a request about the container, signed with the account's key."""
        stamped = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        path = f"/{ACCOUNT}/{self.name}"
        signed = "\n".join(
            [method, *[""] * 11, *(f"{name}:{text}" for name, text in sorted(stamped.items())), f"/{ACCOUNT}{path}"]
            + [f"{name}:{text}" for name, text in sorted(query.items())]
        )
        made = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
        asked = f"{path}?{'&'.join(f'{name}={text}' for name, text in query.items())}"
        return self._ask(method, asked, None, {**stamped, "Authorization": f"SharedKey {ACCOUNT}:{made}"})


KINDS = {server.kind: server for server in (S3Server, GoogleServer, AzureServer)}


@contextmanager
def store_server(kind, folder):
    """Run a server that logs to a folder; it is stopped when the block ends, and when this process does."""
    port, log = free_port(), Path(folder) / f"{kind}.log"
    url = f"http://127.0.0.1:{port}"
    command, ports = [sys.executable, str(Path(__file__).with_name("store_process.py")), str(port), kind], [port]
    if kind != "s3":
        ports = [free_port(), port]
        command += [str(ports[0]), *emulator(kind, ports[0], url)]
    with log.open("w") as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=folder)
    try:
        for each in ports:
            wait_until_open(each, process, log)
        yield KINDS[kind](url)
    finally:
        process.communicate()  # it ends with its standard input


def emulator(kind, port, url):
    """Return the command of an emulator that listens at a port, and that clients reach by a URL."""
    if kind == "gs":
        command = [*fake_gcs_server(), "-scheme", "http", "-backend", "memory", "-log-level", "warn"]
        command += ["-host", "127.0.0.1", "-port", str(port)]
        return [*command, "-external-url", url, "-public-host", url.removeprefix("http://")]
    # It knows the versions of Azure's interface of its own day, and pyarrow may ask for a later one.
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    return [*azurite(), *options, "--silent", "--skipApiVersionCheck"]


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return listening.getsockname()[1]


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
