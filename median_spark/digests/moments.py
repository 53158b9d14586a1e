"""Mean and standard deviation of each gene's values, from exact sums: their bits do not depend on who adds what.

The sums of values and of squares are whole numbers in units of 2**-1074 and 2**-2148, the smallest float64 and its
square. They are kept in digits of 32 bits, as many as the values need, and are rounded only at the end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.errors import DigestError
from median_spark.gene_values import Floats, Ints

Digits = npt.NDArray[np.uint32]

_RUNS_AT_ONCE = 200_000
_TOP = 5
"""Digits that are rounded: the highest one has at least 1 bit, the others have 128."""

_UNIT = -1074
_SPLIT = 2.0**27 + 1


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
    first = 0
    while first < digits and not number >> (32 * first) & 0xFFFFFFFF:
        first += 1
    content = (number >> (32 * first)).to_bytes(4 * (digits - first), "little")
    return np.array([first, digits - first], dtype="<u4").tobytes() + content


def unpack_moments(packed: bytes) -> Moments:
    """Return what was packed; raise `DigestError` for damaged bytes."""
    words = np.frombuffer(packed, dtype="<u4") if len(packed) % 4 == 0 else np.zeros(0, dtype="<u4")
    numbers, at = [], 0
    while at + 2 <= len(words):
        first, digits = words[at : at + 2].tolist()
        numbers.append(int.from_bytes(words[at + 2 : at + 2 + digits].tobytes(), "little") << (32 * first))
        at += 2 + digits
    if len(numbers) != 2 or at != len(words):
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

    def top(self) -> tuple[Floats, Ints]:
        """Return the highest digits of each run as floats, shape (_TOP, runs), and the place of the lowest of them."""
        filled = np.flatnonzero(self.digits)
        last = filled[np.searchsorted(filled, self.offsets[1:]) - 1]  # every run has a digit above 0
        places = last - np.arange(_TOP)[:, np.newaxis]
        top = np.where(places >= self.offsets[:-1], self.digits[np.maximum(places, 0)], 0).astype(np.float64)
        return top, last - self.offsets[:-1] + self.first - (_TOP - 1)

    def packed(self) -> list[bytes]:
        """Return each run's number as `_packed` does, perhaps with zeros at the ends."""
        words = self.digits.astype("<u4").tobytes()
        lengths = np.diff(self.offsets)
        heads = np.stack([self.first, lengths], axis=1).astype("<u4").tobytes()
        bounds = (4 * self.offsets).tolist()
        return [heads[8 * run : 8 * run + 8] + words[bounds[run] : bounds[run + 1]] for run in range(len(lengths))]


def _exact_sums(values: Floats, offsets: Ints) -> tuple[_Sums, _Sums]:
    """Sum runs of ascending positive values, at least one each, and their squares."""
    from median_spark.digests.loops import sum_exactly  # numba takes half a second: only who sums waits

    bits = values.view(np.int64)
    lowest, highest = (np.maximum(bits[places] >> 52, 1) - 1 for places in (offsets[:-1], offsets[1:] - 1))
    sums = []
    for factor in (1, 2):
        first = factor * lowest >> 5
        # A number of 53 or 106 bits, as many again as count 2**31 values, and where `_add` may write.
        needed = (factor * (highest + 53) + 31 >> 5) - first + 3
        ends = np.append(0, np.cumsum(needed))
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
    means, deviations = np.empty(len(offsets) - 1), np.empty(len(offsets) - 1)
    for begin in range(0, len(means), _RUNS_AT_ONCE):
        bounds = offsets[begin : begin + _RUNS_AT_ONCE + 1]
        run = slice(begin, begin + len(bounds) - 1)
        total, squares = _exact_sums(values, bounds)
        constant = values[bounds[:-1]] == values[bounds[1:] - 1]
        means[run], deviations[run] = _rounded(np.diff(bounds), constant, *total.top(), *squares.top())
    return means, deviations


def mean_and_sd_of(moments: Sequence[Moments], n: Ints, constant: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the same as `mean_and_sd` from moments; `constant` says of which all n values are equal."""
    if not moments:
        return np.zeros(0), np.zeros(0)
    return _rounded(n, constant, *_top_of([m.total for m in moments]), *_top_of([m.squares for m in moments]))


def _top_of(numbers: list[int]) -> tuple[Floats, Ints]:
    top, places = np.empty((_TOP, len(numbers))), np.empty(len(numbers), dtype=np.int64)
    for run, number in enumerate(numbers):
        place = -(-number.bit_length() // 32) - _TOP
        highest = number >> (32 * place) if place >= 0 else number << (-32 * place)
        top[:, run] = [highest >> (32 * digit) & 0xFFFFFFFF for digit in reversed(range(_TOP))]
        places[run] = place
    return top, places


def _rounded(
    n: Ints, constant: npt.NDArray[np.bool_], top: Floats, place: Ints, square_top: Floats, square_place: Ints
) -> tuple[Floats, Floats]:
    """Return means and standard deviations from the highest digits of sums and of sums of squares.

    Every step is an elementary operation on pairs of float64, whose sum has about 106 bits (Dekker, "A floating-point
    technique for extending the available precision", 1971), so that all machines get the same bits.
    """
    number = n.astype(np.float64)
    high, low = _pair(top)
    mean = high / number
    product, error = _product(mean, number)
    mean = mean + ((high - product) - error + low) / number
    square_high, square_low = _pair(square_top)
    # n * squares - total**2, in units of the lowest digit of total squared
    shift = 32 * (square_place - 2 * place)
    left, left_low = _product(square_high, number)
    left, left_low = np.ldexp(left, shift), np.ldexp(left_low + square_low * number, shift)
    right, right_low = _product(high, high)
    right_low = right_low + 2 * high * low
    difference = (left - right) + (left_low - right_low)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(np.maximum(difference, 0) / (number * (number - 1)))
    deviation = np.where(n == 1, np.nan, np.where(constant, 0.0, deviation))
    unit = 32 * place + _UNIT
    return np.ldexp(mean, unit), np.ldexp(deviation, unit)


def _pair(top: Floats) -> tuple[Floats, Floats]:
    """Return digits, the highest first, as the unevaluated sum of two floats."""
    high, low = top[0] * 2.0 ** (32 * (_TOP - 1)), np.zeros(top.shape[1])
    for digit in range(1, _TOP):
        scaled = top[digit] * 2.0 ** (32 * (_TOP - 1 - digit))
        total = high + scaled  # `high` is not smaller, or 0
        low = low + (scaled - (total - high))
        high = total
    total = high + low
    return total, low - (total - high)


def _product(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Return a product as the sum of two floats, exactly."""
    product = left * right
    (left_high, left_low), (right_high, right_low) = _halves(left), _halves(right)
    error = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    return product, error


def _halves(number: Floats) -> tuple[Floats, Floats]:
    scaled = _SPLIT * number
    high = scaled - (scaled - number)
    return high, number - high
