"""From gene values to digests: sort, cluster by the scale function, take means and weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from median_spark.gene_values import Floats, GeneValues, Ints


@dataclass(frozen=True)
class Digest:
    """A t-digest of one gene's values."""

    n: int  # values digested
    min: float
    max: float
    means: Floats  # ascending, shape (centroids,)
    weights: Floats  # numbers of values


class DigestColumns(NamedTuple):
    """The digests of some genes as flat arrays, as compiled loops take them.

    Attributes
    ----------
    n, min, max : numpy.ndarray
        Number of values, the smallest and the largest one, shape (genes,).
    offsets : numpy.ndarray
        Gene i has the centroids ``offsets[i]:offsets[i + 1]``, shape (genes + 1,), int64.
    means, weights : numpy.ndarray
        Means and weights of all centroids, float64.
    """

    n: Ints
    min: Floats
    max: Floats
    offsets: Ints
    means: Floats
    weights: Floats

    @classmethod
    def of(cls, digests: "Sequence[Digest] | DigestColumns") -> "DigestColumns":
        """Return digests as columns; columns are returned as they are."""
        if isinstance(digests, DigestColumns):
            return digests
        none = np.zeros(0)
        return cls(
            np.array([digest.n for digest in digests], dtype=np.int64),
            np.array([digest.min for digest in digests], dtype=np.float64),
            np.array([digest.max for digest in digests], dtype=np.float64),
            np.cumsum([0, *(len(digest.means) for digest in digests)]),
            np.concatenate([none, *(digest.means for digest in digests)]),
            np.concatenate([none, *(digest.weights for digest in digests)]),
        )

    def only(self, kept: npt.NDArray[np.bool_]) -> "DigestColumns":
        """Return some of the digests, those of which `kept` is true, shape (genes,)."""
        if kept.all():
            return self
        sizes = np.diff(self.offsets)
        centroids = np.repeat(kept, sizes)
        offsets = np.append(0, np.cumsum(sizes[kept]))
        return DigestColumns(
            self.n[kept], self.min[kept], self.max[kept], offsets, self.means[centroids], self.weights[centroids]
        )

    def digests(self) -> list[Digest]:
        """Return one digest per gene."""
        numbers = zip(self.n.tolist(), self.min.tolist(), self.max.tolist(), strict=True)
        bounds = pairwise(self.offsets.tolist())
        return [
            Digest(n, low, high, self.means[begin:end], self.weights[begin:end])
            for (n, low, high), (begin, end) in zip(numbers, bounds, strict=True)
        ]


def cluster_ends(sizes: Ints, compression: float) -> tuple[Ints, Ints]:
    """Cut the sorted values of genes into the clusters that a t-digest of all values at once would have.

    A cluster grows while its extent on the scale k1 does not exceed 1, with
    ``k1(q) = compression * (asin(2 q - 1) + pi / 2) / pi`` (Dunning and Ertl, "Computing extremely accurate quantiles
    using t-digests", 2019; crick's ``integrate``). So a cluster near the median of n values holds at most
    ``n * pi / (2 * compression)`` of them, up to ``4 * compression / pi`` values each have their own, and there are
    at most ``2 * compression`` clusters.

    Parameters
    ----------
    sizes
        Number of values of each gene, shape (genes,).
    compression
        Compression of the digests.

    Returns
    -------
    offsets : numpy.ndarray
        Gene i has the clusters ``offsets[i]:offsets[i + 1]``, shape (genes + 1,), int64.
    ends : numpy.ndarray
        End of each cluster within its gene: it has the values before that one, shape (clusters,), int64.
    """
    from median_spark.digests.loops import cut_clusters  # numba takes half a second: only who digests waits

    most = 2 * math.ceil(compression) + 1
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    ends = np.empty(int(np.minimum(sizes, most).sum()), dtype=np.int64)
    cut_clusters(sizes, compression, offsets, ends)
    return offsets, ends[: offsets[-1]]


def sort_values(gene_values: GeneValues) -> None:
    """Sort the values of each gene, in place."""
    values = gene_values.values
    for begin, end in pairwise(gene_values.offsets.tolist()):
        values[begin:end].sort()


def digest_values(gene_values: GeneValues, compression: float) -> list[Digest]:
    """Return the digest of each gene, see `digest_columns`."""
    return digest_columns(gene_values, compression).digests()


def digest_columns(gene_values: GeneValues, compression: float) -> DigestColumns:
    """Digest the values of each gene: cluster them by the scale function, take means and weights.

    Every gene has at least one value, and its values ascend. The digest is what a crick digest would keep that is
    given these values at once.
    """
    values, offsets = gene_values.values, gene_values.offsets
    clusters, ends = cluster_ends(gene_values.lengths, compression)
    last = np.repeat(offsets[:-1], np.diff(clusters)) + ends
    first = np.append(0, last)[:-1]
    weights = (last - first).astype(np.float64)
    # A mean of equal values may differ from them in the last bit, and must not leave its cluster.
    sums = np.add.reduceat(values, first) if len(first) else weights
    means = np.clip(sums / weights, values[first], values[last - 1])
    return DigestColumns(gene_values.lengths, values[offsets[:-1]], values[offsets[1:] - 1], clusters, means, weights)


def sorted_medians(values: Floats, offsets: Ints) -> Floats:
    """Return `numpy.median` of runs of ascending values, bit for bit, shape (runs,).

    Run i has ``values[offsets[i]:offsets[i + 1]]``, at least one value.
    """
    first, lengths = offsets[:-1], np.diff(offsets)
    lower, upper = values[first + (lengths - 1 >> 1)], values[first + (lengths >> 1)]
    medians: Floats = np.where(lengths & 1, lower, (lower + upper) / 2)
    return medians
