"""Folders that are exchanged whole, or as nearly so as a store allows: never is a user's own file lost.

A local target is exchanged by two renames, and what a process leaves that is killed between them, the next one repairs.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pyarrow as pa

from median_spark.errors import OutputError
from median_spark.storage.attempts import with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.leases import host_name, locked
from median_spark.storage.locations import has_folders, is_local, join
from median_spark.storage.paths import FileStat, files_below, make_folder, reason, remove
from median_spark.storage.writing import upload, write_bytes

UNFINISHED = "unfinished"
"""Is in a folder on an object store while it is being exchanged; the folder may be taken over by another run."""

_LAST = "summary.json"
"""The file of a folder without which nobody takes it for a result."""

_NEW, _OLD = "unfinished", "replaced"
"""Endings of hidden neighbours: a folder that is being built, and one that has been moved away for a new one."""


def check_exchangeable(target: str) -> None:
    """Refuse a local folder (a link stands for its target) that could not be exchanged; writes nothing.

    OutputError if it is a mount point, or the folder above it cannot be written to.
    """
    real = Path(os.path.realpath(target))
    if real == Path("/") or os.path.ismount(real) or str(real) in _mount_points():
        message = (
            f"{target}: this is a mount point, which cannot be exchanged for a finished folder: name a folder within "
            f"it, such as {target.rstrip('/')}/medians"
        )
        raise OutputError(message)
    above = next(folder for folder in real.parents if folder.exists())
    if above.is_dir() and not os.access(above, os.W_OK | os.X_OK):
        message = (
            f"{target}: a finished folder is put here by a rename, for which {above} must be writable, and it is not: "
            "name a folder within one that is"
        )
        raise OutputError(message)


def _mount_points() -> set[str]:
    """Return where anything is mounted, also folders of the same disk; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    return {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), line.split(" ")[4]) for line in lines}


def new_folder_for(target: str) -> str:
    """Make an empty local folder in which the content of a target folder can be built, for `publish`.

    For a local target it is a hidden neighbour; those that killed processes left are removed or put back. OutputError
    if it cannot be made.
    """
    if not is_local(target):
        return tempfile.mkdtemp(prefix="median-spark-")
    path = Path(os.path.realpath(target))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_away(path)
        made = Path(neighbour(str(path)))
        made.mkdir()
    except OSError as error:
        message = f"{target}: this folder cannot be written ({reason(error)})"
        raise OutputError(message) from error
    return str(made)


def publish(folder: str, target: str, own: Collection[str]) -> None:
    """Make a finished local folder, of `new_folder_for`, the content of a target folder; files not its own stay.

    A local target is exchanged by two renames: but for the moment between them it is the old result or the new one. So
    is one on HDFS. On an object store, which has no renames, ``summary.json`` is removed first and written last, so
    that whoever asks for it sees the old result, the new one, or none; others that publish there are kept out:
    BusyError. OutputError or StorageError if the store cannot be written to.

    `own` has the paths, below the target, that earlier finished folders may have had; these are replaced, or go.
    """
    if is_local(target):
        _exchange(folder, target, own)
        return
    if has_folders(target):
        beside = neighbour(target)
        try:
            _upload_all(folder, beside)
            _copy_others(target, beside, own)
            remove(target)
            with_retries(target, lambda: resolve(target)[0].move(resolve(beside)[1], resolve(target)[1]))
        finally:
            remove(beside)
    else:
        with locked(target, "publishing a result"):
            _replace_objects(folder, target, own)
    shutil.rmtree(folder)


def neighbour(target: str, ending: str = _NEW) -> str:
    """Return a new hidden name beside a folder that tells which process of which machine uses it."""
    above, name = target.rsplit("/", 1)
    return f"{above}/.{_label(name)}.{host_name()}-{os.getpid()}.{uuid.uuid4().hex[:12]}.{ending}"


