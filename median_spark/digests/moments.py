"""Mean and standard deviation of each gene's values, from exact sums: their bits do not depend on who adds what.

The sums of values and of squares are whole numbers in units of 2**-1074 and 2**-2148, the smallest float64 and its
square. They are kept in digits of 32 bits, as many as the values need, and are rounded only at the end.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.errors import DigestError
from median_spark.gene_values import Floats, Ints

_HEAD = struct.Struct("<II")
"""Before the digits of a number: how many zeros come below them, and how many there are."""


@dataclass(frozen=True)
class Moments:
    """The exact sums of some values and of their squares, in units of 2**-1074 and 2**-2148."""

    total: int
    squares: int

    def pack(self) -> bytes:
        """Return both as bytes, which `unpack_moments` reads."""
        return b"".join(map(_packed, (self.total, self.squares)))


def _packed(number: int) -> bytes:
    digits = -(-number.bit_length() // 32)
    first = ((number & -number).bit_length() - 1) // 32 if number else 0
    return _HEAD.pack(first, digits - first) + (number >> (32 * first)).to_bytes(4 * (digits - first), "little")


def unpack_moments(packed: bytes) -> Moments:
    """Return what was packed; raise `DigestError` for damaged bytes."""
    numbers, at = [], 0
    while at + 8 <= len(packed):
        first, digits = _HEAD.unpack_from(packed, at)
        end = at + 8 + 4 * digits
        numbers.append(int.from_bytes(packed[at + 8 : end], "little") << (32 * first))
        at = end
    if len(numbers) != 2 or at != len(packed):
        message = f"packed sums must be two numbers with their lengths; there are {len(packed)} bytes"
        raise DigestError(message)
    return Moments(*numbers)


def add_moments(parts: Iterable[Moments]) -> Moments:
    """Return the sums over all parts."""
    every = list(parts)
    return Moments(sum(part.total for part in every), sum(part.squares for part in every))


@dataclass(frozen=True)
class _Sums:
    """Sums of runs of values as digits, those of a run side by side; `first` says at which digit a run begins."""

    digits: Ints
    offsets: Ints  # run i has digits[offsets[i]:offsets[i + 1]]
    first: Ints

    def packed(self) -> list[bytes]:
        """Return each run's number as `_packed` does, perhaps with zeros at the ends."""
        words = self.digits.astype("<u4").tobytes()
        lengths = np.diff(self.offsets)
        heads = np.stack([self.first, lengths], axis=1).astype("<u4").tobytes()
        bounds = (4 * self.offsets).tolist()
        return [heads[8 * run : 8 * run + 8] + words[bounds[run] : bounds[run + 1]] for run in range(len(lengths))]


def _exact_sums(values: Floats, offsets: Ints) -> tuple[_Sums, _Sums]:
    """Sum runs of ascending positive values, at least one each, and their squares."""
    from median_spark.digests.loops import room_for_sums, sum_exactly  # numba takes half a second: only who sums waits

    bits, runs = values.view(np.int64), len(offsets) - 1
    sums = []
    for factor in (1, 2):
        first, ends = np.empty(runs, dtype=np.int64), np.zeros(runs + 1, dtype=np.int64)
        room_for_sums(bits, offsets, first, ends, factor)
        sums.append(_Sums(np.zeros(ends[-1], dtype=np.int64), ends, first))
    total, squares = sums
    sum_exactly(bits, offsets, total.offsets, squares.offsets, total.digits, squares.digits)
    return total, squares


def packed_moments(values: Floats, offsets: Ints) -> list[bytes]:
    """Return the packed moments of runs of ascending positive values; run i has ``values[offsets[i]:offsets[i + 1]]``.

    Every run has at least one value.
    """
    if len(offsets) < 2:
        return []
    total, squares = _exact_sums(values, offsets)
    return [first + second for first, second in zip(total.packed(), squares.packed(), strict=True)]


def mean_and_sd(values: Floats, offsets: Ints) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation (divisor n - 1) of runs of values as `packed_moments` takes them.

    The standard deviation of one value is NaN.
    """
    from median_spark.digests.loops import describe_runs

    means, deviations = np.empty(len(offsets) - 1), np.empty(len(offsets) - 1)
    describe_runs(values, values.view(np.int64), offsets, means, deviations)
    return means, deviations


def mean_and_sd_of(moments: Sequence[Moments], n: Ints, constant: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the same as `mean_and_sd` from moments; `constant` says of which all n values are equal."""
    from median_spark.digests.loops import round_sums

    means, deviations = np.empty(len(n)), np.empty(len(n))
    totals, squares = (_top_of(numbers) for numbers in ([m.total for m in moments], [m.squares for m in moments]))
    round_sums(n, constant, *totals, *squares, means, deviations)
    return means, deviations


def _top_of(numbers: list[int]) -> tuple[Floats, Ints]:
    """Return the highest digits of each number, shape (numbers, TOP), and the place of the lowest of them."""
    from median_spark.digests.loops import TOP

    top, places = np.empty((len(numbers), TOP)), np.empty(len(numbers), dtype=np.int64)
    for run, number in enumerate(numbers):
        place = -(-number.bit_length() // 32) - TOP
        highest = number >> (32 * place) if place >= 0 else number << (-32 * place)
        top[run] = [highest >> (32 * digit) & 0xFFFFFFFF for digit in reversed(range(TOP))]
        places[run] = place
    return top, places
