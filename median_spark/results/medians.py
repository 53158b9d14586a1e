"""The median table: one row for every gene of the universe, from the genes' digests and exact medians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests import Digest, median_of, to_crick

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
    columns: dict[str, list[Any]] = {name: [] for name in MEDIANS_SCHEMA.names}
    for gene in merged.universe:
        digest = merged.digests.get(gene)
        row: dict[str, Any] = {"gene": gene, "n_cells": 0, "n_sources": 0}
        if digest is not None:
            crick = to_crick(digest, merged.compression)
            quantiles = np.clip(crick.quantile(list(_QUANTILES.values())), digest.min, digest.max)
            estimate = median_of(digest, merged.compression)
            row |= {
                "median": exact[gene].median if exact else estimate,
                "digest_median": estimate,
                "digest_rank_error": exact[gene].rank_error if exact else None,
                "n_cells": digest.n,
                "n_sources": merged.n_sources[gene],
                "min": digest.min,
                "max": digest.max,
                **dict(zip(_QUANTILES, quantiles.tolist(), strict=True)),
            }
        for name, column in columns.items():
            column.append(row.get(name))
    return pa.table(columns, schema=MEDIANS_SCHEMA)


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
