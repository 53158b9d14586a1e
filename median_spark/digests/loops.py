"""Loops over single values, compiled by numba: clusters, ranks, exact sums of values and squares, values by group.

Imported where values are digested or merged only, for numba takes half a second to import.
"""

import math

import numpy as np
import numpy.typing as npt

from median_spark.gene_values import Floats, Ints
from median_spark.matrices.loops.jit import compiled

_FEW = 24
"""Runs of so many values are sorted by insertion; longer ones are left to numpy."""

_DIGIT = 32
_LOW = (1 << _DIGIT) - 1
_FRACTION = (1 << 52) - 1
_HALF = (1 << 27) - 1
_SPLIT = 2.0**27 + 1
_UNIT = -1074
_MOST_DIGITS = 72
"""Digits that the sum of any values may need, with room for `_add`; that of squares needs twice as many at most."""

TOP = 5
"""Digits that are rounded: the highest one has at least 1 bit, the others have 128."""


@compiled
def _add(digits: Ints, first: int, position: int, number: int) -> None:
    """Add a number of up to 63 bits times 2**position to digits of 32 bits each, that of 2**0 at `first`."""
    place = first + (position >> 5)
    shift = position & 31
    low, high = (number & _LOW) << shift, (number >> _DIGIT) << shift
    digits[place] += low & _LOW
    digits[place + 1] += (low >> _DIGIT) + (high & _LOW)
    digits[place + 2] += high >> _DIGIT


@compiled
def _carry(digits: Ints, first: int, last: int) -> None:
    """Bring every digit below 2**32."""
    over = 0
    for place in range(first, last):
        digit = digits[place] + over
        over = digit >> _DIGIT
        digits[place] = digit & _LOW


@compiled
def _sum_run(bits: Ints, at: int, end: int, sums: Ints, first_sum: int, squares: Ints, first_square: int) -> None:
    """Add ascending positive values, and their squares, to digits that begin where the smallest value does."""
    lowest = max(bits[at] >> 52, 1) - 1
    base, square_base = lowest & ~31, (2 * lowest) & ~31
    while at < end:
        exponent = bits[at] >> 52
        stop = end  # of the values with this exponent, found by bisection
        limit = (exponent + 1) << 52
        if bits[end - 1] >= limit:
            low, stop = at, end - 1
            while low + 1 < stop:
                middle = (low + stop) // 2
                if bits[middle] < limit:
                    low = middle
                else:
                    stop = middle
        hidden = 0 if exponent == 0 else 1 << 52
        sum_low = sum_high = low_low = low_high = cross_low = cross_high = high_low = high_high = 0
        alike = bits[at:stop]  # indexed from 0, which compiles to vector instructions
        for place in range(len(alike)):
            number = (alike[place] & _FRACTION) | hidden
            lower, upper = number & _HALF, number >> 27
            of_lower, cross, of_upper = lower * lower, lower * upper, upper * upper
            sum_low += number & _LOW
            sum_high += number >> _DIGIT
            low_low += of_lower & _LOW
            low_high += of_lower >> _DIGIT
            cross_low += cross & _LOW
            cross_high += cross >> _DIGIT
            high_low += of_upper & _LOW
            high_high += of_upper >> _DIGIT
        position = max(exponent, 1) - 1
        shift, square_shift = position - base, 2 * position - square_base
        _add(sums, first_sum, shift, sum_low)
        _add(sums, first_sum, shift + 32, sum_high)
        for part, number in (
            (0, low_low), (32, low_high), (28, cross_low), (60, cross_high), (54, high_low), (86, high_high)
        ):  # fmt: skip
            _add(squares, first_square, square_shift + part, number)
        at = stop


@compiled
def digits_of(bits: Ints, at: int, end: int, factor: int) -> tuple[int, int]:
    """Return the first digit that a sum of ascending values needs, counted from 2**0, and how many it needs at most.

    `factor` is 1 for values and 2 for their squares.
    """
    first = factor * (max(bits[at] >> 52, 1) - 1) >> 5
    # A number of 53 or 106 bits, as many again as count 2**31 values, and where `_add` may write.
    return first, (factor * (max(bits[end - 1] >> 52, 1) + 52) + 31 >> 5) - first + 3


@compiled
def room_for_sums(bits: Ints, offsets: Ints, first: Ints, ends: Ints, factor: int) -> None:
    """Fill in, for each run of values, the first digit of its sum, and where the digits end that it needs."""
    for run in range(len(offsets) - 1):
        first[run], needed = digits_of(bits, offsets[run], offsets[run + 1], factor)
        ends[run + 1] = ends[run] + needed


