"""Files and folders wherever they are: finding, looking, moving and deleting, through pyarrow.fs."""

import contextlib
import os
import shutil
import stat as modes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyarrow import fs

from median_spark.errors import InputError, OutputError, StorageError
from median_spark.storage.attempts import attempted
from median_spark.storage.filesystems import resolve
from median_spark.storage.listing import list_local
from median_spark.storage.locations import has_folders, is_local
from median_spark.storage.names import shown

_REQUESTS = 16
"""Requests to a store that are under way at once, where there are many to make."""

_SECOND = 10**9


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
        Last modification, nanoseconds since 1970; whole seconds on an object store.
    """

    path: str
    size: int
    mtime_ns: int


def stat(location: str) -> FileStat | None:
    """Return size and modification time of a file, or None if there is none.

    Raises
    ------
    StorageError
        If a store does not tell.
    """
    with _looking(location):
        return look(location)


def look(location: str) -> FileStat | None:
    """Return what `stat` does.

    Raises
    ------
    PermissionError
        If a store does not let this user.
    StorageError
        If it does not tell for another reason.
    """
    filesystem, path = resolve(location)
    info = attempted(location, lambda: filesystem.get_file_info(path))
    return _stat_of(location, info) if info.type == fs.FileType.File else None


def kind(location: str) -> str:
    """Return ``"file"``, ``"folder"`` or ``"nothing"``.

    Raises
    ------
    StorageError
        If a store does not tell.
    """
    filesystem, path = resolve(location)
    with _looking(location):
        found = attempted(location, lambda: filesystem.get_file_info(path)).type
    return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(found, "nothing")


def names_in(folder: str) -> list[str]:
    """Return the names of what lies directly in a folder, ascending; none if there is no such folder.

    Raises
    ------
    StorageError
        If a store does not tell.
    """
    if is_local(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(map(shown, os.listdir(folder)))  # noqa: PTH208 (names of any bytes, which pyarrow cannot read)
        return []
    filesystem, path = resolve(folder)
    with _looking(folder):
        found = attempted(folder, lambda: filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))
    return sorted(info.base_name for info in found)


def files_below(folder: str) -> list[FileStat]:
    """Return all files below a folder, at any depth, ascending by path; none if there is no such folder.

    A local link that points to nothing is among them, with size 0. Local folders are searched as `list_local` does.

    Raises
    ------
    InputError
        If a folder may not be listed.
    StorageError
        If a store does not tell.
    """
    if is_local(folder):
        listing = list_local(folder)
        for found in listing.unreadable:
            message = f"{shown(found.path)}: this folder cannot be listed ({found.why})"
            raise InputError(message)
        return [FileStat(shown(file.path), file.size, file.mtime_ns) for file in listing.files if file.problem is None]
    filesystem, path = resolve(folder)
    selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
    try:
        found = attempted(folder, lambda: filesystem.get_file_info(selector))
    except OSError as error:
        message = f"{folder}: this folder cannot be listed ({error})"
        raise InputError(message) from error
    prefix = folder.rstrip("/")
    files = [
        _stat_of(prefix + info.path[len(path.rstrip("/")) :], info) for info in found if info.type == fs.FileType.File
    ]
    return sorted(files, key=lambda file: file.path)


def make_folder(folder: str) -> None:
    """Create a folder and those above it; where folders are but parts of keys, there is nothing to do.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    if not has_folders(folder):
        return  # pyarrow would write an empty object in its name, which other engines may take for a file
    filesystem, path = resolve(folder)
    try:
        attempted(folder, lambda: filesystem.create_dir(path, recursive=True))
    except OSError as error:
        message = f"{folder}: this folder cannot be created ({reason(error)})"
        raise OutputError(message) from error


def read_bytes(location: str) -> bytes:
    """Return the whole content of a file."""
    filesystem, path = resolve(location)

    def read() -> bytes:
        with filesystem.open_input_stream(path) as stream:
            return cast("bytes", stream.read())

    return attempted(location, read)


