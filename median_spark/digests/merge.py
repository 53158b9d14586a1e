"""Digests as crick has them: bounds checked before anything is handed over, merging in a fixed order, medians."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from crick import TDigest

from median_spark.digests.build import Digest
from median_spark.errors import DigestError

DEFAULT_COMPRESSION = 200.0
"""Twice crick's default, with which the published digests were made. On real looms 95 % of the medians of genes with
more than 1,000 values are within 0.4 % of the exact ones with it, and within 0.6 % with crick's."""

_COMPRESSION_RANGE = (20.0, 1000.0)
"""crick clips a compression to this range without a word; what lies outside is refused instead."""

_CENTROID = np.dtype([("mean", "<f8"), ("weight", "<f8")])


def check_compression(compression: float) -> None:
    """Refuse a compression that crick would change.

    Raises
    ------
    DigestError
        If it lies outside 20 to 1000.
    """
    low, high = _COMPRESSION_RANGE
    if not low <= compression <= high:
        message = (
            f"--compression must lie between {low:g} and {high:g}, the range of crick's digests; not {compression:g}"
        )
        raise DigestError(message)


def to_crick(digest: Digest, compression: float) -> Any:
    """Return a crick digest with exactly these centroids.

    Parameters
    ----------
    digest : Digest
        At most ``2 * ceil(compression)`` centroids: crick copies them into an array of that size without looking.
    compression : float
        Of the crick digest.

    Raises
    ------
    DigestError
        If there are too many centroids, means do not ascend or lie outside min and max, or weights are not above 0
        and finite or do not add up to n.
    """
    check_compression(compression)
    most = 2 * int(np.ceil(compression))
    means, weights = digest.means, digest.weights
    if len(means) > most:
        message = f"a digest of compression {compression:g} has at most {most} centroids, not {len(means)}"
        raise DigestError(message)
    sound = (
        len(means) == len(weights)
        and bool(np.all(np.isfinite(means)) and np.all(np.isfinite(weights)) and np.all(weights > 0))
        and not np.any(means[1:] < means[:-1])
        and (not digest.n or bool(np.isfinite([digest.min, digest.max]).all()))
        and (not len(means) or (digest.min <= means[0] and means[-1] <= digest.max))
        and weights.sum() == digest.n
    )
    if not sound:
        message = "a digest's means must ascend between min and max, and its weights be above 0 and add up to n"
        raise DigestError(message)
    made = TDigest(compression)
    if digest.n:
        centroids = np.empty(len(means), dtype=_CENTROID)
        centroids["mean"], centroids["weight"] = means, weights
        made.__setstate__((centroids, float(digest.n), digest.min, digest.max))
    return made


def from_crick(digest: Any) -> Digest:
    """Return what a crick digest consists of.

    crick updates a mean step by step, so that rounding can push it past its neighbour by a last bit; here means ascend.
    """
    centroids = digest.centroids()
    low, high = float(digest.min()), float(digest.max())
    means = np.maximum.accumulate(np.clip(centroids["mean"], low, high))
    return Digest(int(digest.size()), low, high, means, np.ascontiguousarray(centroids["weight"]))


def merge_digests(digests: Sequence[Digest], compression: float) -> Digest:
    """Merge digests of one gene, in the order given, with crick.

    Parameters
    ----------
    digests : sequence of Digest
        At least one. The result depends on their order.
    compression : float
        Of the result.
    """
    if len(digests) == 1:
        return digests[0]
    total = TDigest(compression)
    total.merge(*(to_crick(digest, compression) for digest in digests))
    return from_crick(total)


def median_of(digest: Digest, compression: float) -> float:
    """Return the median by a digest: exact where every value has a centroid of its own, else crick's estimate.

    Parameters
    ----------
    digest : Digest
        Of at least one value.
    compression : float
        Its compression.
    """
    if len(digest.means) == digest.n:
        return float(np.median(digest.means))
    return float(to_crick(digest, compression).quantile(0.5))
