"""One digest per gene, into which file after file is merged. Knows nothing of files."""

from collections.abc import Mapping

import numpy as np

from median_spark.digests import Digest, DigestColumns, merge_runs

_EMPTY = Digest(0, 0.0, 0.0, np.zeros(0), np.zeros(0))
_GENES_AT_ONCE = 4_000
"""Genes whose digests are merged at once: some 30 MB of centroids."""


class DigestPool:
    """The digests of a corpus, one per gene, as files are merged into it in a fixed order.

    A file's digest of a gene is merged into that of all files before, by crick's rule, as the published procedure
    does. Trees of merges, and merging several files at once, come no closer to the exact medians. Memory holds one
    digest per gene and those of one file, however many files there are.
    """

    def __init__(self, compression: float) -> None:
        self.compression = compression
        self.digests: dict[str, Digest] = {}
        self.n_sources: dict[str, int] = {}

    def add(
        self, digests: Mapping[str, Digest], compressions: Mapping[str, float], n_sources: Mapping[str, int]
    ) -> None:
        """Merge the digests of one file, each of at least one value, and one that crick could make.

        Digests of another compression than the pool's are merged like any other; `n_sources` are sources with
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
        for gene in finer:
            self.digests[gene] = _EMPTY
        changed = again + finer
        for begin in range(0, len(changed), _GENES_AT_ONCE):
            genes = changed[begin : begin + _GENES_AT_ONCE]
            pairs = DigestColumns.of([each for gene in genes for each in (self.digests[gene], digests[gene])])
            merged = merge_runs(pairs, np.arange(0, len(pairs.n) + 1, 2), self.compression, into_first=True)
            self.digests.update(zip(genes, merged.digests(), strict=True))
        for gene in digests:
            self.n_sources[gene] = self.n_sources.get(gene, 0) + n_sources[gene]
