"""Medians group by group: one file of all of them, how each group compares with the corpus, which ones stand apart.

Knows no Spark. NumPy's logarithms have other last bits on other processors and in other versions, so none is written;
which groups stand apart is decided by Python's own.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from median_spark.digests import GROUP_MEDIANS_SCHEMA, in_order_of_groups, read_group_medians
from median_spark.errors import TableError
from median_spark.expression import Group, Grouping
from median_spark.gene_values import Ints
from median_spark.results.layout import BY_GROUP_SCHEMA, GROUPS_SCHEMA, group_columns, with_groups

LEAST_CELLS = 10
"""Cells that must have a value of a gene, in the group and in the corpus, for its medians to be compared."""

LEAST_GENES = 30
"""Genes that a group must share with the corpus for a typical ratio."""

LEAST_GROUPS = 3
"""With fewer groups, none can be called the odd one."""

LEAST_FACTOR = 1.5
"""A group is never apart by less, however alike the others are."""

MOST_FACTOR = 3.0
"""A group is always apart by more, however little alike the others are."""

_LEAST_DEVIATIONS = 3.5
"""Threshold of the modified z-score in Iglewicz and Hoaglin, "How to detect and handle outliers" (1993)."""

_CHANGED = 1.1
"""A median counts as changed from here on, up or down."""

_ROW_GROUP_ROWS = 1_000_000

_ROW_GROUPS_TOGETHER = 8
"""The groups of so many row groups fill these, but for the last of them."""

_DICTIONARY_BYTES = 8 << 20
"""Room for the names of all genes; above it, Parquet writes each name out."""

_ROWS_AT_ONCE = 1_500_000
"""Rows that are put in order at once, 40 bytes each several times over."""

NO_VALUE = "(none)"
"""Stands for the value of cells that have none."""


@dataclass(frozen=True)
class GroupRatio:
    """How a group's medians compare with the corpus's.

    The quartiles (lower, median, upper) are those of group median over corpus median over the genes compared; NaN
    where these are fewer than `LEAST_GENES`.
    """

    genes_detected: int
    genes_compared: int  # those with enough values, see `LEAST_CELLS`
    quartiles: tuple[float, float, float]


@dataclass(frozen=True)
class Verdict:
    """Which groups stand apart; arrays have one entry per group."""

    judged: bool  # there were enough groups to say
    distance: npt.NDArray[np.float64]  # natural log of each ratio over that of the median group; NaN without a ratio
    apart: npt.NDArray[np.bool_]
    threshold: float  # of the distance; infinite without a verdict

    def most_apart(self, most: int) -> list[int]:
        """Return the numbers of the groups that stand apart, at most so many, the farthest first."""
        order = np.argsort(-np.abs(np.where(self.apart, self.distance, 0.0)), kind="stable")
        return [int(place) for place in order[: min(most, int(self.apart.sum()))]]


@dataclass(frozen=True)
class MedianChange:
    """How the medians of a corpus change if a group is left out; a fraction of 0.1 is a factor of 1.1, up or down."""

    typical: float  # median over genes, as a fraction
    p95: float  # 95th percentile over genes, as a fraction
    changed: int  # genes whose median changes by more than 10 %
    lost: int  # genes that are no longer detected


@dataclass(frozen=True)
class GroupComparison:
    """What a result records about its groups."""

    table: pa.Table  # see `GROUPS_SCHEMA`
    by_group: Path  # a finished file, see `BY_GROUP_SCHEMA`

    @property
    def apart(self) -> list[str] | None:
        """The names of the groups that stand apart, ascending; None where they are too few to tell."""
        flags = self.table["apart"].to_pylist()
        if not any(flag is not None for flag in flags):
            return None
        groups = zip(*(self.table[name].to_pylist() for name in group_columns(self.table)), strict=True)
        return [name_of(group) for group, flag in zip(groups, flags, strict=True) if flag]


def assemble_by_group(locations: Sequence[str], grouping: Grouping, table: pa.Table, target: Path) -> list[GroupRatio]:
    """Put the medians of all groups into one file, see `BY_GROUP_SCHEMA`, and compare each group with the corpus.

    Parameters
    ----------
    locations
        Files of `median_spark.digests.GROUP_MEDIANS_SCHEMA`. Each gene and group is in one of them; where files share a
        group, its genes ascend from file to file.
    grouping
        The groups.
    table
        Median table of the corpus, whose genes are numbered.
    target
        File to write; it ascends by group and gene.

    Raises
    ------
    TableError
        If a group has not as many values as its cells are known to have.
    EngineError
        If a file is missing.
    """
    genes = table["gene"].combine_chunks()
    corpus_cells, corpus_medians = (table[name].to_numpy() for name in ("n_cells", "median"))
    ratios = [GroupRatio(0, 0, (np.nan, np.nan, np.nan))] * len(grouping.groups)
    rows = np.zeros(len(grouping.groups), dtype=np.int64)
    for location in locations:
        rows += np.bincount(read_group_medians(location, ["group"])["group"].to_numpy(), minlength=len(rows))
    texts = [
        pa.array([group[place] for group in grouping.groups], pa.string()) for place in range(len(grouping.columns))
    ]
    with _RowGroups(target, grouping.columns) as written:
        for first, last in _ranges(rows, 0, len(rows), _ROW_GROUPS_TOGETHER * _ROW_GROUP_ROWS):
            for begin, end in _ranges(rows, first, last, _ROWS_AT_ONCE):
                held = _of_groups(locations, begin, end)
                numbers, places = (held[name].combine_chunks() for name in ("group", "gene"))
                named = [_dictionary(numbers, column) for column in texts]
                figures = [held[name].combine_chunks() for name in ("n_cells", "median", "mean", "sd")]
                written.add([*named, pa.DictionaryArray.from_arrays(places, genes), *figures])
                bounds = np.searchsorted(numbers.to_numpy(), np.arange(begin, end + 1))
                of_gene, n_cells, medians = (held[name].to_numpy() for name in ("gene", "n_cells", "median"))
                for group, (start, stop) in enumerate(pairwise(bounds.tolist()), begin):
                    own = slice(start, stop)
                    ratios[group] = compare_group(
                        of_gene[own], n_cells[own], medians[own], corpus_cells, corpus_medians
                    )
                    _require_values(grouping, group, int(n_cells[own].sum()))
            written.fill()
    return ratios


class _RowGroups(contextlib.AbstractContextManager["_RowGroups"]):
    """A file of `BY_GROUP_SCHEMA` that is being written, a row group as soon as it is full."""

    def __init__(self, target: Path, columns: Sequence[str]) -> None:
        self._schema = pa.schema([
            each.with_type(pa.dictionary(pa.int32(), pa.string())) if each.type == pa.string() else each
            for each in with_groups(columns, BY_GROUP_SCHEMA)
        ])  # fmt: skip  # numbers are less work for the writer than names
        self._writer = pq.ParquetWriter(
            target,
            self._schema,
            store_schema=False,
            compression="zstd",
            use_dictionary=[*columns, "gene", "n_cells"],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        )
        self._held = self._schema.empty_table()

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Add rows, and write the row groups that they fill."""
        self._held = pa.concat_tables([self._held, pa.table(columns, schema=self._schema)])
        while len(self._held) >= _ROW_GROUP_ROWS:
            self._write(_ROW_GROUP_ROWS)

    def fill(self) -> None:
        """Write the rows that are left as a row group that is not full."""
        if len(self._held):
            self._write(len(self._held))

    def _write(self, rows: int) -> None:
        self._writer.write_table(self._held.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._held = self._held.slice(rows)


def _dictionary(numbers: pa.Array, texts: pa.StringArray) -> pa.DictionaryArray:
    """Return the text of each number; a missing one is null."""
    there = pc.is_valid(texts)
    distinct = texts.filter(there)
    places = pa.array(np.cumsum(there.to_numpy(zero_copy_only=False), dtype=np.int32) - 1)
    return pa.DictionaryArray.from_arrays(pc.if_else(there, places, None).take(numbers), distinct)


def _require_values(grouping: Grouping, group: int, values: int) -> None:
    if values != grouping.figures[group].values:
        message = (
            f"group {name_of(grouping.groups[group])} has {values:,} values where its cells are known to have "
            f"{grouping.figures[group].values:,}: convert its sources again"
        )
        raise TableError(message)


def name_of(group: Group) -> str:
    """Return how a group is called where one text must do."""
    return ", ".join(NO_VALUE if value is None else value for value in group)


def _ranges(rows: Ints, first: int, last: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut the groups ``first <= group < last`` into ranges of at most `most` rows, or of one group."""
    begin, held = first, 0
    for group, number in enumerate(rows[first:last].tolist(), first):
        if held and held + number > most:
            yield begin, group
            begin, held = group, 0
        held += number
    yield begin, last


def _of_groups(locations: Sequence[str], first: int, last: int) -> pa.Table:
    """Return the rows of a range of groups, by group and gene."""
    held = [read_group_medians(location, groups=(first, last)) for location in locations]
    return in_order_of_groups(pa.concat_tables(held or [GROUP_MEDIANS_SCHEMA.empty_table()]))


def compare_group(
    genes: npt.NDArray[np.integer[Any]],
    n_cells: npt.NDArray[np.int64],
    medians: npt.NDArray[np.float64],
    corpus_cells: npt.NDArray[np.int64],
    corpus_medians: npt.NDArray[np.float64],
) -> GroupRatio:
    """Compare a group's medians with the corpus's, gene by gene; every gene counts alike.

    The first three are of the group's detected genes, by their numbers in the corpus; the other two of all genes, the
    median of an undetected one may be NaN.
    """
    compared = (n_cells >= LEAST_CELLS) & (corpus_cells[genes] >= LEAST_CELLS)
    number = int(compared.sum())
    if number < LEAST_GENES:
        return GroupRatio(len(genes), number, (np.nan, np.nan, np.nan))
    ratios = medians[compared] / corpus_medians[genes[compared]]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    return GroupRatio(len(genes), number, (low, middle, high))


def stand_apart(ratios: Sequence[GroupRatio]) -> Verdict:
    """Say which groups stand apart from the others; every group counts alike.

    A group stands apart if its typical ratio differs from that of the median group by more than a threshold: 3.5
    robust standard deviations, but not less than a factor of `LEAST_FACTOR` nor more than one of `MOST_FACTOR`. The
    robust standard deviation is ``1.4826 * (1 + 5 / (n - 1)) * MAD`` over n groups, where MAD is the median absolute
    distance from the median group and the middle term corrects its bias where groups are few (Rousseeuw and Leroy,
    "Robust regression and outlier detection", 1987). The upper bound is for corpora mixed in equal parts, whose groups
    are so little alike that none would stand apart by their spread.
    """
    typical = np.array([math.log(ratio.quartiles[1]) for ratio in ratios], dtype=np.float64)
    known = typical[~np.isnan(typical)]
    if len(known) < LEAST_GROUPS:
        none = np.full(len(typical), np.nan)
        return Verdict(False, none, np.zeros(len(typical), dtype=np.bool_), np.inf)
    distance = typical - np.median(known)
    spread = 1.4826 * (1 + 5 / (len(known) - 1)) * np.median(np.abs(known - np.median(known)))
    threshold = float(np.clip(_LEAST_DEVIATIONS * spread, math.log(LEAST_FACTOR), math.log(MOST_FACTOR)))
    with np.errstate(invalid="ignore"):
        return Verdict(True, distance, np.abs(distance) > threshold, threshold)


def change_of(table: pa.Table, without: pa.Table) -> MedianChange:
    """Say how the medians of a corpus differ from those without one of its groups, whose genes are among them."""
    detected = table.filter(pc.is_valid(table["median"]))
    left = without.filter(pc.is_valid(without["median"]))
    places = pc.index_in(left["gene"], value_set=detected["gene"].combine_chunks()).to_numpy()
    before, after = detected["median"].to_numpy()[places], left["median"].to_numpy()
    changes = np.maximum(after / before, before / after)
    typical, p95 = (np.quantile(changes, [0.5, 0.95]) - 1).tolist()
    return MedianChange(typical, p95, int(np.sum(changes > _CHANGED)), len(detected) - len(left))


def groups_table(
    grouping: Grouping, ratios: Sequence[GroupRatio], verdict: Verdict, changes: Mapping[int, MedianChange]
) -> pa.Table:
    """Return the table of groups, see `GROUPS_SCHEMA`; changes are by the number of the group that is left out."""
    rows = []
    for number, (group, figures, ratio) in enumerate(zip(grouping.groups, grouping.figures, ratios, strict=True)):
        low, middle, high = (None if np.isnan(quartile) else quartile for quartile in ratio.quartiles)
        distance, change = verdict.distance[number], changes.get(number)
        rows.append(
            {
                **dict(zip(grouping.columns, group, strict=True)),
                "sources": figures.sources,
                "cells": figures.cells,
                "values": figures.values,
                "genes_detected": ratio.genes_detected,
                "median_n_counts": figures.median_n_counts,
                "values_per_cell": figures.values / figures.cells,
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
    return pa.Table.from_pylist(rows, schema=with_groups(grouping.columns, GROUPS_SCHEMA))
