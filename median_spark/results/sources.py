"""Medians source by source: one file of all of them, how each source compares with the corpus, which ones stand apart.

Knows no Spark. NumPy's logarithms have other last bits on other processors and in other versions, so none is written;
which sources stand apart is decided by Python's own.
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
import pyarrow.parquet as pq

from median_spark.digests import read_source_medians
from median_spark.errors import TableError
from median_spark.expression import SourceRecord
from median_spark.results.layout import BY_SOURCE_SCHEMA, SOURCES_SCHEMA

LEAST_CELLS = 10
"""Cells that must have a value of a gene, in the source and in the corpus, for its medians to be compared."""

LEAST_GENES = 30
"""Genes that a source must share with the corpus for a typical ratio."""

LEAST_SOURCES = 3
"""With fewer sources, none can be called the odd one."""

LEAST_FACTOR = 1.5
"""A source is never apart by less, however alike the others are."""

MOST_FACTOR = 3.0
"""A source is always apart by more, however little alike the others are."""

_LEAST_DEVIATIONS = 3.5
"""Threshold of the modified z-score in Iglewicz and Hoaglin, "How to detect and handle outliers" (1993)."""

_CHANGED = 1.1
"""A median counts as changed from here on, up or down."""

_ROW_GROUP_ROWS = 1_000_000

_DICTIONARY_BYTES = 8 << 20
"""Room for the names of all genes; above it, Parquet writes each name out."""

# `BY_SOURCE_SCHEMA` as it is handed to the writer, to which numbers are less work than names.
_WRITTEN_SCHEMA = pa.schema(
    [field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.type == pa.string() else field
     for field in BY_SOURCE_SCHEMA]
)  # fmt: skip


@dataclass(frozen=True)
class SourceRatio:
    """How a source's medians compare with the corpus's.

    The quartiles (lower, median, upper) are those of source median over corpus median over the genes compared; NaN
    where these are fewer than `LEAST_GENES`.
    """

    genes_detected: int
    genes_compared: int  # those with enough values, see `LEAST_CELLS`
    quartiles: tuple[float, float, float]


@dataclass(frozen=True)
class Verdict:
    """Which sources stand apart; arrays have one entry per source."""

    judged: bool  # there were enough sources to say
    distance: npt.NDArray[np.float64]  # natural log of each ratio over that of the median source; NaN without a ratio
    apart: npt.NDArray[np.bool_]
    threshold: float  # of the distance; infinite without a verdict

    def most_apart(self, most: int) -> list[int]:
        """Return the numbers of the sources that stand apart, at most so many, the farthest first."""
        order = np.argsort(-np.abs(np.where(self.apart, self.distance, 0.0)), kind="stable")
        return [int(place) for place in order[: min(most, int(self.apart.sum()))]]


@dataclass(frozen=True)
class MedianChange:
    """How the medians of a corpus change if a source is left out; a fraction of 0.1 is a factor of 1.1, up or down."""

    typical: float  # median over genes, as a fraction
    p95: float  # 95th percentile over genes, as a fraction
    changed: int  # genes whose median changes by more than 10 %
    lost: int  # genes that are no longer detected


@dataclass(frozen=True)
class SourceComparison:
    """What a result records about its sources."""

    table: pa.Table  # of `SOURCES_SCHEMA`
    by_source: Path  # a finished file of `BY_SOURCE_SCHEMA`

    @property
    def apart(self) -> list[str] | None:
        """The names of the sources that stand apart, ascending; None where they are too few to tell."""
        flags, names = self.table["apart"].to_pylist(), self.table["source"].to_pylist()
        if not any(flag is not None for flag in flags):
            return None
        return [name for name, flag in zip(names, flags, strict=True) if flag]


def assemble_by_source(
    locations: Sequence[str], records: Sequence[SourceRecord], table: pa.Table, target: Path
) -> list[SourceRatio]:
    """Put the medians of all tasks into one file of `BY_SOURCE_SCHEMA`, and compare each source with the corpus.

    Holds one source at a time, and about a million rows to write at once. Locations are in the order of sources, see
    `median_spark.digests.sweep_sources`; records ascend; the table is the median table of their genes.
    Raises TableError if a source has not as many values as its record says, EngineError if a file is missing.
    """
    names, genes = pa.array([record.source for record in records], pa.string()), table["gene"].combine_chunks()
    corpus_cells, corpus_medians = (table[name].to_numpy() for name in ("n_cells", "median"))
    ratios = [SourceRatio(0, 0, (np.nan, np.nan, np.nan))] * len(records)
    values = [0] * len(records)
    gathered: list[pa.Table] = []

    def write_gathered() -> None:
        rows = pa.concat_tables(gathered).combine_chunks()
        sources = pa.DictionaryArray.from_arrays(rows["source"].combine_chunks(), names)
        named = pa.DictionaryArray.from_arrays(rows["gene"].combine_chunks(), genes)
        writer.write_table(pa.table([sources, named, rows["n_cells"], rows["median"]], schema=_WRITTEN_SCHEMA))
        gathered.clear()

    with pq.ParquetWriter(
        target, _WRITTEN_SCHEMA, store_schema=False, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES
    ) as writer:
        for source, medians_of_source in read_source_medians(locations):
            places, n_cells, medians = (medians_of_source[name].to_numpy() for name in ("gene", "n_cells", "median"))
            ratios[source] = compare_source(places, n_cells, medians, corpus_cells, corpus_medians)
            values[source] = int(n_cells.sum())
            gathered.append(medians_of_source)
            if sum(map(len, gathered)) >= _ROW_GROUP_ROWS:
                write_gathered()
        if gathered:
            write_gathered()
    for record, number in zip(records, values, strict=True):
        if number != record.values:
            message = (
                f"source '{record.source}' has {number:,} values where its record says {record.values:,}: "
                "convert it again"
            )
            raise TableError(message)
    return ratios


def compare_source(
    genes: npt.NDArray[np.integer[Any]],
    n_cells: npt.NDArray[np.int64],
    medians: npt.NDArray[np.float64],
    corpus_cells: npt.NDArray[np.int64],
    corpus_medians: npt.NDArray[np.float64],
) -> SourceRatio:
    """Compare a source's medians with the corpus's, gene by gene; every gene counts alike.

    The first three are of the source's detected genes, by their numbers in the corpus; the other two of all genes, the
    median of an undetected one may be NaN.
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
    distance from the median source and the middle term corrects its bias where sources are few (Rousseeuw and Leroy,
    "Robust regression and outlier detection", 1987). The upper bound is for corpora mixed in equal parts, whose sources
    are so little alike that none would stand apart by their spread.
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
    """Say how the medians of a corpus differ from those without one of its sources, whose genes are among them."""
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
    """Return the table of sources, see `SOURCES_SCHEMA`; changes are by the number of the source that is left out."""
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
