"""Telling counts from other numbers: counts are whole, but for what float arithmetic has rounded."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.guard import beat
from median_spark.matrices.hdf5.files import naming_damage, require_filters

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""By how much of a whole number a count may differ from it: what a few operations in float32 leave of one. Matrices are
widely kept in float32, and in float64 after they have been in float32. Nothing but 0 passes for 0: it would be a value.
"""

_BLOCK = 1 << 16  # fits the processor's cache
_SAMPLE = 1 << 12


def first_fraction(counts: npt.NDArray[Any]) -> int:
    """Return the place of the first number above 0 that is not whole, -1 if all are.

    Parameters
    ----------
    counts : ndarray, shape (numbers,)
        Of any numeric type.
    """
    if counts.dtype.kind != "f":
        return -1
    for begin in range(0, len(counts), _BLOCK):
        block = counts[begin : begin + _BLOCK]
        if np.array_equal(np.rint(block), block):
            continue
        found = np.flatnonzero(fractions(block))
        if len(found):
            return begin + int(found[0])
    return -1


def fractions(counts: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which numbers are above 0 and not whole, same shape; NaN and infinities are not among them."""
    if counts.dtype.kind != "f":
        return np.zeros(counts.shape, dtype=np.bool_)
    with np.errstate(invalid="ignore"):  # an infinity less itself
        whole = np.rint(counts)
        return np.asarray((np.abs(counts - whole) > ROUNDING * whole) & (counts > 0))


def dataset_holds_counts(location: str, dataset: h5py.Dataset) -> bool:
    """Say whether some numbers of a dataset, at its beginning, middle and end, could be counts.

    Parameters
    ----------
    location : str
        The file, for messages.
    dataset : h5py.Dataset
        Of one or two dimensions.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if dataset.dtype.kind in "ub":
        return True
    if dataset.dtype.kind not in "if":
        return False
    require_filters(location, dataset)
    with naming_damage(location, f"'{dataset.name.lstrip('/')}'"):
        return all(
            bool(np.isfinite(some).all() and (some >= 0).all()) and first_fraction(some) < 0 for some in _some(dataset)
        )


def _some(dataset: h5py.Dataset) -> Iterator[npt.NDArray[Any]]:
    length = dataset.shape[0]
    step = _SAMPLE if dataset.ndim == 1 else 1
    for begin in sorted({0, max(0, length // 2 - step // 2), max(0, length - step)}):
        beat()
        yield np.asarray(dataset[begin : begin + step]).ravel()
