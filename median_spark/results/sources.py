"""Do the sources go together? Each one's medians against the corpus's, and which of them stand apart.

Pure numpy and Arrow. Knows neither files nor Spark. numpy's logarithms have other last bits on other processors and in
other versions, so none is in what is written; which sources stand apart is decided by Python's own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.expression import SourceRecord

BY_SOURCE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), False),
        pa.field("gene", pa.string(), False),
        pa.field("n_cells", pa.int64(), False),
        pa.field("median", pa.float64(), False),
    ]
)
"""Of ``by_source.parquet``: the detected genes of each source, ascending by source and gene."""

SOURCES_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), False),
        pa.field("cells", pa.int64(), False),
        pa.field("cells_passed", pa.int64(), False),
        pa.field("values", pa.int64(), False),
        pa.field("genes_detected", pa.int64(), False),
        pa.field("median_n_counts", pa.float64()),
        pa.field("values_per_cell", pa.float64(), False),
        pa.field("genes_compared", pa.int64(), False),
        pa.field("ratio", pa.float64()),
        pa.field("ratio_q25", pa.float64()),
        pa.field("ratio_q75", pa.float64()),
        pa.field("factor_apart", pa.float64()),
        pa.field("apart", pa.bool_()),
        pa.field("without_typical_change", pa.float64()),
        pa.field("without_p95_change", pa.float64()),
        pa.field("without_genes_changed", pa.int64()),
        pa.field("without_genes_lost", pa.int64()),
    ]
)
"""Of ``sources.parquet`` and ``sources.csv``, one row a source, ascending.

