"""Files and folders anywhere: finding, reading, moving and deleting, through pyarrow.fs."""

import contextlib
import os
import shutil
import stat as modes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyarrow import fs

from median_spark.errors import InputError, OutputError
from median_spark.storage.attempts import refused, with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.listing import list_local
from median_spark.storage.locations import has_folders, is_local, shown

_REQUESTS = 16
"""Requests to a store that are under way at once, where there are many to make."""

_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class FileStat:
    """One state of a file, to be told from another."""

    path: str  # or URI, as `canonical` writes it
    size: int
    mtime_ns: int  # whole seconds on an object store


def stat(location: str) -> FileStat | None:
    """Return size and modification time of a file, or None if there is none; StorageError if a store fails."""
    with _explained(location):
        return unexplained_stat(location)


def unexplained_stat(location: str) -> FileStat | None:
    """Return what `stat` does, but raise PermissionError if a store does not let this user."""
    filesystem, path = resolve(location)
    info = with_retries(location, lambda: filesystem.get_file_info(path))
    return _stat_of(location, info) if info.type == fs.FileType.File else None


def joint_stat(location: str, files: Sequence[FileStat]) -> FileStat:
    """Return the state of several files as that of one thing: their total size, and their last change."""
    return FileStat(location, sum(file.size for file in files), max(file.mtime_ns for file in files))


def folder_stat(folder: str) -> FileStat | None:
    """Return the joint state of all files below a folder, or None if there are none; see `files_below`."""
    files = files_below(folder)
    return joint_stat(folder, files) if files else None


def kind(location: str) -> str:
    """Return ``"file"``, ``"folder"`` or ``"nothing"``; StorageError if a store fails."""
    filesystem, path = resolve(location)
    with _explained(location):
        file_type = with_retries(location, lambda: filesystem.get_file_info(path)).type
    return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(file_type, "nothing")


