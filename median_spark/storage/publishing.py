"""Folders that are exchanged whole, or as nearly so as a store lets one."""

import shutil
import tempfile
from collections.abc import Collection
from functools import partial

import pyarrow as pa

from median_spark.storage.atomic_write import upload, write_bytes
from median_spark.storage.attempts import attempted
from median_spark.storage.exchange import check_exchangeable, exchange, neighbour, new_neighbour
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import has_folders, is_local, join
from median_spark.storage.locks import locked
from median_spark.storage.paths import FileStat, files_below, make_folder, remove

__all__ = ["UNFINISHED", "check_exchangeable", "new_folder_for", "publish"]

UNFINISHED = "unfinished"
"""Lies in a folder on an object store while it is being exchanged; the folder may be taken over by another run."""

LAST = "summary.json"
"""The file of a folder without which nobody takes it for a result."""


def new_folder_for(target: str) -> str:
    """Make an empty local folder in which the content of a target folder can be built, for `publish`.

    For a local target it is a hidden neighbour; see `median_spark.storage.exchange.new_neighbour`.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    if not is_local(target):
        return tempfile.mkdtemp(prefix="median-spark-")
    return new_neighbour(target)


def publish(folder: str, target: str, own: Collection[str]) -> None:
    """Make a finished local folder the content of a target folder; files that are not the target's own stay.

    A local target is exchanged by two renames: but for the moment between them it is the old result or the new one. So
    is one on HDFS. On an object store, which has no renames, ``summary.json`` is removed first and written last, so
    that whoever asks for it sees the old result, the new one, or none; others that publish there are kept out.

    Parameters
    ----------
    folder : str
        The finished folder, from `new_folder_for`; it is gone afterwards.
    target : str
        Path or URI to publish at.
    own : collection of str
        Paths, below the target, of the files that earlier finished folders may have had; these are replaced, or go.

    Raises
    ------
    BusyError
        If another run is publishing there.
    OutputError, StorageError
        If the store cannot be written to.
    """
    if is_local(target):
        exchange(folder, target, own)
        return
    if has_folders(target):
        beside = neighbour(target)
        try:
            _upload_all(folder, beside)
            _copy_others(target, beside, own)
            remove(target)
            attempted(target, lambda: resolve(target)[0].move(resolve(beside)[1], resolve(target)[1]))
        finally:
            remove(beside)
    else:
        with locked(target, "publishing a result"):
            _replace_objects(folder, target, own)
    shutil.rmtree(folder)


def _copy_others(target: str, beside: str, own: Collection[str]) -> None:
    """Copy the files of a target that are not its own to a folder that will take its place."""
    filesystem, _ = resolve(target)
    held = {file.path[len(target) :] for file in files_below(target)}
    written = {file.path[len(beside) :] for file in files_below(beside)}
    for name in sorted(held - written - {f"/{one}" for one in own}):
        make_folder((beside + name).rsplit("/", 1)[0])
        origin, copy = resolve(target + name)[1], resolve(beside + name)[1]
        attempted(target + name, partial(filesystem.copy_file, origin, copy))


def _replace_objects(folder: str, target: str, own: Collection[str]) -> None:
    """Take the old result out of sight, write the new files over its own, remove those that are left, and show it."""
    held = {file.path for file in files_below(target)} & {join(target, name) for name in own}
    write_bytes(join(target, UNFINISHED), b"")
    remove(join(target, LAST))
    files = _files_of(folder)
    written = {target + file.path[len(folder) :]: file for file in files}
    last = join(target, LAST)
    for location, file in written.items():
        if location != last:
            _upload_file(file, location)
    for location in sorted(held - written.keys()):
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
