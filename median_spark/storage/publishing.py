"""Folders that are exchanged whole, or as nearly so as a store lets one."""

import contextlib
import os
import shutil
import socket
import tempfile
import uuid
from pathlib import Path

import pyarrow as pa

from median_spark.errors import OutputError
from median_spark.storage.attempts import attempted
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import has_folders, is_local, join
from median_spark.storage.locks import LOCK, locked
from median_spark.storage.paths import FileStat, files_below, make_folder, reason, remove
from median_spark.storage.whole import upload, write_bytes

UNFINISHED = "unfinished"
"""Lies in a folder on an object store while it is being exchanged; the folder may be taken over by another run."""

LAST = "summary.json"
"""The file of a folder without which nobody takes it for a result."""


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
        made = Path(_neighbour(target))
        made.mkdir()
    except OSError as error:
        message = f"{target}: this folder cannot be written ({reason(error)})"
        raise OutputError(message) from error
    return str(made)


def publish(folder: str, target: str) -> None:
    """Make a finished local folder the content of a target folder, replacing what is there.

    A local target is exchanged by two renames: but for the moment between them it is the old result or the new one. So
    is one on HDFS. On an object store, which has no renames, ``summary.json`` is removed first and written last, so
    that whoever asks for it sees the old result, the new one, or none; others that publish there are kept out.

    Parameters
    ----------
    folder : str
        The finished folder, from `new_folder_for`; it is gone afterwards.
    target : str
        Path or URI to publish at.

    Raises
    ------
    BusyError
        If another run is publishing there.
    OutputError, StorageError
        If the store cannot be written to.
    """
    if is_local(target):
        _exchange(folder, target)
        return
    if has_folders(target):
        beside = _neighbour(target)
        try:
            _upload_all(folder, beside)
            remove(target)
            attempted(target, lambda: resolve(target)[0].move(resolve(beside)[1], resolve(target)[1]))
        finally:
            remove(beside)
    else:
        with locked(target, "publishing a result"):
            _replace_objects(folder, target)
    shutil.rmtree(folder)


def _exchange(folder: str, target: str) -> None:
    old = Path(_neighbour(target))
    with contextlib.suppress(FileNotFoundError):
        Path(target).rename(old)
    try:
        Path(folder).rename(target)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _replace_objects(folder: str, target: str) -> None:
    """Take the old result out of sight, write the new files over its own, remove those that are left, and show it."""
    held = {file.path for file in files_below(target) if not file.path.startswith(join(target, LOCK, ""))}
    write_bytes(join(target, UNFINISHED), b"")
    remove(join(target, LAST))
    files = _files_of(folder)
    written = {target + file.path[len(folder) :]: file for file in files}
    last = join(target, LAST)
    for location, file in written.items():
        if location != last:
            _upload_file(file, location)
    for location in sorted(held - written.keys() - {join(target, UNFINISHED)}):
        remove(location)
    if last in written:
        _upload_file(written[last], last)
    remove(join(target, UNFINISHED))


def _upload_all(folder: str, target: str) -> None:
    make_folder(target)
    for file in _files_of(folder):
        _upload_file(file, target + file.path[len(folder) :])


def _files_of(folder: str) -> list[FileStat]:
    return sorted(files_below(folder), key=lambda file: (file.path == join(folder, LAST), file.path))


def _upload_file(file: FileStat, location: str) -> None:
    if file.size == 0:  # nothing to map
        write_bytes(location, b"")
        return
    with pa.memory_map(file.path) as mapped:
        upload(mapped.read_buffer(), location)


def _neighbour(target: str) -> str:
    """Return a new hidden name beside a folder that tells which process of which machine uses it."""
    above, name = target.rsplit("/", 1)
    return f"{above}/.{name}.{socket.gethostname()}-{os.getpid()}.{uuid.uuid4().hex[:12]}.unfinished"
