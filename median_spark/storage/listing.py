"""Listing a local folder at any depth: each folder once, no loops, and names of any bytes.

Links to folders are followed after the folders themselves, so that the result does not depend on the disk's order.
"""

import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass

Identity = tuple[int, int] | str
"""Device and inode; the real path where a disk has no inode numbers."""

_KINDS = (
    (modes.S_ISFIFO, "a named pipe"),
    (modes.S_ISSOCK, "a socket"),
    (modes.S_ISCHR, "a device"),
    (modes.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class LocalFile:
    """A file of a local folder; its path is below the folder as given, with bytes that are not UTF-8 as surrogates."""

    path: str
    size: int
    mtime_ns: int
    identity: tuple[Identity, int, int]  # with size and mtime; equal for two names of one file
    linked: bool  # a symbolic link leads to it
    problem: str | None = None  # why it cannot be read as a file, such as "this is a named pipe"


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not taken as an input."""

    path: str
    why: str  # the end of a sentence


@dataclass(frozen=True)
class Listing:
    """The content of a local folder."""

    files: tuple[LocalFile, ...]  # ascending by path; a link that points to nothing is among them, with size 0
    passed_over: tuple[PassedOver, ...]  # folders that are searched under another name
    unreadable: tuple[PassedOver, ...]  # folders that could not be searched


@dataclass(frozen=True)
class _Folder:
    """A folder to search: the path by which it was found, and the folders above it."""

    path: str
    linked: bool
    above: frozenset[Identity]


class _Walk:
    """One search."""

    def __init__(self) -> None:
        self.files: list[LocalFile] = []
        self.passed_over: list[PassedOver] = []
        self.unreadable: list[PassedOver] = []
        self._searched: dict[Identity, str] = {}  # folder to the path by which it was searched
        self._links: list[_Folder] = []

    def search(self, root: str) -> None:
        """Search a folder, then the targets of links in it, by name."""
        waiting = [_Folder(root, False, _folders_above(root))]
        while waiting:
            while waiting:
                waiting.extend(reversed(list(self._search_one(waiting.pop()))))
            self._links.sort(key=lambda link: link.path, reverse=True)
            if self._links:
                waiting.append(self._links.pop())

    def _search_one(self, folder: _Folder) -> Iterator[_Folder]:
        """List one folder; yield the folders in it."""
        try:
            identity = _identity(folder.path, os.stat(folder.path))  # noqa: PTH116 (pathlib is slow for many files)
            if identity in folder.above:
                self.passed_over.append(PassedOver(folder.path, "it leads back to a folder above it"))
                return
            if identity in self._searched:
                why = f"it is the folder {self._searched[identity]}, which is searched already"
                self.passed_over.append(PassedOver(folder.path, why))
                return
            self._searched[identity] = folder.path
            with os.scandir(folder.path) as entries:
                content = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable.append(PassedOver(folder.path, os.strerror(error.errno or 0)))
            return
        above = folder.above | {identity}
        for entry in content:
            path = f"{folder.path.rstrip('/')}/{entry.name}"
            link = entry.is_symlink()
            if not _is_folder(entry):
                self.files.append(look_at(path, linked=folder.linked or link))
            elif link:
                self._links.append(_Folder(path, True, above | _folders_above(path)))
            else:
                yield _Folder(path, folder.linked, above)


def list_local(folder: str) -> Listing:
    """List a local folder at any depth; nothing is found if there is none.

    Each folder is searched once, whatever links or mounts lead to it: under its own path if that lies below `folder`,
    else under the first name by which a link leads to it. A link that leads back up is not followed.
    """
    walk = _Walk()
    if os.path.lexists(folder):
        walk.search(folder.rstrip("/") or "/")
    files = tuple(sorted(walk.files, key=lambda file: file.path))
    return Listing(files, tuple(walk.passed_over), tuple(walk.unreadable))


def look_at(path: str, *, linked: bool = False) -> LocalFile:
    """Return the state of a local path that is not a folder; a link that points to nothing has size 0."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:  # a broken link, a loop of links, or gone by now: reading it says why
        return LocalFile(path, 0, 0, (path, 0, 0), linked)
    odd = next((f"this is {what}, not a file" for is_kind, what in _KINDS if is_kind(status.st_mode)), None)
    size = 0 if odd else status.st_size
    # Inodes are unique on real disks. Some mounts of object stores use numbers twice, but hardly for equal files.
    identity = (_identity(path, status), size, status.st_mtime_ns)
    return LocalFile(path, size, status.st_mtime_ns, identity, linked, odd)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _identity(path: str, status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _folders_above(path: str) -> frozenset[Identity]:
    """Return the folders above the place that a path really leads to."""
    above = set()
    real = os.path.realpath(path)
    while real != "/":
        real = os.path.dirname(real)  # noqa: PTH120
        try:
            above.add(_identity(real, os.stat(real)))  # noqa: PTH116
        except OSError:  # a folder that may not be looked at from here
            continue
    return frozenset(above)
