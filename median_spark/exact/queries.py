"""What is sought: ranks of a gene's values, and the bracket in which they are expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.digests import Digest, median_of, to_crick

_CLUSTERS = 1.0
"""Half the width of a bracket, in clusters of the digest at its middle. A merged digest is seldom off by half a
cluster; where it is off by more, the bracket misses and the gene goes round again."""


@dataclass(frozen=True)
class Query:
    """One or two ranks that are sought within one bracket of one gene's values.

    Attributes
    ----------
    gene : str
        Ensembl id.
    first_rank, last_rank : int
        Ranks among all of the gene's values, counted from 0; they differ by at most 1.
    low, high : float
        The bracket, both ends included.
    floor, ceiling : float
        The gene's smallest and largest value: where a bracket that misses is widened to.
    estimate : float
        The digest's median, whose true rank is to be counted too; NaN where it is known already.
    """

    gene: str
    first_rank: int
    last_rank: int
    low: float
    high: float
    floor: float
    ceiling: float
    estimate: float = float("nan")


class Queries:
    """All queries of one round, by gene; flat arrays, so that they travel cheaply to every worker.

    Attributes
    ----------
    genes : ndarray of str, shape (queries,)
        Ascending; a gene may have two queries.
    low, high, estimate : ndarray of float64, shape (queries,)
        See `Query`.
    """

    def __init__(self, queries: Iterable[Query]) -> None:
        ordered = sorted(queries, key=lambda query: (query.gene, query.first_rank))
        self.genes: npt.NDArray[np.str_] = np.array([query.gene for query in ordered], dtype=np.str_)
        self._ranks = np.array([(query.first_rank, query.last_rank) for query in ordered], dtype=np.int64).reshape(
            -1, 2
        )
        self.low, self.high, self._floor, self._ceiling, self.estimate = (
            np.array([getattr(query, name) for query in ordered], dtype=np.float64)
            for name in ("low", "high", "floor", "ceiling", "estimate")
        )

    def __len__(self) -> int:
        return len(self.genes)

    def __getitem__(self, number: int) -> Query:
        first, last = self._ranks[number].tolist()
        floats = (self.low, self.high, self._floor, self._ceiling, self.estimate)
        return Query(str(self.genes[number]), first, last, *(float(column[number]) for column in floats))

    def of(self, gene: str) -> range:
        """Return the numbers of a gene's queries."""
        return range(
            int(np.searchsorted(self.genes, gene, side="left")), int(np.searchsorted(self.genes, gene, side="right"))
        )


def median_ranks(n: int) -> tuple[int, int]:
    """Return the ranks, counted from 0, of the one or two values whose mean `numpy.median` takes of n values."""
    return (n - 1) // 2, n // 2


def brackets(digests: Mapping[str, Digest], compression: float) -> Queries:
    """Bracket the median of every gene whose digest does not know it exactly.

    Parameters
    ----------
    digests : mapping of str to Digest
        By gene.
    compression : float
        Of the digests.

    Returns
    -------
    Queries
        None for genes whose every value has a centroid of its own.
    """
    half = min(0.5, _CLUSTERS * np.pi / (2 * compression))
    queries = []
    for gene, digest in digests.items():
        if len(digest.means) == digest.n:
            continue
        estimate = median_of(digest, compression)
        # A rank of a gene with few values moves by a whole value, which is more than a cluster's share.
        share = min(0.5, max(half, 2 / digest.n))
        low, high = to_crick(digest, compression).quantile([0.5 - share, 0.5 + share]).tolist()
        first, last = median_ranks(digest.n)
        queries.append(
            Query(
                gene,
                first,
                last,
                max(digest.min, min(low, estimate)),
                min(digest.max, max(high, estimate)),
                digest.min,
                digest.max,
                estimate,
            )
        )
    return Queries(queries)


def rank_error(below: int, up_to: int, n: int) -> float:
    """Return how far an estimate of the median is from the middle rank, as a fraction of all values.

    Parameters
    ----------
    below, up_to : int
        Values that are smaller than the estimate, and that are not larger.
    n : int
        All values.

    Returns
    -------
    float
        0 to 0.5; 0 where the middle lies among values equal to the estimate, or between those below and above it.
    """
    if below <= n / 2 <= up_to:
        return 0.0
    return (below - n / 2 if below > n / 2 else n / 2 - up_to) / n
