"""crick's merge of t-digests, compiled: the same steps on the same numbers, so that every bit is crick's.

`median_spark.digests.crick.merge_runs` is how it is called. It follows ``tdigest_merge``, ``tdigest_add`` and
``tdigest_flush`` of crick 0.0.8. Called for each digest, crick itself takes two to five times as long, half of it for
making Python objects.
"""

import math

import numpy as np

from median_spark.gene_values import Floats, Ints
from median_spark.matrices.loops.jit import compiled

_EPSILON = 2.0**-52
"""Weights that are not larger are ignored by crick."""

_CLOSE = 1e-9
_AT_ENDS = 1e-12
"""Between shares of `_AT_ENDS` and 1 - `_AT_ENDS`, rounding moves an angle by less than a fifth of `_CLOSE`."""


@compiled
def _sort_buffer(means: Floats, weights: Floats, size: int) -> None:
    """Sort by mean and keep the order of equal means: a buffer has a few ascending runs, which insertion joins fast."""
    for place in range(1, size):
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
def _join(
    means: Floats, weights: Floats, held: int, more_means: Floats, more_weights: Floats, more: int, joined: Floats
) -> int:
    """Put `held` centroids and `more` others into the order of their means; return how many there are.

    `joined` receives their means and weights, and what has been reached after each: its share of all weight, and the
    sine and the cosine of the angle there.
    """
    left = right = 0
    size = held + more
    so_far = 0.0
    for place in range(size):
        if right == held or (left < more and more_means[left] < means[right]):
            mean, weight = more_means[left], more_weights[left]
            left += 1
        else:
            mean, weight = means[right], weights[right]
            right += 1
        so_far += weight
        joined[0, place], joined[1, place], joined[2, place] = mean, weight, so_far
    return size


@compiled
def _flush(
    compression: float,
    total: float,
    joined: Floats,
    size: int,
    to_means: Floats,
    to_weights: Floats,
) -> int:
    """Cluster what `_join` has put in order; return how many centroids there are then.

    `total` is the weight of all of them. A centroid goes into the last one if that then spans at most 1 on the scale,
    an angle of ``pi / compression``. The sine of the angle decides, which needs a root where crick takes an arcsine;
    crick's own numbers are compared where the sine is too close to tell.
    """
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
def merge_in_order(
    compression: float,
    room: int,
    buffer: int,
    into_first: np.bool_,
    runs: Ints,
    n: Ints,
    low: Floats,
    high: Floats,
    offsets: Ints,
    means: Floats,
    weights: Floats,
    to_n: Ints,
    to_low: Floats,
    to_high: Floats,
    to_offsets: Ints,
    to_means: Floats,
    to_weights: Floats,
) -> None:
    """Merge the digests of each run in their order, and fill in the merged ones.

    Run i has the digests ``runs[i]:runs[i + 1]``, at least one. With `into_first`, the others are merged into the first
    one, else all into an empty one. A digest that is alone in its run is taken as it is. crick has `room` for
    centroids, and merges them when its buffer is full.
    """
    held_means, held_weights = np.empty(room), np.empty(room)
    joined = np.empty((5, room + buffer))
    more_means, more_weights = np.empty(buffer), np.empty(buffer)
    filled = 0
    for run in range(len(runs) - 1):
        first, last = runs[run], runs[run + 1]
        if last - first == 1:
            begin, size = offsets[first], offsets[first + 1] - offsets[first]
            to_means[filled : filled + size] = means[begin : begin + size]
            to_weights[filled : filled + size] = weights[begin : begin + size]
            filled += size
            to_n[run], to_low[run], to_high[run], to_offsets[run + 1] = n[first], low[first], high[first], filled
            continue
        held = more = 0
        total = pending = 0.0
        least, most = np.inf, -np.inf
        if into_first:
            held = offsets[first + 1] - offsets[first]
            held_means[:held] = means[offsets[first] : offsets[first + 1]]
            held_weights[:held] = weights[offsets[first] : offsets[first + 1]]
            total = float(n[first])
            if n[first]:
                least, most = low[first], high[first]
            first += 1
        for digest in range(first, last):
            for place in range(offsets[digest], offsets[digest + 1]):
                if weights[place] <= _EPSILON:
                    continue
                if more == buffer:
                    total += pending
                    _sort_buffer(more_means, more_weights, more)
                    size = _join(held_means, held_weights, held, more_means, more_weights, more, joined)
                    held = _flush(compression, total, joined, size, held_means, held_weights)
                    more, pending = 0, 0.0
                more_means[more], more_weights[more] = means[place], weights[place]
                pending += weights[place]
                more += 1
            if n[digest]:
                least, most = min(least, low[digest]), max(most, high[digest])
        if more:
            total += pending
            _sort_buffer(more_means, more_weights, more)
            size = _join(held_means, held_weights, held, more_means, more_weights, more, joined)
            held = _flush(compression, total, joined, size, held_means, held_weights)
        # Rounding can push a mean past its neighbour, or out of the range, by a last bit; ours ascend.
        reached = least
        for place in range(held):
            reached = max(reached, min(held_means[place], most))
            to_means[filled + place], to_weights[filled + place] = reached, held_weights[place]
        filled += held
        to_n[run], to_low[run], to_high[run], to_offsets[run + 1] = int(total), least, most, filled
