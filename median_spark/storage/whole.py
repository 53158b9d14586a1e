"""Files that appear whole or not at all, JSON documents among them, and folders that are exchanged whole."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyarrow import fs

from median_spark.errors import OutputError, TableError
from median_spark.storage.paths import files_below, is_local, read_bytes, reason, remove, resolve


@contextlib.contextmanager
def written_whole(location: str) -> Iterator[Any]:
    """Open a file for writing that appears under its name only when the block has ended well.

    Locally the bytes go to a neighbour that is synced and renamed. For an object store they are gathered in a temporary
    file and uploaded at the end, for its own streams, when closed by an exception, publish what they have.

    Yields
    ------
    pyarrow.NativeFile
        A binary sink.

    Raises
    ------
    OutputError
        If the target cannot be written; the block should do nothing but write, for an OSError in it counts as one.
    """
    filesystem, path = resolve(location)
    local = fs.LocalFileSystem()
    gathered = f"{path if is_local(location) else f'{tempfile.gettempdir()}/median-spark'}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        filesystem.create_dir(path.rsplit("/", 1)[0] or "/", recursive=True)
        sink = local.open_output_stream(gathered)
    except OSError as error:
        message = f"{location}: this file cannot be written ({reason(error)})"
        raise OutputError(message) from error
    try:
        with sink:
            yield sink
        if is_local(location):
            _sync(gathered)
            Path(gathered).replace(path)
        else:
            fs.copy_files(gathered, path, source_filesystem=local, destination_filesystem=filesystem)
    except OSError as error:  # a full disk, a folder of that name
        message = f"{location}: this file cannot be written ({reason(error)})"
        raise OutputError(message) from error
    finally:
        Path(gathered).unlink(missing_ok=True)


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


def new_folder_for(target: str) -> str:
    """Make an empty local folder in which the content of a target folder can be built, for `publish`.

    For a local target it is a hidden neighbour, and those that processes of this machine left there when they were
    killed are removed.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    if not is_local(target):
        return tempfile.mkdtemp(prefix="median-spark-")
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.{socket.gethostname()}-*.unfinished"):
            if not Path(f"/proc/{left.name.rsplit('-', 1)[1].split('.')[0]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        made = _neighbour(path)
        made.mkdir()
    except OSError as error:
        message = f"{target}: this folder cannot be written ({reason(error)})"
        raise OutputError(message) from error
    return str(made)


def publish(folder: str, target: str) -> None:
    """Make a finished local folder the content of a target folder, replacing what is there.

    A local target is exchanged by two renames: but for the moment between them it is the old result or the new one. On
    an object store the files are uploaded, ``summary.json`` last.

    Parameters
    ----------
    folder : str
        The finished folder, from `new_folder_for`; it is gone afterwards.
    target : str
        Path or URI to publish at.
    """
    if is_local(target):
        old = _neighbour(Path(target))
        with contextlib.suppress(FileNotFoundError):
            Path(target).rename(old)
        try:
            Path(folder).rename(target)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
        return
    remove(target)
    local, remote = fs.LocalFileSystem(), resolve(target)[0]
    for file in sorted(files_below(folder), key=lambda file: (file.path.endswith("summary.json"), file.path)):
        destination = resolve(target + file.path[len(folder) :])[1]
        remote.create_dir(destination.rsplit("/", 1)[0], recursive=True)
        fs.copy_files(file.path, destination, source_filesystem=local, destination_filesystem=remote)
    shutil.rmtree(folder)


def _neighbour(path: Path) -> Path:
    """Return a new hidden name beside a path that tells which process of which machine uses it."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.{owner}.{uuid.uuid4().hex[:12]}.unfinished")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