ratio : a gene's median in this source over its median in the corpus, at the median of all genes compared; quartiles
factor_apart : how many times the ratio of the median source is above or below this source's
apart : see `stand_apart`; null where there is no verdict
without_… : what leaving this source out changes, see `MedianChange`; null where that was not tried
"""

LEAST_CELLS = 10
"""Cells that must have a value of a gene, in the source and in the corpus, for its medians to be compared."""

LEAST_GENES = 30
"""Genes that a source must have in common with the corpus for a typical ratio."""

LEAST_SOURCES = 3
"""Of fewer, none can be told to be the odd one."""

LEAST_FACTOR = 1.5
"""A source is never apart by less, however alike the others are."""

MOST_FACTOR = 3.0
"""A source is always apart by more, however little alike the others are."""

_LEAST_DEVIATIONS = 3.5
"""Iglewicz and Hoaglin, "How to detect and handle outliers" (1993): of their modified z-score."""

_CHANGED = 1.1
"""A median counts as changed from here on, up or down."""


@dataclass(frozen=True)
class SourceRatio:
    """How a source's medians compare with the corpus's.

    Attributes
    ----------
    genes_detected : int
        Genes with a value.
    genes_compared : int
        Those with enough of them, see `LEAST_CELLS`.
    quartiles : tuple of float
        Source median over corpus median: lower quartile, median, upper quartile of the genes compared; NaN where they
        are fewer than `LEAST_GENES`.
    """

    genes_detected: int
    genes_compared: int
    quartiles: tuple[float, float, float]


@dataclass(frozen=True)
class Verdict:
    """Which sources stand apart.

    Attributes
    ----------
    judged : bool
        Whether there were enough sources to say.
    distance : ndarray of float64, shape (sources,)
        Natural logarithm of each source's ratio over that of the median source; NaN where it has none.
    apart : ndarray of bool, shape (sources,)
        Whether it stands apart.
    threshold : float
        The distance from which on it does; infinite without a verdict.
    """

    judged: bool
    distance: npt.NDArray[np.float64]
    apart: npt.NDArray[np.bool_]
    threshold: float

    def most_apart(self, most: int) -> list[int]:
        """Return the numbers of at most so many of the sources that stand apart, the farthest first."""
        order = np.argsort(-np.abs(np.where(self.apart, self.distance, 0.0)), kind="stable")
        return [int(place) for place in order[: min(most, int(self.apart.sum()))]]


@dataclass(frozen=True)
class MedianChange:
    """What other medians a corpus has without a source.

    Attributes
    ----------
    typical, p95 : float
        Median and 95th percentile over genes of the change, up or down, as a fraction: 0.1 is a factor of 1.1.
    changed : int
        Genes whose median changes by more than 10 %.
    lost : int
        Genes that are detected no more.
    """

    typical: float
    p95: float
    changed: int
    lost: int


@dataclass(frozen=True)
class SourceComparison:
    """What a result tells about its sources.

    Attributes
    ----------
    table : pyarrow.Table
        Of `SOURCES_SCHEMA`.
    by_source : Path
        A finished file of `BY_SOURCE_SCHEMA`.
    """

    table: pa.Table
    by_source: Path

    @property
    def apart(self) -> list[str] | None:
        """The names of the sources that stand apart, ascending; None where they are too few to tell."""
        flags, names = self.table["apart"].to_pylist(), self.table["source"].to_pylist()
        if not any(flag is not None for flag in flags):
            return None
        return [name for name, flag in zip(names, flags, strict=True) if flag]


def compare_source(
    genes: npt.NDArray[np.integer[Any]],
    n_cells: npt.NDArray[np.int64],
    medians: npt.NDArray[np.float64],
    corpus_cells: npt.NDArray[np.int64],
    corpus_medians: npt.NDArray[np.float64],
) -> SourceRatio:
    """Compare a source's medians with the corpus's, gene by gene; every gene counts alike.

    Parameters
    ----------
    genes : ndarray of int, shape (detected genes,)
        Their numbers in the corpus.
    n_cells, medians : ndarrays, shape (detected genes,)
        Cells of the source that have a value, and the median of these values.
    corpus_cells, corpus_medians : ndarrays, shape (genes,)
        The same of the corpus; a median may be NaN where no cell has a value.
    """
    compared = (n_cells >= LEAST_CELLS) & (corpus_cells[genes] >= LEAST_CELLS)
    number = int(compared.sum())
    if number < LEAST_GENES:
        return SourceRatio(len(genes), number, (np.nan, np.nan, np.nan))
    ratios = medians[compared] / corpus_medians[genes[compared]]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    return SourceRatio(len(genes), number, (low, middle, high))


def stand_apart(ratios: Sequence[SourceRatio]) -> Verdict:
    """Say which sources stand apart from the others; every source counts alike.

    A source stands apart if its typical ratio differs from that of the median source by more than a threshold: 3.5
    robust standard deviations, but not less than a factor of `LEAST_FACTOR` nor more than one of `MOST_FACTOR`. The
    robust standard deviation is ``1.4826 * (1 + 5 / (n - 1)) * MAD`` over n sources, where MAD is the median absolute
    distance from the median source and the middle term makes up for its being too small where sources are few
    (Rousseeuw and Leroy, "Robust regression and outlier detection", 1987). The upper bound is there for corpora that
    are mixed in equal parts, whose sources are so little alike that none would stand apart by their spread.

    Parameters
    ----------
    ratios : sequence of SourceRatio
        One a source.
    """
    typical = np.array([math.log(ratio.quartiles[1]) for ratio in ratios], dtype=np.float64)
    known = typical[~np.isnan(typical)]
    if len(known) < LEAST_SOURCES:
        none = np.full(len(typical), np.nan)
        return Verdict(False, none, np.zeros(len(typical), dtype=np.bool_), np.inf)
    distance = typical - np.median(known)
    spread = 1.4826 * (1 + 5 / (len(known) - 1)) * np.median(np.abs(known - np.median(known)))
    threshold = float(np.clip(_LEAST_DEVIATIONS * spread, math.log(LEAST_FACTOR), math.log(MOST_FACTOR)))
    with np.errstate(invalid="ignore"):
        return Verdict(True, distance, np.abs(distance) > threshold, threshold)


def change_of(table: pa.Table, without: pa.Table) -> MedianChange:
    """Say how the medians of a corpus differ from those without one of its sources.

    Parameters
    ----------
    table, without : pyarrow.Table
        Median tables, of `median_spark.results.MEDIANS_SCHEMA`; `without` has no gene that `table` lacks.
    """
    detected = table.filter(pc.is_valid(table["median"]))
    left = without.filter(pc.is_valid(without["median"]))
    places = pc.index_in(left["gene"], value_set=detected["gene"].combine_chunks()).to_numpy()
    before, after = detected["median"].to_numpy()[places], left["median"].to_numpy()
    changes = np.maximum(after / before, before / after)
    typical, p95 = (np.quantile(changes, [0.5, 0.95]) - 1).tolist()
    return MedianChange(typical, p95, int(np.sum(changes > _CHANGED)), len(detected) - len(left))


def sources_table(
    records: Sequence[SourceRecord],
    ratios: Sequence[SourceRatio],
    verdict: Verdict,
    changes: Mapping[int, MedianChange],
) -> pa.Table:
    """Return the table of sources, see `SOURCES_SCHEMA`.

    Parameters
    ----------
    records : sequence of SourceRecord
        The sources, ascending.
    ratios : sequence of SourceRatio
        Of the same.
    verdict : Verdict
        Of the same.
    changes : mapping of int to MedianChange
        What leaving out changes, by the number of the source.
    """
    rows = []
    for number, (record, ratio) in enumerate(zip(records, ratios, strict=True)):
        low, middle, high = (None if np.isnan(quartile) else quartile for quartile in ratio.quartiles)
        distance, change = verdict.distance[number], changes.get(number)
        rows.append(
            {
                "source": record.source,
                "cells": record.cells,
                "cells_passed": record.cells_passed,
                "values": record.values,
                "genes_detected": ratio.genes_detected,
                "median_n_counts": record.median_n_counts,
                "values_per_cell": record.values / record.cells_passed,
                "genes_compared": ratio.genes_compared,
                "ratio": middle,
                "ratio_q25": low,
                "ratio_q75": high,
                "factor_apart": None if np.isnan(distance) else math.exp(abs(distance)),
                "apart": None if np.isnan(distance) else bool(verdict.apart[number]),
                "without_typical_change": change.typical if change else None,
                "without_p95_change": change.p95 if change else None,
                "without_genes_changed": change.changed if change else None,
                "without_genes_lost": change.lost if change else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=SOURCES_SCHEMA)
