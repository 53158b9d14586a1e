"""Telling counts from other numbers: counts are whole, but for what float arithmetic has rounded."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from median_spark.guard import beat
from median_spark.matrices.contract import Flags, Numbers, brief
from median_spark.matrices.hdf5.files import naming_damage, require_filters

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""By how much of a whole number a count may differ from it: what a few operations in float32 leave of one. Matrices are
widely kept in float32, and in float64 after they have been in float32. Nothing but 0 passes for 0: it would be a value.
"""

_BLOCK = 1 << 16  # fits the processor's cache
_SAMPLE = 1 << 12


def first_fraction(counts: Numbers) -> int:
    """Return the place of the first number above 0 that is not whole, -1 if all are whole."""
    if counts.dtype.kind != "f":
        return -1
    for begin in range(0, len(counts), _BLOCK):
        block = counts[begin : begin + _BLOCK]
        if np.array_equal(np.rint(block), block):
            continue
        places = np.flatnonzero(fractions(block))
        if len(places):
            return begin + int(places[0])
    return -1


def fractions(counts: Numbers) -> Flags:
    """Return which numbers are above 0 and not whole, same shape; NaN and infinities are not among them."""
    if counts.dtype.kind != "f":
        return np.zeros(counts.shape, dtype=np.bool_)
    with np.errstate(invalid="ignore"):  # an infinity less itself
        whole = np.rint(counts)
        return np.asarray((np.abs(counts - whole) > ROUNDING * whole) & (counts > 0))


def are_counts(numbers: Numbers) -> bool:
    """Say whether numbers, in one dimension, could all be counts: finite, not below 0, and whole."""
    return bool(np.isfinite(numbers).all() and (numbers >= 0).all() and first_fraction(numbers) < 0)


def dataset_holds_counts(location: str, dataset: h5py.Dataset) -> bool:
    """Say whether some numbers of a dataset of one or two dimensions could be counts; see `numbers_hold_counts`."""
    if dataset.dtype.kind in "if":
        require_filters(location, dataset)

    def read(start: int, stop: int) -> Numbers:
        with naming_damage(location, f"'{brief(dataset.name.lstrip('/'))}'"):
            return np.asarray(dataset[start:stop])

    return numbers_hold_counts(dataset.dtype, dataset.shape, read)


def numbers_hold_counts(dtype: np.dtype[Any], shape: tuple[int, ...], read: Callable[[int, int], Numbers]) -> bool:
    """Say whether some numbers of an array of one or two dimensions could be counts.

    Those at its beginning, middle and end are read, by the function that returns those in ``start <= place < stop``;
    InputError if they cannot be.
    """
    if dtype.kind in "ub":
        return True
    if dtype.kind not in "if":
        return False
    length, step = shape[0], _SAMPLE if len(shape) == 1 else 1
    for begin in sorted({0, max(0, length // 2 - step // 2), max(0, length - step)}):
        beat()
        numbers = read(begin, min(begin + step, length)).ravel()
        if not are_counts(numbers):
            return False
    return True
