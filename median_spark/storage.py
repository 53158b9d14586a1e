"""Paths and URIs through pyarrow.fs: finding, reading, writing whole, moving, locking.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

import contextlib
import errno
import fcntl
import getpass
import json
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pyarrow import fs

from median_spark.errors import BusyError, InputError, OutputError, UsageError

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a disk answers that cannot lock."""


@dataclass(frozen=True)
class FileStat:
    """What tells one state of a file from another.

    Attributes
    ----------
    path : str
        Path or URI, as `canonical` writes it.
    size : int
        Bytes.
    mtime_ns : int
        Last modification, nanoseconds since 1970.
    """

    path: str
    size: int
    mtime_ns: int


def canonical(location: str | os.PathLike[str]) -> str:
    """Return the one spelling of a location that this package uses.

    Local paths become absolute, ``file:`` is dropped, ``dbfs:/x`` becomes ``/dbfs/x`` and ``s3a://`` becomes ``s3://``.

    Parameters
    ----------
    location : str or path
        A path or a URI.

    Raises
    ------
    UsageError
        If the location is empty.
    """
    text = os.fspath(location)
    if not text:
        message = "an empty path was given where a file or folder is needed"
        raise UsageError(message)
    if text.startswith("dbfs:/"):
        text = "/dbfs/" + text.removeprefix("dbfs:").lstrip("/")
    if text.startswith(("s3a://", "s3n://")):
        text = "s3://" + text.split("://", 1)[1]
    if text.startswith("file:"):
        text = "/" + text.removeprefix("file:").lstrip("/")
    if "://" in text:
        scheme, rest = text.split("://", 1)
        return f"{scheme}://{rest.rstrip('/')}"
    # Not pathlib's: resolve() follows links, and expanduser() fails on a name like ~backup.loom.
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111
    return "/" + path.lstrip("/")  # POSIX lets two leading slashes stand


def is_local(location: str) -> bool:
    """Say whether a canonical location is a plain path on this machine."""
    return "://" not in location


def resolve(location: str) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a canonical location, and the path in it.

    Raises
    ------
    UsageError
        If no filesystem answers to the URI's scheme.
    """
    if is_local(location):
        return fs.LocalFileSystem(), location
    try:
        return cast("tuple[fs.FileSystem, str]", fs.FileSystem.from_uri(location))
    except (ValueError, OSError) as error:
        message = f"{location}: this location cannot be reached ({error})"
        raise UsageError(message) from error


def join(folder: str, *names: str) -> str:
    """Return the location of a name within a folder."""
    return "/".join([folder.rstrip("/"), *names])


def stat(location: str) -> FileStat | None:
    """Return size and modification time of a file, or None if there is none."""
    filesystem, path = resolve(location)
    info = filesystem.get_file_info(path)
    if info.type != fs.FileType.File:
        return None
    return FileStat(location, info.size, info.mtime_ns or 0)


def kind(location: str) -> str:
    """Return ``"file"``, ``"folder"`` or ``"nothing"``."""
    filesystem, path = resolve(location)
    found = filesystem.get_file_info(path).type
    return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(found, "nothing")


def names_in(folder: str) -> list[str]:
    """Return the names of what lies directly in a folder, ascending; none if there is no such folder."""
    filesystem, path = resolve(folder)
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found)


def files_below(folder: str) -> list[FileStat]:
    """Return all files below a folder, at any depth, ascending by path; none if there is no such folder.

    Raises
    ------
    InputError
        If a folder may not be listed.
    """
    filesystem, path = resolve(folder)
    try:
        found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    except OSError as error:
        message = f"{folder}: this folder cannot be listed ({error})"
        raise InputError(message) from error
    prefix = folder.rstrip("/")
    return sorted(
        (
            FileStat(prefix + info.path[len(path.rstrip("/")) :], info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File
        ),
        key=lambda file: file.path,
    )


def make_folder(folder: str) -> None:
    """Create a folder and those above it.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    filesystem, path = resolve(folder)
    try:
        filesystem.create_dir(path, recursive=True)
    except OSError as error:
        message = f"{folder}: this folder cannot be created ({_reason(error)})"
        raise OutputError(message) from error


def read_bytes(location: str) -> bytes:
    """Return the whole content of a file."""
    filesystem, path = resolve(location)
    with filesystem.open_input_stream(path) as stream:
        return cast("bytes", stream.read())


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
        message = f"{location}: this file cannot be written ({_reason(error)})"
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
        message = f"{location}: this file cannot be written ({_reason(error)})"
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


def move(origin: str, target: str) -> None:
    """Move a file to another name of the same filesystem, replacing what is there."""
    filesystem, path = resolve(origin)
    _, target_path = resolve(target)
    filesystem.create_dir(target_path.rsplit("/", 1)[0], recursive=True)
    filesystem.move(path, target_path)


def remove(location: str) -> None:
    """Delete a file or a folder with all that is in it; nothing happens if it is not there."""
    filesystem, path = resolve(location)
    found = filesystem.get_file_info(path).type
    if found == fs.FileType.File:
        filesystem.delete_file(path)
    elif found == fs.FileType.Directory:
        filesystem.delete_dir(path)


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
        message = f"{target}: this folder cannot be written ({_reason(error)})"
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


@contextlib.contextmanager
def locked(folder: str, purpose: str) -> Iterator[None]:
    """Hold the only right to write to a folder while the block runs.

    The right is an advisory lock of the operating system on ``folder/lock``: it ends with the process that holds it,
    however that process ends, so that a killed run leaves nothing to clear away. Object stores and some network disks
    have no such lock; there the block runs without one.

    Parameters
    ----------
    folder : str
        What is to be written to; created if need be.
    purpose : str
        What this run does, for the message that a second run gets.

    Raises
    ------
    BusyError
        If another run holds the right; it is named by process, host, user and start.
    OutputError
        If the folder cannot be written to.
    """
    make_folder(folder)
    if not is_local(folder):
        yield
        return
    path = Path(folder) / "lock"
    try:
        handle = path.open("a+")
    except OSError as error:
        message = f"{folder}: this folder cannot be written to ({_reason(error)})"
        raise OutputError(message) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another run"
            message = f"{folder}: {holder} is writing here; wait for it to end, or stop it, and run this again"
            raise BusyError(message) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            yield
            return
        handle.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        handle.write(
            f"'{purpose}' (process {os.getpid()} on {socket.gethostname()}, user {_user()}, since {started})\n"
        )
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def _neighbour(path: Path) -> Path:
    """Return a new hidden name beside a path that tells which process of which machine uses it."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.{owner}.{uuid.uuid4().hex[:12]}.unfinished")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
