"""The median table: one row for every gene of the universe, from the genes' digests and exact medians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests import Digest, DigestColumns, medians_of, quantiles_of
from median_spark.gene_values import Floats
from median_spark.results.layout import DIGESTS_SCHEMA, MEDIANS_SCHEMA

_QUANTILES = {"q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True)
class GeneDigests:
    """The merged digests of a corpus."""

    universe: tuple[str, ...]  # all genes, ascending, detected or not
    digests: dict[str, Digest]  # of the detected genes
    n_sources: dict[str, int]  # sources in which each detected gene has a value
    compression: float
    means: Mapping[str, tuple[float, float]] | None = None  # with sd, NaN for one value; None where others made these


@dataclass(frozen=True)
class ExactMedian:
    """A gene's exact median, and how far its digest's median is from the middle rank, as a fraction of its values."""

    median: float
    rank_error: float


def median_table(
    merged: GeneDigests, exact: Mapping[str, ExactMedian] | None, cells_passed: int | None = None
) -> pa.Table:
    """Return the median table, see `MEDIANS_SCHEMA`; `cells_passed` is the number of cells, if it is known.

    Without exact medians, `median` is the digest's and the rank error is null. The digest's median is exact for a gene
    whose every value has a centroid of its own (about 250 values at compression 200), and crick's estimate otherwise,
    as are the other quantiles.
    """
    genes = [gene for gene in merged.universe if gene in merged.digests]
    digests = DigestColumns.of([merged.digests[gene] for gene in genes])
    estimates = medians_of(digests)
    quantiles = quantiles_of(digests, [[q] for q in _QUANTILES.values()])
    n_cells, least, most = digests.n, digests.min, digests.max
    mean, sd = means_of(merged, genes) if merged.means is not None else (None, None)
    detected: dict[str, Any] = {
        "gene": genes,
        "mean": mean,
        "sd": sd,
        "share_detected": n_cells / cells_passed if cells_passed else None,
        "median": [exact[gene].median for gene in genes] if exact else estimates,
        "n_cells": n_cells,
        "n_sources": [merged.n_sources[gene] for gene in genes],
        "min": least,
        "max": most,
        "digest_median": estimates,
        "digest_rank_error": [exact[gene].rank_error if exact else None for gene in genes],
        **dict(zip(_QUANTILES, np.clip(quantiles, least, most), strict=True)),
    }
    none = {"gene": "", "n_cells": 0, "n_sources": 0, "share_detected": 0.0 if cells_passed else None}
    undetected = [{**none, "gene": gene} for gene in set(merged.universe) - set(genes)]
    columns = [
        pa.nulls(len(genes), each.type) if detected[each.name] is None
        else pa.array(detected[each.name], each.type, from_pandas=each.name == "sd")
        for each in MEDIANS_SCHEMA
    ]  # fmt: skip
    tables = [
        pa.table(columns, schema=MEDIANS_SCHEMA),
        pa.Table.from_pylist(undetected, schema=MEDIANS_SCHEMA),
    ]
    return pa.concat_tables(tables).sort_by("gene").combine_chunks()


def means_of(merged: GeneDigests, genes: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of detected genes whose values made the digests, shape (genes,)."""
    if merged.means is None:
        message = "these digests have no means"
        raise ValueError(message)
    mean, sd = np.array([merged.means[gene] for gene in genes], dtype=np.float64).reshape(-1, 2).T
    return mean, sd


def digest_table(merged: GeneDigests) -> pa.Table:
    """Return the digests as a table, see `DIGESTS_SCHEMA`."""
    genes = [gene for gene in merged.universe if gene in merged.digests]
    digests = [merged.digests[gene] for gene in genes]
    columns = {
        "gene": genes,
        "n": [digest.n for digest in digests],
        "min": [digest.min for digest in digests],
        "max": [digest.max for digest in digests],
        "mean": _lists([digest.means for digest in digests]),
        "weight": _lists([digest.weights for digest in digests]),
        "compression": [merged.compression] * len(genes),
    }
    return pa.table(columns, schema=DIGESTS_SCHEMA)


def _lists(arrays: Sequence[Floats]) -> pa.ListArray:
    """Return a column of lists, which pyarrow makes slowly of many arrays."""
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), np.concatenate([np.zeros(0), *arrays]))
