"""Writing files that appear whole or not at all, JSON documents among them."""

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from median_spark.errors import OutputError, TableError
from median_spark.storage.attempts import with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import is_local
from median_spark.storage.paths import make_folder, read_bytes, reason

_SLICE_BYTES = 64 << 20
"""Part of an upload that is under way at once, in parts of 10 MB."""

_SYNCS_AT_ONCE = 8

_ABANDONED: list[Any] = []
"""Streams of uploads that failed, kept: closing or collecting one would publish the half that it has."""


@contextlib.contextmanager
def atomic_write(location: str, *, durable: bool = True) -> Iterator[Any]:
    """Open a file for writing, as a pyarrow.NativeFile, that appears under its name only when the block has ended well.

    Locally the bytes go to a neighbour that is synced, unless `durable` is false, and renamed. For an object store they
    are gathered in memory and uploaded at the end: its own streams, when closed by an exception or an interrupt,
    publish the half that they have.
    OutputError if the target cannot be written; the block should only write, as an OSError in it counts as one.
    """
    if not is_local(location):
        with pa.BufferOutputStream() as gathered:
            yield gathered
            upload(gathered.getvalue(), location)
        return
    beside = f"{location}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        # Made here and not by Arrow, which would follow a link of that name.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        sink = fs.LocalFileSystem().open_output_stream(beside)
    except OSError as error:
        with contextlib.suppress(OSError):  # it was not made
            Path(beside).unlink()
        raise _unwritable(location, error) from error
    try:
        with sink:
            yield sink
        if durable:
            _sync(beside)
        Path(beside).replace(location)
    except OSError as error:  # a full disk, a folder of that name
        raise _unwritable(location, error) from error
    finally:
        Path(beside).unlink(missing_ok=True)


def sync_files(locations: Sequence[str]) -> None:
    """Make sure that files which were written without being synced outlive a crash of the machine.

    Side by side, because disks sync many files in about the time that one takes. OutputError if that fails.
    """
    paths = [location for location in locations if is_local(location)]
    if not paths:
        return
    with ThreadPoolExecutor(min(_SYNCS_AT_ONCE, len(paths))) as syncers:
        try:
            list(syncers.map(_sync, paths))
        except OSError as error:
            raise _unwritable(paths[0], error) from error


def upload(content: pa.Buffer, location: str) -> None:
    """Write a buffer to a store: it appears whole, or not at all, and also if Ctrl-C is pressed meanwhile.

    OutputError if the store does not let this user, or has no such place; StorageError if it goes on failing.
    """
    filesystem, path = resolve(location)

    def put() -> None:
        sink = filesystem.open_output_stream(path)
        try:
            for start in range(0, content.size, _SLICE_BYTES):
                sink.write(content.slice(start, min(_SLICE_BYTES, content.size - start)))
                if sink.closed:  # by Google's client, which says nothing when a part has failed
                    message = "the connection was closed during an upload"
                    raise OSError(message)
                if start + _SLICE_BYTES < content.size:
                    sink.flush()  # waits for the parts under way: they are copies
            sink.close()
        except BaseException:
            _ABANDONED.append(sink)
            raise

    make_folder(location.rsplit("/", 1)[0])
    try:
        if threading.current_thread() is threading.main_thread():
            with ThreadPoolExecutor(1) as alone:  # an interrupt breaks into the main thread only
                alone.submit(with_retries, location, put).result()
        else:
            with_retries(location, put)
    except OSError as error:
        raise _unwritable(location, error) from error


def _unwritable(location: str, error: OSError) -> OutputError:
    return OutputError(f"{location}: this file cannot be written ({reason(error)})")


def write_bytes(location: str, content: bytes) -> None:
    """Write a small file whole, or not at all."""
    with atomic_write(location) as sink:
        sink.write(content)


def write_json(location: str, content: object) -> None:
    """Write a JSON document whole, or not at all, with its keys in the order given."""
    write_bytes(location, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(location: str, what: str) -> dict[str, Any]:
    """Return a JSON document of fields; TableError if `what` it is, "document of a result", is missing or damaged."""
    try:
        fields = json.loads(read_bytes(location))
    except (OSError, ValueError) as error:
        message = f"{location}: this {what} cannot be read ({error})"
        raise TableError(message) from error
    if not isinstance(fields, dict):
        message = f"{location}: this {what} is damaged: it holds no fields"
        raise TableError(message)
    return fields


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
