"""The median table: one row for every gene of the universe, from the genes' digests and exact medians."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests import Digest, medians_of, quantiles_of
from median_spark.results.layout import DIGESTS_SCHEMA, MEDIANS_SCHEMA

_QUANTILES = {"q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True)
class GeneDigests:
    """The merged digests of a corpus."""

    universe: tuple[str, ...]  # all genes, ascending, detected or not
    digests: dict[str, Digest]  # of the detected genes
    n_sources: dict[str, int]  # sources in which each detected gene has a value
    compression: float


@dataclass(frozen=True)
class ExactMedian:
    """A gene's exact median, and how far its digest's median is from the middle rank, as a fraction of its values."""

    median: float
    rank_error: float


def median_table(merged: GeneDigests, exact: Mapping[str, ExactMedian] | None) -> pa.Table:
    """Return the median table, see `MEDIANS_SCHEMA`.

    Without exact medians, `median` is the digest's and the rank error is null. The digest's median is exact for a gene
    whose every value has a centroid of its own (about 250 values at compression 200), and crick's estimate otherwise,
    as are the other quantiles.
    """
    genes = [gene for gene in merged.universe if gene in merged.digests]
    digests = [merged.digests[gene] for gene in genes]
    estimates = medians_of(digests)
    quantiles = quantiles_of(digests, [[q] for q in _QUANTILES.values()])
    least, most = np.array([digest.min for digest in digests]), np.array([digest.max for digest in digests])
    detected: dict[str, Any] = {
        "gene": genes,
        "median": [exact[gene].median for gene in genes] if exact else estimates,
        "n_cells": [digest.n for digest in digests],
        "n_sources": [merged.n_sources[gene] for gene in genes],
        "min": least,
        "max": most,
        "digest_median": estimates,
        "digest_rank_error": [exact[gene].rank_error if exact else None for gene in genes],
        **dict(zip(_QUANTILES, np.clip(quantiles, least, most), strict=True)),
    }
    undetected = [{"gene": gene, "n_cells": 0, "n_sources": 0} for gene in set(merged.universe) - set(genes)]
    tables = [
        pa.Table.from_pydict(detected, schema=MEDIANS_SCHEMA),
        pa.Table.from_pylist(undetected, schema=MEDIANS_SCHEMA),
    ]
    return pa.concat_tables(tables).sort_by("gene").combine_chunks()


def digest_table(merged: GeneDigests) -> pa.Table:
    """Return the digests as a table, see `DIGESTS_SCHEMA`."""
    genes = [gene for gene in merged.universe if gene in merged.digests]
    digests = [merged.digests[gene] for gene in genes]
    columns = {
        "gene": genes,
        "n": [digest.n for digest in digests],
        "min": [digest.min for digest in digests],
        "max": [digest.max for digest in digests],
        "mean": [digest.means for digest in digests],
        "weight": [digest.weights for digest in digests],
        "compression": [merged.compression] * len(genes),
    }
    return pa.table(columns, schema=DIGESTS_SCHEMA)
