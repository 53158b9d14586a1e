"""Files that appear whole or not at all, JSON documents among them."""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from median_spark.errors import OutputError, TableError
from median_spark.storage.attempts import attempted, uninterrupted
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import is_local
from median_spark.storage.paths import make_folder, read_bytes, reason

_SLICE_BYTES = 64 << 20
"""What of an upload is under way at once, in parts of 10 MB."""

_ABANDONED: list[Any] = []
"""Streams of uploads that failed, kept: one that is closed, or let go of, publishes the half that it has."""


@contextlib.contextmanager
def written_whole(location: str) -> Iterator[Any]:
    """Open a file for writing that appears under its name only when the block has ended well.

    Locally the bytes go to a neighbour that is synced and renamed. For an object store they are gathered in memory and
    uploaded at the end: its own streams, when closed by an exception or an interrupt, publish the half that they have.

    Yields
    ------
    pyarrow.NativeFile
        A binary sink.

    Raises
    ------
    OutputError
        If the target cannot be written; the block should do nothing but write, for an OSError in it counts as one.
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
        message = f"{location}: this file cannot be written ({reason(error)})"
        raise OutputError(message) from error
    try:
        with sink:
            yield sink
        _sync(beside)
        Path(beside).replace(location)
    except OSError as error:  # a full disk, a folder of that name
        message = f"{location}: this file cannot be written ({reason(error)})"
        raise OutputError(message) from error
    finally:
        Path(beside).unlink(missing_ok=True)


def upload(content: pa.Buffer, location: str) -> None:
    """Write what is in memory, or mapped into it, to a store: it appears whole, or not at all.

    Parameters
    ----------
    content : pyarrow.Buffer
        All of it.
    location : str
        Canonical URI.

    Raises
    ------
    OutputError
        If the store does not let this user, or has no such place.
    StorageError
        If it goes on failing.
    """
    filesystem, path = resolve(location)

    def put() -> None:
        sink = filesystem.open_output_stream(path)
        try:
            for start in range(0, content.size, _SLICE_BYTES):
                sink.write(content.slice(start, min(_SLICE_BYTES, content.size - start)))
                if start + _SLICE_BYTES < content.size:
                    sink.flush()  # waits for the parts under way: they are copies
            sink.close()
        except BaseException:
            _ABANDONED.append(sink)
            raise

    make_folder(location.rsplit("/", 1)[0])
    try:
        uninterrupted(lambda: attempted(location, put))
    except OSError as error:
        message = f"{location}: this file cannot be written ({reason(error)})"
        raise OutputError(message) from error


def write_bytes(location: str, content: bytes) -> None:
    """Write a small file whole, or not at all."""
    with written_whole(location) as sink:
        sink.write(content)


def write_json(location: str, content: object) -> None:
    """Write a JSON document whole, or not at all, with its keys in the order given."""
    write_bytes(location, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(location: str, what: str) -> dict[str, Any]:
    """Return a JSON document of fields, as `write_json` writes them.

    Parameters
    ----------
    location : str
        Path or URI.
    what : str
        What it is, for messages: "document of a result".

    Raises
    ------
    TableError
        If it is missing or damaged.
    """
    try:
        found = json.loads(read_bytes(location))
    except (OSError, ValueError) as error:
        message = f"{location}: this {what} cannot be read ({error})"
        raise TableError(message) from error
    if not isinstance(found, dict):
        message = f"{location}: this {what} is damaged: it holds no fields"
        raise TableError(message)
    return found


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
