"""Exchanging a local folder by renames: the old content or the new one, and never a file of somebody else's lost."""

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from median_spark.errors import OutputError
from median_spark.storage.machine import host_name, is_running
from median_spark.storage.paths import reason, remove

_NEW, _OLD = "unfinished", "replaced"
"""Endings of hidden neighbours: a folder that is being built, and one that has been taken away for a new one."""


def check_exchangeable(target: str) -> None:
    """Refuse a local folder that could not be exchanged once the work is done; writes nothing.

    Parameters
    ----------
    target : str
        Absolute path; a link stands for what it leads to.

    Raises
    ------
    OutputError
        If it is a mount point, or the folder above it cannot be written to.
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


def new_neighbour(target: str) -> str:
    """Make an empty hidden folder beside a local target; what killed processes left there is removed or put back.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
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


def exchange(folder: str, target: str, own: Collection[str]) -> None:
    """Put a finished folder in the place of a local target; a link stands for what it leads to.

    Files of the target that are not `own` are linked into the finished folder first, so that they are there whenever
    this is killed: under the old name, or under both, or in the new folder.

    Parameters
    ----------
    folder : str
        The finished folder, of `new_neighbour`.
    target : str
        Absolute path.
    own : collection of str
        Paths below the target of files that are replaced, or go.
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


def neighbour(target: str, ending: str = _NEW) -> str:
    """Return a new hidden name beside a folder that tells which process of which machine uses it."""
    above, name = target.rsplit("/", 1)
    return f"{above}/.{_label(name)}.{host_name()}-{os.getpid()}.{uuid.uuid4().hex[:12]}.{ending}"


def _label(name: str) -> str:
    """Return a folder's name in that of its neighbours, which have no room for one of up to 255 bytes."""
    return name if len(name) <= 30 else f"{name[:17]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _clear_away(path: Path) -> None:
    """Remove what processes of this machine left beside a folder when they were killed."""
    begin = re.escape(f".{_label(path.name)}.{host_name()}")
    pattern = re.compile(rf"{begin}-(\d+)\.[0-9a-f]{{12}}\.({_NEW}|{_OLD})")
    left = [(path.with_name(name), found) for name in os.listdir(path.parent) if (found := pattern.fullmatch(name))]  # noqa: PTH208
    dead = sorted((beside, found.group(2)) for beside, found in left if not is_running(int(found.group(1))))
    for beside, ending in dead:
        if ending == _OLD and not path.exists():  # killed between its two renames
            beside.rename(path)
        else:
            remove(str(beside))


def _carry_over(old: Path, new: Path, own: Collection[str]) -> None:
    """Link all that the old folder has and that is not its own into the new one; folders and links as such."""
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


def _mount_points() -> set[str]:
    """Return where something is mounted, also folders of the same disk; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    return {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), line.split(" ")[4]) for line in lines}
