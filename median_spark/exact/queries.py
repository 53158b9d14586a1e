"""Queries: the ranks of a gene's values that are sought, and the bracket in which they are expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from median_spark.digests import Digest, medians_of, quantiles_of
from median_spark.gene_values import Ints, Names

_CLUSTERS = 1.0
"""Half the width of a bracket, in clusters of the digest at its middle. A merged digest is rarely off by half of one;
if it is off by more, the bracket misses and the gene takes another round."""

_FEWEST, _FEW = 2, 128
"""Least half width of a bracket, in values, and what it is where there are not too many: those of few cells are often
equal, and then digests are off by more. A single bracket that misses may have nearly the whole table read again."""

_SENT = 5_000_000
"""Values that may be sent for that, 40 MB: of 20,000 genes, not of a million genes of groups."""

_WIDEST = 0.5 - 1e-9
"""Upper limit of half the width of a bracket, as a fraction of all values."""


@dataclass(frozen=True)
class Query:
    """One or two ranks that are sought within one bracket of one gene's values."""

    gene: str
    first_rank: int  # among all of the gene's values, counted from 0
    last_rank: int  # the same, or 1 more
    low: float  # the bracket, both ends included
    high: float
    floor: float  # the gene's smallest and largest value: a bracket that misses is widened to them
    ceiling: float
    estimate: float = float("nan")  # the digest's median, whose true rank is counted too; NaN if it is known already


class Queries:
    """All queries of one round, ascending by gene; flat arrays, so that they travel cheaply to every worker.

    A gene may have two queries. Public attributes are those of `Query`, as arrays of shape (queries,).
    """

    def __init__(self, queries: Iterable[Query]) -> None:
        ordered = sorted(queries, key=lambda query: (query.gene, query.first_rank))
        self.genes: Names = np.array([query.gene for query in ordered], dtype=np.str_)
        self._ranks = np.array([(query.first_rank, query.last_rank) for query in ordered], dtype=np.int64).reshape(
            -1, 2
        )
        self.low, self.high, self._floor, self._ceiling, self.estimate = (
            np.array([getattr(query, name) for query in ordered], dtype=np.float64)
            for name in ("low", "high", "floor", "ceiling", "estimate")
        )

    def __len__(self) -> int:
        return len(self.genes)

    def of_genes(self, genes: Names) -> tuple[Ints, Ints]:
        """Return the number of the first query of each gene, and how many it has, both of shape (genes,)."""
        first = np.searchsorted(self.genes, genes, side="left")
        return first, np.searchsorted(self.genes, genes, side="right") - first

    def __getitem__(self, number: int) -> Query:
        first, last = self._ranks[number].tolist()
        floats = (self.low, self.high, self._floor, self._ceiling, self.estimate)
        return Query(str(self.genes[number]), first, last, *(float(column[number]) for column in floats))


def median_ranks(n: int) -> tuple[int, int]:
    """Return the ranks, counted from 0, of the one or two of n values whose mean is `numpy.median`."""
    return (n - 1) // 2, n // 2


def brackets(digests: Mapping[str, Digest], compression: float, sent: int = _SENT) -> Queries:
    """Bracket the median of every gene whose digest, of this compression, does not know it exactly.

    A digest knows it exactly if each value has its own centroid. Brackets of rare genes are wider, by as much as lets
    about `sent` values be inside.
    """
    uncertain = {gene: digest for gene, digest in digests.items() if len(digest.means) < digest.n}
    uncertain_digests = list(uncertain.values())
    n = np.array([digest.n for digest in uncertain_digests], dtype=np.float64)
    few = np.clip(sent // max(1, 2 * len(n)), _FEWEST, _FEW)
    half = np.minimum(_WIDEST, np.maximum(_CLUSTERS * np.pi / (2 * compression), few / n))
    estimate = medians_of(uncertain_digests)
    least, most = (
        np.array([digest.min for digest in uncertain_digests]),
        np.array([digest.max for digest in uncertain_digests]),
    )
    below, above = quantiles_of(uncertain_digests, np.stack([0.5 - half, 0.5 + half]))
    low, high = np.maximum(least, np.minimum(below, estimate)), np.minimum(most, np.maximum(above, estimate))
    columns = (low, high, least, most, estimate)
    return Queries(
        Query(gene, *median_ranks(digest.n), *numbers)
        for (gene, digest), *numbers in zip(uncertain.items(), *(column.tolist() for column in columns), strict=True)
    )
