"""crick's merge of t-digests, compiled: the same steps on the same numbers, so that every bit is crick's.

`median_spark.digests.crick.merge_runs` is how it is called. It follows ``tdigest_merge``, ``tdigest_add`` and
``tdigest_flush`` of crick 0.0.8. Merging with crick's own objects took three to five times as long, half of it for
Python's work on them.
"""

import math

import numpy as np

from median_spark.digests.build import DigestColumns
from median_spark.gene_values import Floats, Ints
from median_spark.matrices.loops.jit import compiled

_EPSILON = 2.0**-52
"""Weights that are not larger are ignored by crick."""

_CLOSE = 1e-9
_AT_ENDS = 1e-12
"""Between shares of `_AT_ENDS` and 1 - `_AT_ENDS`, rounding moves an angle by less than a fifth of `_CLOSE`."""


@compiled
def _sort_buffer(means: Floats, weights: Floats) -> None:
    """Sort by mean and keep the order of equal means: a buffer has a few ascending runs, which insertion joins fast."""
    for place in range(1, len(means)):
        mean, weight = means[place], weights[place]
        to = place
        while to > 0 and mean < means[to - 1]:
            means[to], weights[to] = means[to - 1], weights[to - 1]
            to -= 1
        means[to], weights[to] = mean, weight


@compiled
def _scaled(compression: float, share: float) -> float:
    """Return a share of all weight on crick's scale k: its ``integrate``."""
    return compression * (math.asin(2 * (1.0 if share > 1 else share) - 1) + math.pi / 2) / math.pi


@compiled
def _join(held: Floats, size: int, more_means: Floats, more_weights: Floats, joined: Floats) -> None:
    """Put the columns of `size` centroids, and those of others, into the order of their means; equal ones keep theirs.

    `held` and `joined` have means and weights as rows; `joined` also receives the weight of all centroids up to each.
    """
    means, weights = held[0], held[1]
    to_means, to_weights, to_sums = joined[0], joined[1], joined[2]
    left = right = 0
    others = len(more_means)
    so_far = 0.0
    for place in range(size + others):
        if right == size or (left < others and more_means[left] < means[right]):
            mean, weight = more_means[left], more_weights[left]
            left += 1
        else:
            mean, weight = means[right], weights[right]
            right += 1
        so_far += weight
        to_means[place], to_weights[place], to_sums[place] = mean, weight, so_far


@compiled
def _flush(
    compression: float, total: float, held: Floats, size: int, buffer: Floats, filled: int, joined: Floats
) -> int:
    """Merge the first `filled` centroids of a buffer into the first `size` of `held`; return how many are there then.

    `total` is the weight of all of them, and `joined` is room to work in. A centroid goes into the last one if that
    then spans at most 1 on the scale, an angle of ``pi / compression``. The sine of the angle decides, which needs a
    root where crick takes an arcsine; crick's own numbers are compared where the sine is too close to tell.
    """
    more_means, more_weights = buffer[0, :filled], buffer[1, :filled]
    _sort_buffer(more_means, more_weights)
    _join(held, size, more_means, more_weights, joined)
    to_means, to_weights, size = held[0], held[1], size + filled
    means, weights, share, sine, cosine = joined[0], joined[1], joined[2], joined[3], joined[4]
    for place in range(size):
        reached = share[place] / total
        share[place] = reached
        sine[place] = 2 * reached - 1
        cosine[place] = 2 * math.sqrt(max(reached * (1 - reached), 0.0))
    limit = math.sin(math.pi / compression)
    made = 0
    begin, begin_sine, begin_cosine = 0.0, -1.0, 0.0  # where the last centroid begins
    for place in range(size):
        reached, mean, weight = share[place], means[place], weights[place]
        within = False
        if made:
            excess = sine[place] * begin_cosine - begin_sine * cosine[place] - limit
            if cosine[place] * begin_cosine + sine[place] * begin_sine < 0:
                excess = 1.0
            if abs(excess) > _CLOSE and _AT_ENDS < reached < 1 - _AT_ENDS and not 0 < begin < _AT_ENDS:
                within = excess < 0
            else:
                within = _scaled(compression, reached) - _scaled(compression, begin) <= 1
        if within:
            to_weights[made - 1] += weight
            to_means[made - 1] += (mean - to_means[made - 1]) * weight / to_weights[made - 1]
        else:
            if made == len(to_means):
                message = "a digest has more centroids than its compression allows"
                raise ValueError(message)
            to_means[made], to_weights[made] = mean, weight
            if made:
                begin, begin_sine, begin_cosine = share[place - 1], sine[place - 1], cosine[place - 1]
            made += 1
    return made


