"""From gene values to digests: sort, cluster by the scale function, take means and weights."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from median_spark.gene_values import Floats, GeneValues, Ints


@dataclass(frozen=True)
class Digest:
    """A t-digest of one gene's values."""

    n: int  # values digested
    min: float
    max: float
    means: Floats  # ascending, shape (centroids,)
    weights: Floats  # numbers of values


def cluster_ends(sizes: Ints, compression: float) -> tuple[Ints, Ints]:
    """Cut the sorted values of genes into the clusters that a t-digest of all values at once would have.

    A cluster grows while its extent on the scale k1 does not exceed 1, with
    ``k1(q) = compression * (asin(2 q - 1) + pi / 2) / pi`` (Dunning and Ertl, "Computing extremely accurate quantiles
    using t-digests", 2019; crick's ``integrate``). So a cluster near the median of n values holds at most
    ``n * pi / (2 * compression)`` of them, up to ``4 * compression / pi`` values each have their own, and there are
    at most ``2 * compression`` clusters.

    `sizes` has the number of values of each gene. Returns the gene of each cluster, ascending, and its end within the
    gene, ascending: the cluster ends before that value.
    """
    none = np.zeros(0, dtype=np.int64)
    genes, ends = [none], [none]
    active = np.flatnonzero(sizes > 0)
    begin = np.zeros(len(active), dtype=np.int64)
    while len(active):  # a step finds the next cluster of every gene that is not finished
        size = sizes[active]
        scaled = np.arcsin(2 * (begin / size) - 1) + np.pi / compression
        fraction = np.where(scaled < np.pi / 2, (np.sin(np.minimum(scaled, np.pi / 2)) + 1) / 2, 1.0)
        end = np.clip((fraction * size).astype(np.int64), begin + 1, size)
        genes.append(active)
        ends.append(end)
        unfinished = end < size
        active, begin = active[unfinished], end[unfinished]
    gene, end = np.concatenate(genes), np.concatenate(ends)
    order = np.argsort(gene, kind="stable")  # ends ascend from step to step
    return gene[order], end[order]


def sort_values(gene_values: GeneValues) -> None:
    """Sort the values of each gene, in place."""
    values = gene_values.values
    for begin, end in pairwise(gene_values.offsets.tolist()):
        values[begin:end].sort()


def digest_values(gene_values: GeneValues, compression: float) -> list[Digest]:
    """Return the digest of each gene: cluster its values by the scale function, take means and weights.

    Every gene has at least one value, and its values ascend. The digest is what a crick digest would keep that is
    given these values at once.
    """
    values, offsets = gene_values.values, gene_values.offsets
    if not len(values):
        return []
    gene, ends = cluster_ends(gene_values.lengths, compression)
    last = offsets[gene] + ends
    first = np.append(0, last[:-1])
    weights = (last - first).astype(np.float64)
    # A mean of equal values may differ from them in the last bit, and must not leave its cluster.
    means = np.clip(np.add.reduceat(values, first) / weights, values[first], values[last - 1])
    bounds = np.searchsorted(gene, np.arange(len(gene_values.genes) + 1)).tolist()
    low, high = values[offsets[:-1]].tolist(), values[offsets[1:] - 1].tolist()
    return [
        Digest(n, low[i], high[i], means[begin:end], weights[begin:end])
        for i, (n, (begin, end)) in enumerate(zip(gene_values.lengths.tolist(), pairwise(bounds), strict=True))
    ]


def sorted_medians(values: Floats, offsets: Ints) -> Floats:
    """Return `numpy.median` of runs of ascending values, bit for bit, shape (runs,).

    Run i has ``values[offsets[i]:offsets[i + 1]]``, at least one value.
    """
    first, lengths = offsets[:-1], np.diff(offsets)
    lower, upper = values[first + (lengths - 1 >> 1)], values[first + (lengths >> 1)]
    medians: Floats = np.where(lengths & 1, lower, (lower + upper) / 2)
    return medians