@compiled
def sum_exactly(bits: Ints, offsets: Ints, first_sum: Ints, first_square: Ints, sums: Ints, squares: Ints) -> None:
    """Sum ascending positive values, and their squares, without rounding.

    Run i has the values whose bits are ``bits[offsets[i]:offsets[i + 1]]``, at least one. Its sum in units of 2**-1074
    goes to the digits ``sums[first_sum[i]:first_sum[i + 1]]``, the lowest first, and that of its squares in units of
    2**-2148 to ``squares[first_square[i]:first_square[i + 1]]``; both begin where the smallest value does, see
    `room_for_sums`, and are 0 before.
    """
    for run in range(len(offsets) - 1):
        _sum_run(bits, offsets[run], offsets[run + 1], sums, first_sum[run], squares, first_square[run])
        _carry(sums, first_sum[run], first_sum[run + 1])
        _carry(squares, first_square[run], first_square[run + 1])


@compiled
def _take_top(digits: Ints, needed: int, top: Floats) -> int:
    """Take the highest digits of a number above 0, the highest first; return the place of the lowest of them."""
    last = needed - 1
    while digits[last] == 0:
        last -= 1
    for place in range(len(top)):
        top[place] = digits[last - place] if place <= last else 0.0
    return last - (len(top) - 1)


@compiled
def _pair(top: Floats) -> tuple[float, float]:
    """Return digits, the highest first, as the unevaluated sum of two floats."""
    scale = 2.0 ** (_DIGIT * (len(top) - 1))
    high, low = 0.0, 0.0
    for digit in top:
        scaled = digit * scale
        total = high + scaled  # `high` is not smaller, or 0
        low += scaled - (total - high)
        high = total
        scale /= 1 << _DIGIT
    total = high + low
    return total, low - (total - high)


@compiled
def _halves(number: float) -> tuple[float, float]:
    scaled = _SPLIT * number
    high = scaled - (scaled - number)
    return high, number - high


@compiled
def _product(left: float, right: float) -> tuple[float, float]:
    """Return a product as the sum of two floats, exactly."""
    product = left * right
    left_high, left_low = _halves(left)
    right_high, right_low = _halves(right)
    error = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    return product, error


@compiled
def _rounded(
    n: int, constant: np.bool_, top: Floats, place: int, square_top: Floats, square_place: int
) -> tuple[float, float]:
    """Return mean and standard deviation from the highest digits of the sum of n values and of that of their squares.

    Every step is an elementary operation on pairs of float64, whose sum has about 106 bits (Dekker, "A floating-point
    technique for extending the available precision", 1971), so that all machines get the same bits.
    """
    number = float(n)
    high, low = _pair(top)
    mean = high / number
    product, error = _product(mean, number)
    mean += ((high - product) - error + low) / number
    deviation = 0.0
    if n == 1:
        deviation = np.nan
    elif not constant:
        square_high, square_low = _pair(square_top)
        # n * squares - total**2, in units of the lowest digit of total squared
        shift = _DIGIT * (square_place - 2 * place)
        left, left_low = _product(square_high, number)
        left, left_low = math.ldexp(left, shift), math.ldexp(left_low + square_low * number, shift)
        right, right_low = _product(high, high)
        right_low += 2 * high * low
        difference = (left - right) + (left_low - right_low)
        deviation = math.sqrt(max(difference, 0.0) / (number * (number - 1)))
    unit = _DIGIT * place + _UNIT
    return math.ldexp(mean, unit), math.ldexp(deviation, unit)


@compiled
def round_sums(
    n: Ints,
    constant: npt.NDArray[np.bool_],
    top: Floats,
    place: Ints,
    square_top: Floats,
    square_place: Ints,
    means: Floats,
    deviations: Floats,
) -> None:
    """Fill in means and standard deviations from the `TOP` highest digits of sums, and of sums of squares.

    The digits have shape (sums, TOP), the highest first; the places are those of the lowest of them.
    """
    for run in range(len(n)):
        means[run], deviations[run] = _rounded(
            n[run], constant[run], top[run], place[run], square_top[run], square_place[run]
        )


@compiled
def describe_runs(values: Floats, bits: Ints, offsets: Ints, means: Floats, deviations: Floats) -> None:
    """Fill in mean and standard deviation of runs of ascending positive values; `bits` are those of the values.

    They are what `sum_exactly` and `round_sums` give.
    """
    sums, squares = np.zeros(_MOST_DIGITS, dtype=np.int64), np.zeros(2 * _MOST_DIGITS, dtype=np.int64)
    top, square_top = np.empty(TOP), np.empty(TOP)
    for run in range(len(offsets) - 1):
        at, end = offsets[run], offsets[run + 1]
        if end - at == 1:
            means[run], deviations[run] = values[at], np.nan
            continue
        first, needed = digits_of(bits, at, end, 1)
        square_first, square_needed = digits_of(bits, at, end, 2)
        _sum_run(bits, at, end, sums, 0, squares, 0)
        _carry(sums, 0, needed)
        _carry(squares, 0, square_needed)
        place = first + _take_top(sums, needed, top)
        square_place = square_first + _take_top(squares, square_needed, square_top)
        constant = bits[at] == bits[end - 1]
        means[run], deviations[run] = _rounded(end - at, constant, top, place, square_top, square_place)
        sums[:needed] = 0
        squares[:square_needed] = 0


