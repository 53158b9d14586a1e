"""Buckets whose requester pays: every request says who is billed, and one that does not is refused."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark import storage
from median_spark.errors import StorageError, UsageError
from median_spark.matrices import ReadOptions, find_sources, outline_of

CONTENT = bytes(range(256)) * 5_000


@pytest.fixture
def billed(s3, monkeypatch):
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    return s3


def test_files_of_s3_are_found_read_written_and_removed(billed):
    folder = f"{billed.bucket}/paid"
    location = f"{folder}/a/source=db%2Fä b.bin"
    billed.asked()
    storage.write_bytes(location, CONTENT)
    assert storage.read_bytes(location) == CONTENT
    assert storage.files_below(folder) == [storage.stat(location)]
    assert storage.stat(location).mtime_ns > 1.7e18
    assert storage.names_in(f"{folder}/a") == ["source=db%2Fä b.bin"]
    assert storage.kind(f"{folder}/a") == "folder"
    with storage.open_random(location) as opened:
        assert opened.read_at(100, 70_000) == CONTENT[70_000:70_100]
    storage.move_all([(location, f"{folder}/c.bin")])
    storage.remove(location)
    assert [file.path for file in storage.files_below(folder)] == [f"{folder}/c.bin"]
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(location)
    asked = billed.asked()
    assert asked
    assert {each["payer"] for each in asked} == {"requester"}


def test_state_of_a_file_is_that_of_pyarrows_client(s3, monkeypatch):
    location = f"{s3.bucket}/state.bin"
    storage.write_bytes(location, CONTENT)
    by_pyarrow = storage.stat(location)
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert storage.stat(location) == by_pyarrow


def test_a_matrix_of_s3_is_looked_at(billed, tmp_path):
    path = write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 60, 40))
    storage.write_bytes(f"{billed.bucket}/in/study.loom", Path(path).read_bytes())
    (source,) = find_sources([f"{billed.bucket}/in"])
    assert outline_of(source.file.path, ReadOptions()).cells == 40


def test_nobody_pays_unasked(s3):
    s3.asked()
    storage.names_in(s3.bucket)
    assert {each["payer"] for each in s3.asked()} == {None}


def test_another_payer_is_refused(s3, monkeypatch):
    monkeypatch.setenv("AWS_REQUEST_PAYER", "me")
    with pytest.raises(UsageError, match="AWS_REQUEST_PAYER is 'me'; it must be 'requester'"):
        storage.stat(f"{s3.bucket}/a")


def test_without_the_package_one_sentence_names_the_extra():
    program = (
        "import os, sys; sys.modules['obstore'] = None; os.environ['GS_USER_PROJECT'] = 'p'\n"
        "from median_spark import storage; storage.stat('gs://bucket/a')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UsageError: gs://bucket/a: this location cannot be reached" in ended.stderr
    assert "pip install 'median_spark[requester-pays]'" in ended.stderr.splitlines()[-1]


class Google(BaseHTTPRequestHandler):
    """One object of a requester-pays bucket, which answers only those who name a project."""

    def do_HEAD(self):
        self._answer(b"")

    def do_GET(self):
        asked = self.headers.get("Range")
        first, last = map(int, asked.removeprefix("bytes=").split("-")) if asked else (0, len(CONTENT) - 1)
        self._answer(CONTENT[first : last + 1], f"bytes {first}-{last}/{len(CONTENT)}" if asked else None)

    def _answer(self, body, part=None):
        found = "b.bin" in self.path or "b%2Ebin" in self.path
        paid = self.headers.get("x-goog-user-project") == "my-project"
        self.send_response(400 if not paid else 404 if not found else 206 if part else 200)
        self.send_header("Content-Length", str(len(body) or len(CONTENT)))
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 10:00:00 GMT")
        self.send_header("ETag", '"1"')
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def google():
    with ThreadingHTTPServer(("127.0.0.1", 0), Google) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_requests_to_google_name_the_project(monkeypatch):
    with google() as url:
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", url)
        monkeypatch.setenv("GS_USER_PROJECT", "my-project")
        found = storage.stat("gs://bucket/b.bin")
        assert (found.size, found.mtime_ns) == (len(CONTENT), 1_795_860_000 * 10**9)
        with storage.open_random("gs://bucket/b.bin") as opened:
            assert opened.read_at(100, 70_000) == CONTENT[70_000:70_100]


def test_a_project_that_may_not_pay_is_told(monkeypatch):
    with google() as url:
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", url)
        monkeypatch.setenv("GS_USER_PROJECT", "another")
        with pytest.raises(StorageError, match=r"gs://bucket/b\.bin: this location"):
            storage.stat("gs://bucket/b.bin")
