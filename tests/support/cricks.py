"""crick's own digests beside ours: what tests compare with, and digests as bytes."""

import numpy as np
import pyarrow as pa
from crick import TDigest

from median_spark.digests import PACKED_SCHEMA, Digest, DigestColumns, check_digests, merge_runs, unpack_table

CENTROID = np.dtype([("mean", "<f8"), ("weight", "<f8")])


def to_cricks(digests, compression):
    """Return crick digests with exactly the centroids of these; raises as `check_digests`."""
    check_digests(digests, compression)
    cricks = [TDigest(compression) for _ in digests]
    for crick, digest in zip(cricks, digests, strict=True):
        if digest.n:
            centroids = np.empty(len(digest.means), dtype=CENTROID)
            centroids["mean"], centroids["weight"] = digest.means, digest.weights
            crick.__setstate__((centroids, float(digest.n), digest.min, digest.max))
    return cricks


def from_crick(digest):
    """Return the digest that a crick digest is.

    crick updates a mean step by step, so that rounding can push it past its neighbour by a last bit; here means ascend.
    """
    centroids = digest.centroids()
    low, high = float(digest.min()), float(digest.max())
    means = np.maximum.accumulate(np.clip(centroids["mean"], low, high))
    return Digest(int(digest.size()), low, high, means, np.ascontiguousarray(centroids["weight"]))


def merge_digests(digests, compression):
    """Merge digests of one gene, at least one; raises as `check_digests`."""
    check_digests(digests, compression)
    return merge_runs(DigestColumns.of(digests), np.array([0, len(digests)]), compression).digests()[0]


def pack(digest):
    """Return the centroids as `PACKED_SCHEMA` has them: all means, then all weights, float64 little-endian."""
    return np.concatenate([digest.means, digest.weights]).astype("<f8").tobytes()


def unpack(n, low, high, packed):
    """Return a digest from such bytes, and from its n, min and max."""
    row = {"n": n, "min": low, "max": high, "centroids": packed, "sources": b""}
    return unpack_table(pa.Table.from_pylist([row], schema=PACKED_SCHEMA))[0][0]
