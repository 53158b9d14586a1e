"""What a way of doing the work gives to be measured, see `subject`."""

import math
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

Found = dict[str, Any]

Work = Callable[[], Found | Callable[[], Found]]
"""Does the work once; returns figures about what it found, or a function that finds them when the clock has stopped."""


def figures(medians: Iterable[float]) -> Found:
    """Return what tells whether two ways found the same: how many genes, and the exact sum of their medians."""
    number = count()
    total = math.fsum(median for median, _ in zip(medians, number, strict=False))
    return {"genes": next(number), "sum": total}
