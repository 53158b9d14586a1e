"""Digests as crick has them: checking what crick does not, pickles, merging, quantiles."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from crick import TDigest

from median_spark.digests.build import Digest, DigestColumns, sorted_medians
from median_spark.errors import DigestError
from median_spark.gene_values import Floats, Ints, read_only
from median_spark.options import COMPRESSION

DEFAULT_COMPRESSION = 200.0
"""Twice crick's default, with which the published digests were made. On real looms, 95 % of the medians of genes with
more than 1,000 values are within 0.4 % of the exact ones; with crick's default, within 0.6 %."""

_COMPRESSION_RANGE = (20.0, 1000.0)
"""crick silently clips a compression to this range; we reject what lies outside."""

_UNSOUND = "a digest's means must ascend between min and max, and its weights be above 0 and add up to n"

CENTROID = np.dtype([("mean", "<f8"), ("weight", "<f8")])


def check_compression(compression: float) -> None:
    """Raise `DigestError` for a compression that crick would change."""
    low, high = _COMPRESSION_RANGE
    if not low <= compression <= high:
        message = (
            f"{COMPRESSION:name} must lie between {low:g} and {high:g}, the range of crick's digests; "
            f"not {compression:g}"
        )
        raise DigestError(message)


def check_digests(digests: Sequence[Digest] | DigestColumns, compression: float) -> None:
    """Raise `DigestError` for digests that crick could not hold.

    A digest has at most ``2 * ceil(compression)`` centroids, because crick copies them into an array of that size
    without looking; means that ascend between min and max; and finite weights above 0 that add up to n.
    """
    check_compression(compression)
    most = most_centroids(compression)
    if not isinstance(digests, DigestColumns) and any(len(each.means) != len(each.weights) for each in digests):
        raise DigestError(_UNSOUND)
    columns = DigestColumns.of(digests)
    largest = np.diff(columns.offsets).max(initial=0)
    if largest > most:
        message = f"a digest of compression {compression:g} has at most {most} centroids, not {largest}"
        raise DigestError(message)
    if not _sound(columns):
        raise DigestError(_UNSOUND)


class PickledAsCrick:
    """Pickles as a crick digest in a state as crick has it, or as an empty one; a digest itself would take 15 kB."""

    def __init__(self, compression: float, state: tuple[npt.NDArray[np.void], float, float, float] | None) -> None:
        self._compression = compression
        self._state = state

    def __reduce__(self) -> tuple[Any, ...]:
        if self._state is None:
            return TDigest, (self._compression,)
        return TDigest, (self._compression,), self._state


def pickled_as_cricks(digests: Mapping[str, Digest], compression: float) -> dict[str, PickledAsCrick]:
    """Return for each gene what pickles as a crick digest with these centroids; raises as `check_digests`."""
    columns = DigestColumns.of(list(digests.values()))
    check_digests(columns, compression)
    centroids = np.empty(len(columns.means), dtype=CENTROID)
    centroids["mean"], centroids["weight"] = columns.means, columns.weights
    figures = zip(columns.n.tolist(), columns.min.tolist(), columns.max.tolist(), strict=True)
    return {
        gene: PickledAsCrick(compression, (centroids[begin:end], float(n), low, high) if n else None)
        for gene, (n, low, high), (begin, end) in zip(digests, figures, pairwise(columns.offsets.tolist()), strict=True)
    }


def _sound(digests: DigestColumns) -> bool:
    """Return whether all digests are sound."""
    sizes, n = np.diff(digests.offsets), digests.n
    filled, low, high = sizes > 0, digests.min, digests.max
    if np.any(n[~filled] != 0) or not np.isfinite(low[n > 0]).all() or not np.isfinite(high[n > 0]).all():
        return False
    if not filled.any():
        return True
    means, weights = digests.means, digests.weights
    begin = digests.offsets[:-1][filled]
    last = begin + sizes[filled] - 1
    descends = means[1:] < means[:-1]
    descends[begin[1:] - 1] = False  # from one digest to the next
    return bool(
        np.isfinite(means).all()
        and np.isfinite(weights).all()
        and (weights > 0).all()
        and not descends.any()
        and (low[filled] <= means[begin]).all()
        and (means[last] <= high[filled]).all()
        and (np.add.reduceat(weights, begin) == n[filled]).all()
    )


