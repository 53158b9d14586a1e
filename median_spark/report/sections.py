"""What each section of the page says, in figures and rows: everything but the markup."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.report.comparison import FloatArray, OtherMedians, least_cells
from median_spark.report.figures import Histogram
from median_spark.report.texts import plain, whole
from median_spark.results import Result, ResultSummary

PUBLISHED = {"genes": 27_454, "genes_detected": 25_424}
"""Figures of the run that the first published model's factors come from: protein-coding and miRNA genes of its gene
table, and those among them that have a median."""

FEW_CELLS = 1_000_000
"""Below this many cells, medians depend too much on which tissues happen to be in."""

_EXTREMES = 12

_FIGURES = {
    "sources": "sources",
    "cells": "cells",
    "cells_passed": "cells that pass",
    "values": "values above zero",
    "genes": "genes",
    "genes_detected": "genes detected",
    "genes_in_more_than_100_cells": "genes in more than 100 cells",
    "genes_in_more_than_1000_cells": "genes in more than 1,000 cells",
    "median_detection_count": "cells with a value, median over genes",
    "median_detection_count_of_detected": "the same over detected genes",
}


@dataclass(frozen=True)
class Genes:
    """The columns of the median table as arrays, shape (genes,) each; NaN where a gene was not detected."""

    ids: list[str]  # ascending
    names: list[str]  # from a gene table; empty where it has none
    median: FloatArray  # in counts per target sum, as are the quartiles
    q25: FloatArray
    q75: FloatArray
    error: FloatArray  # the digest's rank error, as a fraction
    n_cells: npt.NDArray[np.int64]
    n_sources: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Extremes:
    """The places of the genes with the largest and smallest medians, the most extreme first."""

    top: list[int]
    bottom: list[int]
    least_cells: int  # they were chosen among genes with values in more cells than this


def genes_of(result: Result, names: Mapping[str, str]) -> Genes:
    """Return the median table as arrays, with the genes' names."""
    table = result.medians
    ids: list[str] = table["gene"].to_pylist()
    median, q25, q75, error = (
        table[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("median", "q25", "q75", "digest_rank_error")
    )
    counts = (table[name].to_numpy() for name in ("n_cells", "n_sources"))
    return Genes(ids, [names.get(gene, "") for gene in ids], median, q25, q75, error, *counts)


def key_figures(summary: ResultSummary) -> list[tuple[str, str, str]]:
    """Return the run's figures: what it is, this run's, and the published run's where it is known."""
    return [
        (label, whole(getattr(summary, field)), whole(PUBLISHED[field]) if field in PUBLISHED else "")
        for field, label in _FIGURES.items()
    ]


def by_decade(histogram: Histogram) -> list[tuple[str, str, int]]:
    """Return a histogram's counts by powers of ten: from, up to, genes."""
    if not len(histogram.counts):
        return []
    decades = np.floor(np.log10(histogram.edges[:-1]) + 1e-9).astype(int)
    return [
        (plain(float(f"1e{decade}")), plain(float(f"1e{decade + 1}")), int(histogram.counts[decades == decade].sum()))
        for decade in np.unique(decades).tolist()
    ]


def extremes(genes: Genes) -> Extremes:
    """Return the genes with the largest and smallest medians."""
    detected = np.flatnonzero(genes.n_cells > 0)
    least = least_cells(genes.n_cells, _EXTREMES)
    candidates = detected[genes.n_cells[detected] > least]
    order = candidates[np.argsort(genes.median[candidates], kind="stable")].tolist()
    listed = min(_EXTREMES, (len(order) + 1) // 2)
    return Extremes(order[::-1][:listed], order[: min(listed, len(order) // 2)], least)


def short_name(other: OtherMedians) -> str:
    """Return a name for what a result is compared with: its file, or the last two parts of a folder's path."""
    parts = [part for part in other.location.rstrip("/").split("/") if part]
    is_file = "." in parts[-1] if parts else False
    return "/".join(parts[-1:] if is_file else parts[-2:]) or other.location
