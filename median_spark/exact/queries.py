"""What is sought: ranks of a gene's values, and the bracket in which they are expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.digests import Digest, medians_of, quantiles_of

_CLUSTERS = 1.0
"""Half the width of a bracket, in clusters of the digest at its middle. A merged digest is seldom off by half a
cluster; where it is off by more, the bracket misses and the gene goes round again."""

_MOST_SHARE = 0.5 - 1e-9
"""Half the width of a bracket at most, as a share of all values."""


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
    uncertain = {gene: digest for gene, digest in digests.items() if len(digest.means) < digest.n}
    of = list(uncertain.values())
    n = np.array([digest.n for digest in of], dtype=np.float64)
    # A rank of a gene with few values moves by a whole value, which is more than a cluster's share.
    share = np.minimum(_MOST_SHARE, np.maximum(_CLUSTERS * np.pi / (2 * compression), 2 / n))
    estimate = medians_of(of)
    least, most = np.array([digest.min for digest in of]), np.array([digest.max for digest in of])
    below, above = quantiles_of(of, np.stack([0.5 - share, 0.5 + share]))
    low, high = np.maximum(least, np.minimum(below, estimate)), np.minimum(most, np.maximum(above, estimate))
    columns = (low, high, least, most, estimate)
    return Queries(
        Query(gene, *median_ranks(digest.n), *numbers)
        for (gene, digest), *numbers in zip(uncertain.items(), *(column.tolist() for column in columns), strict=True)
    )