@compiled
def by_group(
    offsets: Ints,
    values: Floats,
    groups: npt.NDArray[np.int32],
    counts: Ints,
    grouped: Floats,
    run_gene: npt.NDArray[np.int32],
    run_group: npt.NDArray[np.int32],
    run_end: Ints,
) -> int:
    """Put the values of each gene in the order of their groups; return the number of runs of one gene and group.

    Gene i has ``values[offsets[i]:offsets[i + 1]]``, and `groups` says the group of each value. `counts` has a 0 for
    each group, and has again afterwards. `grouped` receives the values; the last three arrays, which have room for a
    run per value, the gene, the group and the end of each run. Short runs are sorted, see `few_values`.
    """
    runs = 0
    present = np.empty(len(counts), dtype=np.int32)
    for gene in range(len(offsets) - 1):
        begin, end = offsets[gene], offsets[gene + 1]
        found = 0
        for place in range(begin, end):
            group = groups[place]
            if counts[group] == 0:
                present[found] = group
                found += 1
            counts[group] += 1
        ordered = np.sort(present[:found])
        at = begin
        for group in ordered:
            run_gene[runs], run_group[runs] = gene, group
            at += counts[group]
            run_end[runs] = at
            runs += 1
            counts[group] = at - counts[group]  # from here on, where the group's next value goes
        for place in range(begin, end):
            group = groups[place]
            grouped[counts[group]] = values[place]
            counts[group] += 1
        first = begin
        for number in range(runs - found, runs):
            counts[run_group[number]] = 0
            last = run_end[number]
            if last - first <= _FEW:
                for place in range(first + 1, last):
                    value = grouped[place]
                    to = place
                    while to > first and grouped[to - 1] > value:
                        grouped[to] = grouped[to - 1]
                        to -= 1
                    grouped[to] = value
            first = last
    return runs


def few_values() -> int:
    """Return how long a run may be that `by_group` sorts."""
    return _FEW


@compiled
def count_by_gene(ranks: npt.NDArray[np.int32], indices: npt.NDArray[np.int32], values: Floats, lengths: Ints) -> None:
    """Add to `lengths` how many values above 0 each gene has; value i is of the gene ``ranks[indices[i]]``."""
    for place in range(len(values)):
        lengths[ranks[indices[place]]] += values[place] > 0


@compiled
def place_by_gene(
    ranks: npt.NDArray[np.int32], indices: npt.NDArray[np.int32], values: Floats, ends: Ints, placed: Floats
) -> None:
    """Write each value above 0 where the next one of its gene, see `count_by_gene`, goes: at ``ends[gene]``."""
    for place in range(len(values)):
        value = values[place]
        if value > 0:
            gene = ranks[indices[place]]
            placed[ends[gene]] = value
            ends[gene] += 1


@compiled
def cut_clusters(sizes: Ints, compression: float, offsets: Ints, ends: Ints) -> None:
    """Fill in where the clusters of each gene begin among all clusters, and where each ends within its gene.

    `sizes` has the number of values of each gene; see `median_spark.digests.build.cluster_ends`.
    """
    filled = 0
    for gene in range(len(sizes)):
        size, begin = sizes[gene], 0
        while begin < size:
            scaled = math.asin(2 * (begin / size) - 1) + math.pi / compression
            fraction = (math.sin(scaled) + 1) / 2 if scaled < math.pi / 2 else 1.0
            end = min(max(int(fraction * size), begin + 1), size)
            if filled == len(ends):
                message = "a digest has more clusters than its compression allows"
                raise ValueError(message)
            ends[filled] = end
            filled += 1
            begin = end
        offsets[gene + 1] = filled


@compiled
def rank_values(values: Floats, offsets: Ints, estimates: Floats, below: Ints, up_to: Ints) -> None:
    """Fill in how many values of each run are smaller than an estimate, and how many are not larger.

    Run i has the ascending values ``values[offsets[i]:offsets[i + 1]]``.
    """
    for run in range(len(estimates)):
        of_run = values[offsets[run] : offsets[run + 1]]
        below[run] = np.searchsorted(of_run, estimates[run])
        up_to[run] = np.searchsorted(of_run, estimates[run], side="right")
