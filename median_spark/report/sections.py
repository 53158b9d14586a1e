"""What each section of the page says, in figures and rows: everything but the markup."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.report.comparison import Comparison, least_cells
from median_spark.report.content import ResultContent
from median_spark.report.figures import Histogram, log_histogram
from median_spark.report.texts import plain, whole

PUBLISHED = {"genes": 27_454, "genes_detected": 25_424}
"""Of the run that the first published model's factors come from: protein-coding and miRNA genes of its gene table, and
those among them that have a median."""

FEW_CELLS = 1_000_000
"""Below this many cells, medians depend too much on which tissues happen to be in."""

_EXTREMES = 12
_DETECTION_BINS = 4  # a decade of cells
_MEDIAN_BINS = 12  # a decade of counts


@dataclass(frozen=True)
class Genes:
    """The columns of the median table as arrays, shape (genes,) each; NaN where a gene was not detected.

    Attributes
    ----------
    ids : list of str
        Ascending.
    names : list of str
        From a gene table; empty where it has none.
    median, q25, q75, error : ndarray of float64
        In counts per target sum; the digest's rank error is a fraction.
    n_cells, n_sources : ndarray of int64
    """

    ids: list[str]
    names: list[str]
    median: npt.NDArray[np.float64]
    q25: npt.NDArray[np.float64]
    q75: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    n_cells: npt.NDArray[np.int64]
    n_sources: npt.NDArray[np.int64]


@dataclass(frozen=True)
class GeneRow:
    """A gene in a table of the page."""

    gene: str
    name: str
    median: float
    q25: float
    q75: float
    n_cells: int


@dataclass(frozen=True)
class Extremes:
    """The genes with the largest and smallest medians.

    Attributes
    ----------
    top, bottom : tuple of GeneRow
        The most extreme first.
    least_cells : int
        They were chosen among genes with values in more cells than this.
    """

    top: tuple[GeneRow, ...]
    bottom: tuple[GeneRow, ...]
    least_cells: int


def genes_of(content: ResultContent, names: Mapping[str, str]) -> Genes:
    """Return the median table as arrays, with the genes' names."""
    table = content.medians
    ids: list[str] = table["gene"].to_pylist()
    median, q25, q75, error = (
        table[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("median", "q25", "q75", "digest_rank_error")
    )
    return Genes(
        ids,
        [names.get(gene, "") for gene in ids],
        median,
        q25,
        q75,
        error,
        table["n_cells"].to_numpy(),
        table["n_sources"].to_numpy(),
    )


def key_figures(content: ResultContent) -> list[tuple[str, str, str]]:
    """Return the run's figures: what it is, this run's, and the published run's where it is known."""
    summary = content.summary

    def figure(label: str, field: str) -> tuple[str, str, str]:
        return label, whole(summary.get(field)), whole(PUBLISHED[field]) if field in PUBLISHED else ""

    return [
        figure("sources", "sources"),
        figure("cells", "cells"),
        figure("cells that pass", "cells_passed"),
        figure("values above zero", "values"),
        figure("genes", "genes"),
        figure("genes detected", "genes_detected"),
        figure("genes in more than 100 cells", "genes_in_more_than_100_cells"),
        figure("genes in more than 1,000 cells", "genes_in_more_than_1000_cells"),
        figure("cells with a value, median over genes", "median_detection_count"),
        figure("the same over detected genes", "median_detection_count_of_detected"),
    ]


def detection_histogram(genes: Genes) -> tuple[int, Histogram]:
    """Return how many genes are not detected, and the others by the number of cells with a value."""
    detected = genes.n_cells[genes.n_cells > 0]
    return len(genes.n_cells) - len(detected), log_histogram(detected, _DETECTION_BINS)


def median_histogram(genes: Genes) -> Histogram:
    """Return the detected genes by their medians."""
    return log_histogram(genes.median[genes.median > 0], _MEDIAN_BINS)


def by_decade(histogram: Histogram) -> list[tuple[str, str, int]]:
    """Return a histogram's counts by powers of ten: from, up to, genes."""
    if not len(histogram.counts):
        return []
    decades = np.floor(np.log10(histogram.edges[:-1]) + 1e-9).astype(int)
    return [
        (plain(float(f"1e{decade}")), plain(float(f"1e{decade + 1}")), int(histogram.counts[decades == decade].sum()))
        for decade in np.unique(decades).tolist()
    ]


def extremes(genes: Genes, listed: int = _EXTREMES) -> Extremes:
    """Return the genes with the largest and smallest medians."""
    detected = np.flatnonzero(genes.n_cells > 0)
    least = least_cells(genes.n_cells, listed)
    candidates = detected[genes.n_cells[detected] > least]
    order = candidates[np.argsort(genes.median[candidates], kind="stable")].tolist()
    listed = min(listed, (len(order) + 1) // 2)
    return Extremes(
        tuple(_row(genes, place) for place in order[::-1][:listed]),
        tuple(_row(genes, place) for place in order[: min(listed, len(order) // 2)]),
        least,
    )


def _row(genes: Genes, place: int) -> GeneRow:
    return GeneRow(
        genes.ids[place],
        genes.names[place],
        float(genes.median[place]),
        float(genes.q25[place]),
        float(genes.q75[place]),
        int(genes.n_cells[place]),
    )


def short_name(comparison: Comparison) -> str:
    """Return a name for what a result is compared with: its file, or the last two parts of a folder's path."""
    parts = [part for part in comparison.other.location.rstrip("/").split("/") if part]
    is_file = "." in parts[-1] if parts else False
    return "/".join(parts[-1:] if is_file else parts[-2:]) or comparison.other.location
