"""Inputs that are patterns, such as ``s3://bucket/*/study?.loom``. Knows paths only, not what lies there."""

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
