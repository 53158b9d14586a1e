"""Paths and URIs: one spelling for each, finding, looking, moving and deleting, through pyarrow.fs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pyarrow import fs

from median_spark.errors import InputError, OutputError, UsageError


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

    A local link that points to nothing is among them, with size 0.

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
    files = [
        FileStat(prefix + info.path[len(path.rstrip("/")) :], info.size, info.mtime_ns or 0)
        for info in found
        if info.type == fs.FileType.File
    ]
    if is_local(folder):
        # Arrow leaves out links that point to nothing, and so would lose a study unseen; here, reading it will fail.
        broken = (link for link in Path(folder).rglob("*") if link.is_symlink() and not link.exists())
        files += [FileStat(str(link), 0, 0) for link in broken]
    return sorted(files, key=lambda file: file.path)


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
        message = f"{folder}: this folder cannot be created ({reason(error)})"
        raise OutputError(message) from error


def read_bytes(location: str) -> bytes:
    """Return the whole content of a file."""
    filesystem, path = resolve(location)
    with filesystem.open_input_stream(path) as stream:
        return cast("bytes", stream.read())


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


def reason(error: OSError) -> str:
    """Return what an error of the operating system says, without its number and path."""
    return os.strerror(error.errno) if error.errno else str(error)
