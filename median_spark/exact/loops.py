"""Loops over single values, compiled by numba: those below a bracket, and those inside it.

Imported where values are collected only, for numba takes half a second to import.
"""

from median_spark.gene_values import Floats, Ints
from median_spark.matrices.loops.jit import compiled


@compiled
def count_values(
    values: Floats, begins: Ints, ends: Ints, low: Floats, high: Floats, estimates: Floats, found: Ints
) -> None:
    """Fill in, for each query, how many values are below its bracket, inside it, below its estimate, not above that.

    Query i is about ``values[begins[i]:ends[i]]``; `found` has a row for each of these numbers, shape (4, queries).
    """
    for query in range(len(low)):
        least, most, estimate = low[query], high[query], estimates[query]
        under = within = smaller = not_larger = 0
        for value in values[begins[query] : ends[query]]:
            under += value < least
            within += (value >= least) & (value <= most)
            smaller += value < estimate
            not_larger += value <= estimate
        found[0, query], found[1, query], found[2, query], found[3, query] = under, within, smaller, not_larger


@compiled
def take_inside(values: Floats, begins: Ints, ends: Ints, low: Floats, high: Floats, taken: Floats) -> None:
    """Copy the values inside the brackets, one query after the other, as `count_values` counts them.

    Every value is written to where the next one inside goes, so `taken` has room for one more. With a branch instead,
    which half of the values take, processors guessed wrong so often that this took six times as long.
    """
    filled = 0
    for query in range(len(low)):
        least, most = low[query], high[query]
        for value in values[begins[query] : ends[query]]:
            taken[filled] = value
            filled += (value >= least) & (value <= most)
