"""From gene runs to digests: sort, cluster by the scale function, take means and weights."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from median_spark.gene_values import GeneValues


@dataclass(frozen=True)
class Digest:
    """What a t-digest of one gene's values consists of.

    Attributes
    ----------
    n : int
        Values digested.
    min, max : float
        Smallest and largest value.
    means, weights : ndarray of float64, shape (centroids,)
        Means ascend; weights are numbers of values.
    """

    n: int
    min: float
    max: float
    means: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


def cluster_ends(n: int, compression: float) -> npt.NDArray[np.int64]:
    """Cut n sorted values into clusters as a t-digest of them in one go would.

    A cluster grows while its extent on the scale k1 does not exceed 1, with
    ``k1(q) = compression * (asin(2 q - 1) + pi / 2) / pi`` (Dunning and Ertl, "Computing extremely accurate quantiles
    using t-digests", 2019; crick's ``integrate``). Near the median a cluster of n values so holds at most
    ``n * pi / (2 * compression)`` of them, and up to ``4 * compression / pi`` values each stay by themselves.

    Parameters
    ----------
    n : int
        Number of values, at least 1.
    compression : float
        Bounds the number of clusters by twice itself.

    Returns
    -------
    ndarray of int64, shape (clusters,)
        Ascending; cluster i ends before value number ``ends[i]``.
    """
    return _cluster_ends(np.array([n], dtype=np.int64), compression)[1]


def _cluster_ends(
    sizes: npt.NDArray[np.int64], compression: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut several sorted runs at once: one step finds the next cluster's end in every run that has one.

    Returns the run of each cluster, and its end within the run, by run and then by end.
    """
    runs, ends = [], []
    active = np.flatnonzero(sizes > 0)
    begin = np.zeros(len(active), dtype=np.int64)
    while len(active):
        size = sizes[active]
        scaled = np.arcsin(2 * (begin / size) - 1) + np.pi / compression
        fraction = np.where(scaled < np.pi / 2, (np.sin(np.minimum(scaled, np.pi / 2)) + 1) / 2, 1.0)
        end = np.clip((fraction * size).astype(np.int64), begin + 1, size)
        runs.append(active)
        ends.append(end)
        unfinished = end < size
        active, begin = active[unfinished], end[unfinished]
    if not runs:
        none = np.zeros(0, dtype=np.int64)
        return none, none
    run, end = np.concatenate(runs), np.concatenate(ends)
    order = np.argsort(run, kind="stable")  # ends ascend from step to step
    return run[order], end[order]


def sort_values(runs: GeneValues) -> None:
    """Sort the values of each gene, in place."""
    values = runs.values
    for begin, end in pairwise(runs.offsets.tolist()):
        values[begin:end].sort()


def digest_values(runs: GeneValues, compression: float) -> list[Digest]:
    """Digest every gene's values: cluster them by the scale function, take means and weights.

    This is what a crick digest that is given the sorted values at once would keep.

    Parameters
    ----------
    runs : GeneValues
        Every gene with at least one value, and its values ascending.
    compression : float
        Of the digests.

    Returns
    -------
    list of Digest, one a gene
        In the order of the genes.
    """
    values, lengths = runs.values, runs.lengths
    gene, ends = _cluster_ends(lengths, compression)
    last = runs.offsets[gene] + ends
    first = np.empty_like(last)
    if len(last):
        first[0] = 0
        first[1:] = last[:-1]
    weights = (last - first).astype(np.float64)
    means = np.add.reduceat(values, first) / weights if len(first) else np.zeros(0, dtype=np.float64)
    # A mean of equal values may differ from them in the last bit, and must not leave its cluster.
    means = np.clip(means, values[first], values[last - 1]) if len(first) else means
    bounds = np.searchsorted(gene, np.arange(len(runs.genes) + 1))
    low, high = values[runs.offsets[:-1]].tolist(), values[runs.offsets[1:] - 1].tolist()
    return [
        Digest(n, low[i], high[i], means[begin:end], weights[begin:end])
        for i, (n, begin, end) in enumerate(
            zip(lengths.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        )
    ]


def sorted_medians(runs: GeneValues) -> npt.NDArray[np.float64]:
    """Return `numpy.median` of each gene's values, bit for bit, shape (genes,).

    Parameters
    ----------
    runs : GeneValues
        Every gene with at least one value, and its values ascending.
    """
    lower = runs.values[runs.offsets[:-1] + (runs.lengths - 1) // 2]
    upper = runs.values[runs.offsets[:-1] + runs.lengths // 2]
    medians: npt.NDArray[np.float64] = np.where(runs.lengths % 2 == 1, lower, (lower + upper) / 2)
    return medians