def _label(name: str) -> str:
    """Return a folder's name as in those of its neighbours, which have no room for one of up to 255 bytes."""
    return name if len(name) <= 30 else f"{name[:17]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _clear_away(path: Path) -> None:
    """Remove what processes of this machine left beside a folder when they were killed."""
    begin = re.escape(f".{_label(path.name)}.{host_name()}")
    pattern = re.compile(rf"{begin}-(\d+)\.[0-9a-f]{{12}}\.({_NEW}|{_OLD})")
    matches = [match for name in os.listdir(path.parent) if (match := pattern.fullmatch(name))]  # noqa: PTH208
    left = sorted((path.with_name(match[0]), match[2]) for match in matches if not _is_running(int(match[1])))
    for beside, ending in left:
        if ending == _OLD and not path.exists():  # killed between its two renames
            beside.rename(path)
        else:
            remove(str(beside))


def _is_running(pid: int) -> bool:
    """Say whether this machine has a process of a number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _exchange(folder: str, target: str, own: Collection[str]) -> None:
    """Put a finished folder in the place of a local target; a link stands for its target.

    Files of the target that are not its own are linked into the finished folder first, so that they are there whenever
    this is killed: under the old name, or under both, or in the new folder.
    """
    path = Path(os.path.realpath(target))
    old = Path(neighbour(str(path), _OLD))
    _carry_over(path, Path(folder), own)
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    try:
        Path(folder).rename(path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _carry_over(old: Path, new: Path, own: Collection[str]) -> None:
    """Link everything in the old folder that is not its own into the new one; folders and links as such."""
    for above, folders, files in os.walk(old):
        below = Path(above).relative_to(old)
        for name in [*files, *(folder for folder in folders if (Path(above) / folder).is_symlink())]:
            relative = below / name
            if str(relative) not in own:
                (new / below).mkdir(parents=True, exist_ok=True)
                _link(old / relative, new / relative)
        if not folders and not files and str(below) not in own and above != str(old):
            (new / below).mkdir(parents=True, exist_ok=True)


def _link(origin: Path, target: Path) -> None:
    if os.path.lexists(target):
        return
    try:
        target.hardlink_to(origin) if not origin.is_symlink() else target.symlink_to(origin.readlink())
    except OSError:  # a disk without hard links
        shutil.copy2(origin, target, follow_symlinks=False)


def _copy_others(target: str, beside: str, own: Collection[str]) -> None:
    """Copy the files of a target that are not its own to a folder that will take its place."""
    filesystem, _ = resolve(target)
    present = {file.path[len(target) :] for file in files_below(target)}
    written = {file.path[len(beside) :] for file in files_below(beside)}
    for name in sorted(present - written - {f"/{one}" for one in own}):
        make_folder((beside + name).rsplit("/", 1)[0])
        origin, copy = resolve(target + name)[1], resolve(beside + name)[1]
        with_retries(target + name, partial(filesystem.copy_file, origin, copy))


def _replace_objects(folder: str, target: str, own: Collection[str]) -> None:
    """Hide the old result, write the new files over its own, remove those that are left, and show the new one."""
    left = {file.path for file in files_below(target)} & {join(target, name) for name in own}
    write_bytes(join(target, UNFINISHED), b"")
    remove(join(target, _LAST))
    files = _files_of(folder)
    last = next((file for file in files if file.path == join(folder, _LAST)), None)
    for file in files:
        if file is not last:
            _upload_file(file, target + file.path[len(folder) :])
    for location in sorted(left - {target + file.path[len(folder) :] for file in files}):
        remove(location)
    if last is not None:
        _upload_file(last, join(target, _LAST))
    remove(join(target, UNFINISHED))


def _upload_all(folder: str, target: str) -> None:
    make_folder(target)
    for file in _files_of(folder):
        _upload_file(file, target + file.path[len(folder) :])


def _files_of(folder: str) -> list[FileStat]:
    return sorted(files_below(folder), key=lambda file: (file.path == join(folder, _LAST), file.path))


def _upload_file(file: FileStat, location: str) -> None:
    if file.size == 0:  # nothing to map
        write_bytes(location, b"")
        return
    with pa.memory_map(file.path) as mapped:
        upload(mapped.read_buffer(), location)
