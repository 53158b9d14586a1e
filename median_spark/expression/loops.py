"""Loops over runs of values, compiled by numba."""

from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.gene_values import Floats, Ints
from median_spark.matrices.loops.jit import compiled


@compiled
def take_groups(
    offsets: Ints,
    values: Floats,
    cells: npt.NDArray[np.int32],
    group_of_cell: npt.NDArray[np.int32],
    taken: Floats,
    groups: npt.NDArray[np.int32],
    ends: Ints,
) -> int:
    """Take the values of cells that have a group, which is not below 0; return how many there are.

    Gene i has ``values[offsets[i]:offsets[i + 1]]``, and `cells` says whose each is. `taken` and `groups` have room for
    all values, and `ends` receives the end of each gene's.
    """
    filled = 0
    for gene in range(len(offsets) - 1):
        for place in range(offsets[gene], offsets[gene + 1]):
            group = group_of_cell[cells[place]]
            taken[filled], groups[filled] = values[place], group
            filled += group >= 0
        ends[gene] = filled
    return filled


@compiled
def place_runs(values: npt.NDArray[Any], lengths: Ints, targets: Ints, placed: npt.NDArray[Any]) -> None:
    """Copy runs of values, which lie one after the other, each to a place of its own."""
    at = 0
    for run in range(len(lengths)):
        length, target = lengths[run], targets[run]
        source, place = values[at : at + length], placed[target : target + length]
        for number in range(length):
            place[number] = source[number]
        at += length
