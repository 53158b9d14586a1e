"""Sizes as people write them: ``"512MB"``. Knows nothing of what they are for."""

import re

from median_spark.errors import UsageError

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def bytes_of(size: int | str, what: str) -> int:
    """Return a size in bytes.

    Parameters
    ----------
    size : int or str
        Number of bytes, or text such as ``"512MB"`` (powers of 1,000) or ``"4GiB"`` (powers of 1,024).
    what : str
        Name of the argument, for the error.

    Raises
    ------
    UsageError
        If it is not a size above 0.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    parsed = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", str(size), re.IGNORECASE)
    number = float(parsed[1]) * (1024 if parsed[3] else 1000) ** _POWERS[parsed[2].upper()] if parsed else 0
    if not isinstance(size, str) or number < 1:
        message = f"{what} must be a size above 0, such as 536870912 or '512MB', not {size!r}"
        raise UsageError(message)
    return int(number)


def items_of(size: int | str, item_bytes: int, what: str) -> int:
    """Return a number of items: the number itself, or as many of `item_bytes` as a text such as ``"512MB"`` holds."""
    return bytes_of(size, what) if isinstance(size, int) else max(1, bytes_of(size, what) // item_bytes)
