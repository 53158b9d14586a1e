"""Loops over single values, compiled by numba: exact sums of values and squares, and values by group.

Only tasks that digest import this, for numba takes half a second to import.
"""

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
def sum_exactly(bits: Ints, offsets: Ints, first_sum: Ints, first_square: Ints, sums: Ints, squares: Ints) -> None:
    """Sum ascending positive values, and their squares, without rounding.

    Run i has the values whose bits are ``bits[offsets[i]:offsets[i + 1]]``, at least one. Its sum in units of 2**-1074
    goes to the digits ``sums[first_sum[i]:first_sum[i + 1]]``, the lowest first, and that of its squares in units of
    2**-2148 to ``squares[first_square[i]:first_square[i + 1]]``; both begin where the smallest value does, see
    `median_spark.digests.moments`, and are 0 before.
    """
    for run in range(len(offsets) - 1):
        at, end = offsets[run], offsets[run + 1]
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
            _add(sums, first_sum[run], shift, sum_low)
            _add(sums, first_sum[run], shift + 32, sum_high)
            for part, number in (
                (0, low_low), (32, low_high), (28, cross_low), (60, cross_high), (54, high_low), (86, high_high)
            ):  # fmt: skip
                _add(squares, first_square[run], square_shift + part, number)
            at = stop
        _carry(sums, first_sum[run], first_sum[run + 1])
        _carry(squares, first_square[run], first_square[run + 1])


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