def merge_runs(digests: DigestColumns, runs: Ints, compression: float, *, into_first: bool = False) -> DigestColumns:
    """Merge each run of digests in their order, bit for bit as crick's `TDigest.merge` does.

    Parameters
    ----------
    digests
        Digests that have passed `check_digests`.
    runs
        Run i has the digests ``runs[i]:runs[i + 1]``, at least one; shape (runs + 1,), int64. A digest that is alone in
        its run is taken as it is.
    compression
        Compression of the merged digests.
    into_first
        Merge the others of a run into its first one, which then has this compression; otherwise, merge all into an
        empty digest.

    Raises
    ------
    DigestError
        If one that others are merged into is none that crick could make with this compression.
    """
    # numba takes half a second: only who merges waits
    from median_spark.digests.merge_loops import merge_in_order

    if into_first:
        firsts = np.zeros(len(digests.n), dtype=np.bool_)
        firsts[runs[:-1]] = True
        check_digests(digests.only(firsts), compression)

    room, buffer = most_centroids(compression), int(7.5 + 0.37 * compression - 2e-4 * compression * compression)
    sizes = np.add.reduceat(np.diff(digests.offsets), runs[:-1]) if len(runs) > 1 else np.zeros(0, dtype=np.int64)
    alone = np.diff(runs) == 1
    places = int(np.where(alone, sizes, np.minimum(sizes, room)).sum())
    number = len(runs) - 1
    merged = DigestColumns(
        np.empty(number, dtype=np.int64),
        np.empty(number),
        np.empty(number),
        np.zeros(number + 1, dtype=np.int64),
        np.empty(places),
        np.empty(places),
    )
    # What comes from Arrow is read-only. All is taken so: types that differ would be compiled for, some seconds each.
    given = DigestColumns(*map(read_only, digests))
    merge_in_order(float(compression), room, buffer, np.bool_(into_first), runs, given, merged)
    used = merged.offsets[-1]
    # Copies, for there was room for about twice as many.
    return merged._replace(means=merged.means[:used].copy(), weights=merged.weights[:used].copy())


def most_centroids(compression: float) -> int:
    """Return for how many centroids crick has room in a digest."""
    return 2 * math.ceil(compression)


def quantiles_of(digests: Sequence[Digest] | DigestColumns, q: npt.ArrayLike) -> Floats:
    """Return quantiles of each digest as crick reads them off, bit for bit.

    crick interpolates between the means of centroids, each of which lies in the middle of its weight
    (``tdigest_quantile`` of crick 0.0.8). One call here serves all genes: `digests` each have a value, `q` has shape
    (quantiles, 1) or (quantiles, digests) and lies between 0 and 1, both excluded. Returns shape (quantiles, digests).
    """
    wanted, columns = np.asarray(q, dtype=np.float64), DigestColumns.of(digests)
    if not len(columns.n):
        return np.empty((len(wanted), 0), dtype=np.float64)
    means, weights = columns.means, columns.weights
    # A row for each digest, so that what is searched for ascends: that is several times as fast.
    begin, end, least, most = (
        column[:, np.newaxis] for column in (columns.offsets[:-1], columns.offsets[1:], columns.min, columns.max)
    )
    # Weights are whole numbers, so that sums over all digests and their differences are exact.
    up_to = np.cumsum(weights)
    middles = up_to - weights / 2
    before = up_to[begin] - weights[begin]  # of each digest: the weight of all digests before it
    n = up_to[end - 1] - before
    index = wanted.T * n
    # The first middle that is not below the index. The sum rounds, so that the place may be one beside it.
    place = np.clip(np.searchsorted(middles, before + index), begin, end)
    place -= (place > begin) & (middles[np.maximum(place - 1, begin)] - before >= index)
    place += (place < end) & (middles[np.minimum(place, end - 1)] - before < index)
    at_first, at_last = place == begin, place == end
    left, right = np.maximum(place - 1, begin), np.minimum(place, end - 1)
    x0, y0 = np.where(at_first, 0.0, middles[left] - before), np.where(at_first, least, means[left])
    x1, y1 = np.where(at_last, n, middles[right] - before), np.where(at_last, most, means[right])
    quantiles: Floats = np.where(end - begin == 1, means[begin], y0 + (index - x0) * (y1 - y0) / (x1 - x0))
    return quantiles.T


def medians_of(digests: Sequence[Digest] | DigestColumns) -> Floats:
    """Return the median by each digest, shape (digests,): exact if each value has its own centroid, else estimated.

    Each digest has at least one value.
    """
    columns = DigestColumns.of(digests)
    single = np.diff(columns.offsets) == columns.n
    medians: Floats = np.where(
        single, sorted_medians(columns.means, columns.offsets), quantiles_of(columns, [[0.5]])[0]
    )
    return medians


def rank_error(below: npt.ArrayLike, up_to: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """Return how far estimates of medians are from the middle rank, as fractions of all n values: 0 to 0.5.

    `below` values are smaller than the estimate, `up_to` are not larger. The error is 0 if the middle lies among values
    equal to the estimate, or between those below and above it.
    """
    count = np.asarray(n)
    errors: Floats = np.maximum(np.maximum(np.asarray(below) - count / 2, count / 2 - np.asarray(up_to)), 0.0) / count
    return errors
