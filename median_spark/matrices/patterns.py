"""Inputs that are patterns, such as ``s3://bucket/*/study?.loom``: which paths match them."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

_SIGNS = "*?["


def is_pattern(path: str) -> bool:
    """Say whether a path has a pattern's signs: ``*``, ``?`` or ``[``."""
    return any(sign in path for sign in _SIGNS)


def cut_pattern(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Return the folder above the first step that has a sign, and the steps from there on.

    Parameters
    ----------
    pattern : str
        Canonical path or URI, with signs.
    """
    steps = pattern.split("/")
    fixed = next(number for number, step in enumerate(steps) if is_pattern(step))
    return "/".join(steps[:fixed]) or "/", tuple(steps[fixed:])


def matches(name: str, wanted: tuple[str, ...]) -> bool:
    """Say whether a file, or a folder above it, matches.

    Parameters
    ----------
    name : str
        The file's path below the folder of `cut_pattern`.
    wanted : tuple of str
        The steps; a sign stands for no slash.
    """
    steps = name.split("/")
    return len(steps) >= len(wanted) and all(map(fnmatchcase, steps, wanted))


def local_matches(folder: str, wanted: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield the paths of a local folder that match, ascending, and for each whether it is a folder.

    Links to folders are followed, but no deeper than the pattern has steps. Folders that cannot be listed are left out.

    Parameters
    ----------
    folder : str
        Absolute path.
    wanted : sequence of str
        The steps below it, see `cut_pattern`.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names of any bytes, as text)
    except OSError:
        return
    for name in names:
        if fnmatchcase(name, wanted[0]):
            path = f"{folder.rstrip('/')}/{name}"
            is_folder = os.path.isdir(path)  # noqa: PTH112
            if len(wanted) == 1:
                yield path, is_folder
            elif is_folder:
                yield from local_matches(path, wanted[1:])