def names_in(folder: str) -> list[str]:
    """Return the names in a folder itself, ascending; none if it does not exist. StorageError if a store fails."""
    if is_local(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(map(shown, os.listdir(folder)))  # noqa: PTH208 (names of any bytes, which pyarrow cannot read)
        return []
    filesystem, path = resolve(folder)
    with _explained(folder):
        if _is_google(filesystem):  # pyarrow's list of one level lacks the folders
            below = (info.path[len(path.rstrip("/")) + 1 :] for info in _list(folder, recursive=True))
            return sorted({name.split("/", 1)[0] for name in below})
        return sorted(info.base_name for info in _list(folder, recursive=False))


def files_below(folder: str) -> list[FileStat]:
    """Return all files below a folder, at any depth, ascending by path; none if there is no such folder.

    A local link that points to nothing is among them, with size 0. Local folders are searched as `list_local` does.
    InputError if a folder may not be listed; StorageError if a store fails.
    """
    if is_local(folder):
        listing = list_local(folder)
        for unreadable in listing.unreadable:
            message = f"{shown(unreadable.path)}: this folder cannot be listed ({unreadable.why})"
            raise InputError(message)
        return [FileStat(shown(file.path), file.size, file.mtime_ns) for file in listing.files if file.problem is None]
    try:
        infos = _list(folder, recursive=True)
    except OSError as error:
        message = f"{folder}: this folder cannot be listed ({error})"
        raise InputError(message) from error
    prefix, skipped = folder.rstrip("/"), len(resolve(folder)[1].rstrip("/"))
    files = [_stat_of(prefix + info.path[skipped:], info) for info in infos if info.type == fs.FileType.File]
    return sorted(files, key=lambda file: file.path)


def _list(folder: str, *, recursive: bool) -> list[fs.FileInfo]:
    filesystem, path = resolve(folder)
    selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
    return cast("list[fs.FileInfo]", with_retries(folder, lambda: filesystem.get_file_info(selector)))


def names_by_folder(folder: str) -> dict[str, set[str]]:
    """Return the names of files in each folder of a folder; an object store is asked once for all of them."""
    names: dict[str, set[str]] = {}
    for file in files_below(folder):
        above, _, name = file.path[len(folder) + 1 :].rpartition("/")
        if above:
            names.setdefault(above, set()).add(name)
    return names


def is_link(location: str) -> bool:
    """Say whether a location is a symbolic link on this machine."""
    return is_local(location) and Path(location).is_symlink()


def make_folder(folder: str) -> None:
    """Create a folder and those above it, where folders are not just parts of keys; OutputError if that fails."""
    if not has_folders(folder):
        return  # pyarrow would write an empty object in its name, which other engines may take for a file
    filesystem, path = resolve(folder)
    try:
        with_retries(folder, lambda: filesystem.create_dir(path, recursive=True))
    except OSError as error:
        message = f"{folder}: this folder cannot be created ({reason(error)})"
        raise OutputError(message) from error


def read_bytes(location: str) -> bytes:
    """Return the whole content of a file."""
    filesystem, path = resolve(location)

    def read() -> bytes:
        with filesystem.open_input_stream(path) as stream:
            return cast("bytes", stream.read())

    return with_retries(location, read)


def read_range(location: str, start: int, stop: int) -> bytes:
    """Return the bytes ``start <= place < stop`` of a file, fewer where it ends before."""
    filesystem, path = resolve(location)

    def read() -> bytes:
        with filesystem.open_input_file(path) as stream:
            return cast("bytes", stream.read_at(stop - start, start))

    return with_retries(location, read)


def read_buffer(location: str) -> pa.Buffer:
    """Return the whole content of a file as a buffer, which readers of Arrow's take without a copy."""
    filesystem, path = resolve(location)

    def read() -> pa.Buffer:
        with filesystem.open_input_file(path) as stream:
            return stream.read_buffer()

    return with_retries(location, read)


def read_files(locations: Sequence[str]) -> list[bytes]:
    """Return the content of many small files, which are read side by side."""
    if len(locations) < 2:
        return [read_bytes(location) for location in locations]
    with ThreadPoolExecutor(_REQUESTS) as readers:
        return list(readers.map(read_bytes, locations))


def move_all(moves: Sequence[tuple[str, str]]) -> None:
    """Give files their final names, by pairs of origin and target of the same filesystem; whole, or not at all.

    Where there are folders this is a rename each. An object store has none: there the files are copied by the store,
    several at a time, and the origins stay until they are removed, so that whoever is killed halfway finds all of them.
    """
    if not moves or has_folders(moves[0][0]):
        for origin, target in moves:
            filesystem, path = resolve(origin)
            make_folder(target.rsplit("/", 1)[0])
            with_retries(origin, partial(filesystem.move, path, resolve(target)[1]))
        return

    def copy(pair: tuple[str, str]) -> None:
        filesystem, path = resolve(pair[0])
        with_retries(pair[0], lambda: filesystem.copy_file(path, resolve(pair[1])[1]))

    with ThreadPoolExecutor(min(_REQUESTS, len(moves))) as copiers:
        list(copiers.map(copy, moves))


def remove(location: str) -> None:
    """Delete a file or a folder with its content, or a link but not its target; nothing happens if it is not there."""
    if is_local(location):
        _remove_local(location)
        return
    filesystem, path = resolve(location)

    def delete() -> None:
        file_type = filesystem.get_file_info(path).type
        if file_type == fs.FileType.File:
            filesystem.delete_file(path)
        elif file_type == fs.FileType.Directory:
            if _is_google(filesystem) and not _delete_objects(filesystem, path, _list(location, recursive=True)):
                return
            filesystem.delete_dir(path)

    with contextlib.suppress(FileNotFoundError), _explained(location):  # it went while it was looked at
        with_retries(location, delete)


def _is_google(filesystem: fs.FileSystem) -> bool:
    return bool(filesystem.type_name == "gcs")


def _delete_objects(filesystem: fs.FileSystem, folder: str, infos: Sequence[fs.FileInfo]) -> bool:
    """Delete the files in a folder of Google's, and say whether a marker of the folder is left.

    pyarrow ends with an error where it finds no marker, or another process has deleted one of the files.
    """

    def delete(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(path)

    with ThreadPoolExecutor(_REQUESTS) as deleters:
        list(deleters.map(delete, [info.path for info in infos if info.type == fs.FileType.File]))
    return bool(filesystem.get_file_info(folder).type == fs.FileType.Directory)


def _remove_local(path: str) -> None:
    while True:
        try:
            if modes.S_ISDIR(Path(path).lstat().st_mode):
                shutil.rmtree(path)
            else:
                Path(path).unlink()
        except FileNotFoundError:  # gone, or something within it: another process is removing it, too
            if os.path.lexists(path):
                continue
        except NotADirectoryError:
            if os.path.lexists(path):
                raise
        return


def reason(error: OSError) -> str:
    """Return the text of an error of the operating system, without its number and path."""
    return os.strerror(error.errno) if error.errno else str(error)


def _stat_of(location: str, info: fs.FileInfo) -> FileStat:
    changed = info.mtime_ns or 0
    # A listing may tell the time of an object more finely than its stat does; S3 knows whole seconds.
    return FileStat(location, info.size, changed if has_folders(location) else changed // _SECOND * _SECOND)


@contextlib.contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turn a store's refusal of this user into a StorageError that says what may help."""
    try:
        yield
    except PermissionError as error:
        if is_local(location):
            raise
        raise refused(location, error) from error
