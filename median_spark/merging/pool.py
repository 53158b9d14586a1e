"""One digest per gene, into which file after file is merged. Knows nothing of files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from median_spark.digests import Digest, from_crick, to_cricks

_NONE = np.zeros(0, dtype=np.float64)
_CENTROIDS_AT_ONCE = 400_000
"""Of crick digests that are made at once; each of them takes memory for all the centroids that it may come to."""


class DigestPool:
    """The digests of a corpus, one per gene, as files are merged into it in a fixed order.

    A file's digest of a gene is merged by crick into that of all files before, as the published procedure does. Trees
    of merges, and merging several files at once, come no closer to the exact medians. Memory holds one digest per gene
    and those of one file, however many files there are.
    """

    def __init__(self, compression: float) -> None:
        self.compression = compression
        self.digests: dict[str, Digest] = {}
        self.n_sources: dict[str, int] = {}

    def add(
        self, digests: Mapping[str, Digest], compressions: Mapping[str, float], n_sources: Mapping[str, int]
    ) -> None:
        """Merge the digests of one file, each of at least one value, and one that crick could make.

        Digests of another compression than the pool's are merged by crick like any other; `n_sources` are sources with
        a value.
        """
        again = [gene for gene in digests if gene in self.digests]
        first = [gene for gene in digests if gene not in self.digests]
        # A digest of a larger compression has more centroids than the pool's may have; others stay as they are.
        finer = [gene for gene in first if compressions[gene] > self.compression]
        for gene in first:
            digest = digests[gene]
            # Copies, for a digest may be a view of all those of its file.
            self.digests[gene] = Digest(digest.n, digest.min, digest.max, digest.means.copy(), digest.weights.copy())
        for genes in self._batches(again):
            totals = to_cricks([self.digests[gene] for gene in genes], self.compression)
            self._merge(genes, totals, digests, compressions)
        for genes in self._batches(finer):
            empty = [Digest(0, 0.0, 0.0, _NONE, _NONE)] * len(genes)
            self._merge(genes, to_cricks(empty, self.compression), digests, compressions)
        for gene in digests:
            self.n_sources[gene] = self.n_sources.get(gene, 0) + n_sources[gene]

    def _merge(
        self,
        genes: Sequence[str],
        totals: Sequence[Any],
        digests: Mapping[str, Digest],
        compressions: Mapping[str, float],
    ) -> None:
        total_of = dict(zip(genes, totals, strict=True))
        for compression in sorted({compressions[gene] for gene in genes}):
            alike = [gene for gene in genes if compressions[gene] == compression]
            cricks = to_cricks([digests[gene] for gene in alike], compression)
            for gene, crick in zip(alike, cricks, strict=True):
                total_of[gene].merge(crick)
        for gene, total in total_of.items():
            self.digests[gene] = from_crick(total)

    def _batches(self, genes: Sequence[str]) -> Iterator[Sequence[str]]:
        size = max(1, int(_CENTROIDS_AT_ONCE / self.compression))
        for begin in range(0, len(genes), size):
            yield genes[begin : begin + size]