@compiled
def _merge_run(
    compression: float, into_first: np.bool_, first: int, last: int, digests: DigestColumns, work: tuple[Floats, ...]
) -> tuple[int, float, float, float]:
    """Merge the digests ``first <= digest < last`` into `work`, see `merge_in_order`.

    Returns how many centroids there are, their weight, and the smallest and the largest value.
    """
    held, buffer, joined = work
    means, weights, more_means, more_weights = digests.means, digests.weights, buffer[0], buffer[1]
    size = filled = 0
    total = pending = 0.0
    low, high = np.inf, -np.inf
    if into_first:
        begin, end = digests.offsets[first], digests.offsets[first + 1]
        size, total = end - begin, float(digests.n[first])
        held[0, :size], held[1, :size] = means[begin:end], weights[begin:end]
        if digests.n[first]:
            low, high = digests.min[first], digests.max[first]
        first += 1
    for digest in range(first, last):
        for place in range(digests.offsets[digest], digests.offsets[digest + 1]):
            if weights[place] <= _EPSILON:
                continue
            if filled == len(more_means):
                total += pending
                size = _flush(compression, total, held, size, buffer, filled, joined)
                filled, pending = 0, 0.0
            more_means[filled], more_weights[filled] = means[place], weights[place]
            pending += weights[place]
            filled += 1
        if digests.n[digest]:
            low, high = min(low, digests.min[digest]), max(high, digests.max[digest])
    if filled:
        total += pending
        size = _flush(compression, total, held, size, buffer, filled, joined)
    return size, total, low, high


@compiled
def merge_in_order(
    compression: float,
    room: int,
    buffer: int,
    into_first: np.bool_,
    runs: Ints,
    digests: DigestColumns,
    merged: DigestColumns,
) -> None:
    """Merge the digests of each run in their order, and fill in the merged ones.

    Run i has the digests ``runs[i]:runs[i + 1]``, at least one. With `into_first`, the others are merged into the first
    one, else all into an empty one. A digest that is alone in its run is taken as it is. crick has `room` for
    centroids, and merges them when its buffer is full.
    """
    held = np.empty((2, room))
    work = held, np.empty((2, buffer)), np.empty((5, room + buffer))
    filled = 0
    for run in range(len(runs) - 1):
        first, last = runs[run], runs[run + 1]
        if last - first == 1:
            begin, end = digests.offsets[first], digests.offsets[first + 1]
            size = end - begin
            merged.means[filled : filled + size] = digests.means[begin:end]
            merged.weights[filled : filled + size] = digests.weights[begin:end]
            merged.n[run], merged.min[run], merged.max[run] = digests.n[first], digests.min[first], digests.max[first]
        else:
            size, total, low, high = _merge_run(compression, into_first, first, last, digests, work)
            # Rounding can push a mean past its neighbour, or out of the range, by a last bit; ours ascend.
            reached = low
            for place in range(size):
                reached = max(reached, min(held[0, place], high))
                merged.means[filled + place], merged.weights[filled + place] = reached, held[1, place]
            merged.n[run], merged.min[run], merged.max[run] = int(total), low, high
        filled += size
        merged.offsets[run + 1] = filled