def read_buffer(location: str) -> pa.Buffer:
    """Return the whole content of a file in memory that is Arrow's own.

    Arrow's threads may let go of what they read from only when the process ends; if that is an object of Python's, they
    need an interpreter that is gone, and end the process by a signal.
    """
    filesystem, path = resolve(location)

    def read() -> pa.Buffer:
        with filesystem.open_input_file(path) as stream:
            return stream.read_buffer()

    return attempted(location, read)


def names_by_folder(folder: str) -> dict[str, set[str]]:
    """Return the names of files in each folder of a folder; an object store is asked once for all of them."""
    found: dict[str, set[str]] = {}
    for file in files_below(folder):
        above, _, name = file.path[len(folder) + 1 :].rpartition("/")
        if above:
            found.setdefault(above, set()).add(name)
    return found


def read_all(locations: Sequence[str]) -> list[bytes]:
    """Return the content of many small files, which are read side by side."""
    if len(locations) < 2:
        return [read_bytes(location) for location in locations]
    with ThreadPoolExecutor(_REQUESTS) as readers:
        return list(readers.map(read_bytes, locations))


def move(origin: str, target: str) -> None:
    """Move a file to another name of the same filesystem, replacing what is there."""
    filesystem, path = resolve(origin)
    _, target_path = resolve(target)
    make_folder(target.rsplit("/", 1)[0])
    attempted(origin, lambda: filesystem.move(path, target_path))


def move_all(moves: Sequence[tuple[str, str]]) -> None:
    """Give files their final names, by pairs of origin and target of the same filesystem; whole, or not at all.

    Where there are folders this is a rename each. An object store has none: there the files are copied by the store,
    several at a time, and the origins stay until they are removed, so that who is killed halfway finds all of them.
    """
    if not moves or has_folders(moves[0][0]):
        for origin, target in moves:
            move(origin, target)
        return

    def copy(pair: tuple[str, str]) -> None:
        filesystem, path = resolve(pair[0])
        attempted(pair[0], lambda: filesystem.copy_file(path, resolve(pair[1])[1]))

    with ThreadPoolExecutor(min(_REQUESTS, len(moves))) as copiers:
        list(copiers.map(copy, moves))


def remove(location: str) -> None:
    """Delete a file or a folder with all that is in it; nothing happens if it is not there.

    Of a local link the link is deleted, and nothing of what it leads to.
    """
    if is_local(location):
        _remove_local(location)
        return
    filesystem, path = resolve(location)

    def delete() -> None:
        found = filesystem.get_file_info(path).type
        if found == fs.FileType.File:
            filesystem.delete_file(path)
        elif found == fs.FileType.Directory:
            filesystem.delete_dir(path)

    with contextlib.suppress(FileNotFoundError), _looking(location):  # it went while it was looked at
        attempted(location, delete)


def is_link(location: str) -> bool:
    """Say whether a location is a symbolic link on this machine."""
    return is_local(location) and Path(location).is_symlink()


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
    """Return what an error of the operating system says, without its number and path."""
    return os.strerror(error.errno) if error.errno else str(error)


def _stat_of(location: str, info: fs.FileInfo) -> FileStat:
    changed = info.mtime_ns or 0
    # A listing may tell the time of an object more finely than a look at it alone does; S3 knows whole seconds.
    return FileStat(location, info.size, changed if has_folders(location) else changed // _SECOND * _SECOND)


@contextlib.contextmanager
def _looking(location: str) -> Iterator[None]:
    """Where a store does not let this user, say what may help."""
    try:
        yield
    except PermissionError as error:
        if is_local(location):
            raise
        message = (
            f"{location}: this location is refused to this user ({error}): see to the credentials, in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE) or the machine's role, and to "
            "what they permit"
        )
        raise StorageError(message) from error
