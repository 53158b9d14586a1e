"""The median table: one row for every gene of the universe, from the genes' digests and exact medians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests import Digest, medians_of, quantiles_of

_QUANTILES = {"q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95}

MEDIANS_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.string(), False),
        pa.field("median", pa.float64()),
        pa.field("n_cells", pa.int64(), False),
        pa.field("n_sources", pa.int64(), False),
        *(
            pa.field(name, pa.float64())
            for name in ("min", "q05", "q25", "q75", "q95", "max", "digest_median", "digest_rank_error")
        ),
    ]
)
"""Of ``medians.parquet``: genes ascend; what an undetected gene does not have is null."""

DIGESTS_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.string(), False),
        pa.field("n", pa.int64(), False),
        pa.field("min", pa.float64(), False),
        pa.field("max", pa.float64(), False),
        pa.field("mean", pa.list_(pa.float64()), False),
        pa.field("weight", pa.list_(pa.float64()), False),
        pa.field("compression", pa.float64(), False),
    ]
)
"""Of ``digests.parquet``: the detected genes, ascending."""


@dataclass(frozen=True)
class GeneDigests:
    """The merged digests of a corpus.

    Attributes
    ----------
    universe : tuple of str
        All genes, ascending, detected or not.
    digests : dict of str to Digest
        Of the detected genes.
    n_sources : dict of str to int
        Sources in which each detected gene has a value.
    compression : float
        Of the digests.
    """

    universe: tuple[str, ...]
    digests: dict[str, Digest]
    n_sources: dict[str, int]
    compression: float


@dataclass(frozen=True)
class ExactMedian:
    """What the second pass finds out about a gene.

    Attributes
    ----------
    median : float
        `numpy.median` of all its values.
    rank_error : float
        How far its digest's median is from the middle rank, as a fraction of its values.
    """

    median: float
    rank_error: float


def median_table(merged: GeneDigests, exact: Mapping[str, ExactMedian] | None) -> pa.Table:
    """Return the median table, see `MEDIANS_SCHEMA`.

    Parameters
    ----------
    merged : GeneDigests
        The digests.
    exact : mapping of str to ExactMedian, or None
        The exact medians of the detected genes; without them, `median` is the digest's and the rank error is null.

    Notes
    -----
    Values are counts per target sum. The digest's median is exact for a gene whose every value has a centroid of its
    own (about 250 values at compression 200), and crick's estimate otherwise, as are the other quantiles.
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
    undetected = sorted(set(merged.universe) - set(genes))
    others = {"gene": undetected, "n_cells": [0] * len(undetected), "n_sources": [0] * len(undetected)}
    return (
        pa.concat_tables(
            [
                pa.table([pa.array(detected[name], kind) for name, kind in _fields()], schema=MEDIANS_SCHEMA),
                pa.table(
                    [pa.array(others.get(name, [None] * len(undetected)), kind) for name, kind in _fields()],
                    schema=MEDIANS_SCHEMA,
                ),
            ]
        )
        .sort_by("gene")
        .combine_chunks()
    )


def _fields() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in MEDIANS_SCHEMA]


def digest_table(merged: GeneDigests) -> pa.Table:
    """Return the digests as a table, see `DIGESTS_SCHEMA`."""
    genes = [gene for gene in merged.universe if gene in merged.digests]
    digests: Sequence[Digest] = [merged.digests[gene] for gene in genes]
    return pa.table(
        {
            "gene": genes,
            "n": [digest.n for digest in digests],
            "min": [digest.min for digest in digests],
            "max": [digest.max for digest in digests],
            "mean": [digest.means for digest in digests],
            "weight": [digest.weights for digest in digests],
            "compression": [merged.compression] * len(genes),
        },
        schema=DIGESTS_SCHEMA,
    )
