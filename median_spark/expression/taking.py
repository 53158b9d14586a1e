"""Taking cells of an expression table by a query, and grouping them by what is known of each."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from median_spark.errors import TableError, counted
from median_spark.expression.attributes import as_texts, chosen_by, codes_of, described, read_attributes
from median_spark.expression.cell_groups import CellGroups, Int32s
from median_spark.expression.grouping import Group, GroupFigures, Grouping, all_cells, by_source
from median_spark.expression.known_columns import SOURCE, check_columns
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import ExpressionTable, part_location
from median_spark.gene_values import Floats, Ints
from median_spark.matrices import CellQuery
from median_spark.options import BY, CELLS

_PENDING_TOTALS = 1_000_000


def group_cells(
    table: ExpressionTable,
    records: Sequence[SourceRecord],
    query: CellQuery | None = None,
    by: Sequence[str] = (),
    *,
    missing: str = "group",
) -> Grouping:
    """Take cells by a query, all if there is none, and group them by attributes.

    Parameters
    ----------
    table, records
        The table, and the sources whose cells are looked at, ascending.
    query
        Query of attributes of cells, of `SOURCE`, and of ``n_counts`` and ``n_genes``.
    by
        Attributes of cells, or `SOURCE`; their values count as texts.
    missing : {"group", "fail"}
        Treatment of cells without a value in one of these columns: a group of their own, or an error.

    Raises
    ------
    TableError
        If an attribute is one that no source has or, in a query, that one lacks; if no cell is taken; if the table has
        no cells or a file of them is damaged.
    """
    names = query.names if query is not None else ()
    columns = {record.source: record.cell_columns for record in records}
    notes = check_columns(table.location, columns, query, by, missing)
    wanted = sorted({*names, *by} - {SOURCE})
    if not wanted and query is None:
        return by_source(records, by) if by else all_cells(records)
    collected = _Collected(table, tuple(by), missing)
    for record, units in read_attributes(table, records, ["cell", "n_counts", "n_values", *wanted]):
        collected.add(record, units, query)
    if not collected.records:
        message = (
            f"{table.location}: {CELLS:name} chooses no cell of {counted(len(records), 'source')}: "
            f"{described(table, records, query)}"
        )
        raise TableError(message)
    return collected.grouping(notes)


class _Totals:
    """Totals of the cells of groups, as distinct numbers and how often each occurs: most are repeated whole numbers."""

    def __init__(self) -> None:
        self._held: list[tuple[Ints, Floats, Ints]] = []  # groups, totals, cells
        self._pending = 0

    def add(self, groups: Int32s, totals: Floats) -> None:
        self._held.append((groups.astype(np.int64), totals, np.ones(len(totals), dtype=np.int64)))
        self._pending += len(totals)
        if self._pending > _PENDING_TOTALS:
            self._held = [self._distinct()]
            self._pending = 0

    def _distinct(self) -> tuple[Ints, Floats, Ints]:
        groups, totals, cells = map(np.concatenate, zip(*self._held, strict=True))
        order = np.lexsort((totals, groups))
        groups, totals, cells = groups[order], totals[order], cells[order]
        starts = np.flatnonzero(np.append(True, (groups[1:] != groups[:-1]) | (totals[1:] != totals[:-1])))
        return groups[starts], totals[starts], np.add.reduceat(cells, starts)

    def medians(self, groups: int) -> Floats:
        """Return the median total of each group, shape (groups,)."""
        group, totals, cells = self._distinct()
        bounds = np.searchsorted(group, np.arange(groups + 1))
        medians = np.full(groups, np.nan)
        for number in range(groups):
            own = slice(bounds[number], bounds[number + 1])
            up_to = np.cumsum(cells[own])
            middle = np.searchsorted(up_to, [(up_to[-1] - 1) // 2, up_to[-1] // 2], side="right")
            medians[number] = totals[own][middle].mean()
        return medians


class _Collected:
    """The groups of all cells that were looked at so far, numbered in the order in which they came up."""

    def __init__(self, table: ExpressionTable, by: tuple[str, ...], missing: str) -> None:
        self._table, self._by, self._missing = table, by, missing
        self._numbers: dict[Group, int] = {}
        self._sources, self._n_cells, self._values = (np.zeros(0, dtype=np.int64) for _ in range(3))
        self._totals = _Totals()
        self._cells: dict[tuple[str, str], CellGroups | int] = {}
        self.records: list[SourceRecord] = []

    def add(self, record: SourceRecord, units: Sequence[tuple[str, pa.Table]], query: CellQuery | None) -> None:
        """Take the cells of a source, given by part."""
        parts = {part.name: part for part in record.parts}
        kept, totals, owners, sizes = [], [], [], []
        for name, unit in units:
            groups = np.full(len(unit), -1, dtype=np.int32)
            taken = chosen_by(self._table, record, unit, query) if query is not None else np.ones(len(unit), np.bool_)
            own = groups[taken] = self._groups_of(record, unit.filter(pa.array(taken)))
            values = unit["n_values"].to_numpy()[taken]
            owners.append(own)
            sizes.append(values)
            totals.append(unit["n_counts"].to_numpy()[taken])
            if name in parts and values.any():
                kept.append(parts[name])
                location = part_location(self._table.cells, record.source, name)
                alike = bool((groups == groups[0]).all())
                self._cells[record.source, name] = (
                    int(groups[0]) if alike else CellGroups.of_cells(groups, as_texts(unit["cell"]), location)
                )
        own, n_values, n_counts = map(np.concatenate, (owners, sizes, totals))
        if not len(own):
            return
        number = len(self._numbers)
        cells = np.bincount(own, minlength=number)
        self._sources, self._n_cells, self._values = (
            np.append(known, np.zeros(number - len(known), dtype=np.int64)) + more
            for known, more in (
                (self._sources, cells > 0),
                (self._n_cells, cells),
                (self._values, np.bincount(own, weights=n_values, minlength=number).astype(np.int64)),
            )
        )
        self._totals.add(own, n_counts)
        median = None if record.median_n_counts is None else float(np.median(n_counts))
        self.records.append(
            replace(
                record,
                parts=tuple(kept),
                cells_passed=len(own),
                values=int(n_values.sum()),
                median_n_counts=median,
            )
        )

    def _groups_of(self, record: SourceRecord, unit: pa.Table) -> Int32s:
        """Return the number of each cell's group; new groups get the next ones."""
        columns = [codes_of(record, unit, name) for name in self._by]
        mixed = np.zeros(len(unit), dtype=np.int64)
        for codes, names in columns:
            mixed = mixed * len(names) + codes
        distinct, inverse = np.unique(mixed, return_inverse=True)
        numbers = np.empty(len(distinct), dtype=np.int32)
        for place, code in enumerate(distinct.tolist()):
            group: Group = ()
            for _, names in reversed(columns):
                code, own = divmod(code, len(names))
                group = (names[own], *group)
            if self._missing == "fail" and None in group:
                name = self._by[group.index(None)]
                message = (
                    f"{self._table.location}: cells of '{record.source}' have no value of '{name}': leave it out of "
                    f"{BY:name}, or let them be a group of their own"
                )
                raise TableError(message)
            numbers[place] = self._numbers.setdefault(group, len(self._numbers))
        found: Int32s = numbers[inverse]
        return found

    def grouping(self, notes: tuple[str, ...]) -> Grouping:
        """Return the groups in order."""
        groups = list(self._numbers)
        ranks = [_ranks(name, values) for name, values in zip(self._by, zip(*groups, strict=True), strict=True)]
        order = sorted(
            range(len(groups)),
            key=lambda place: [rank[value] for rank, value in zip(ranks, groups[place], strict=True)],
        )
        places = np.full(len(groups) + 1, -1, dtype=np.int32)  # the last one is that of cells which are not taken
        places[order] = np.arange(len(order))
        medians = self._totals.medians(len(groups))
        columns = (self._sources, self._n_cells, self._values, medians)
        figures = [GroupFigures(*(column[number].item() for column in columns)) for number in order]
        cells: dict[tuple[str, str], CellGroups | int] = {}
        for part, held in self._cells.items():
            numbered = int(places[held]) if isinstance(held, int) else held.numbered(places)
            if numbered is not None:
                cells[part] = numbered
        return Grouping(
            self._by, tuple(groups[number] for number in order), tuple(figures), tuple(self.records), cells, notes
        )


def _ranks(name: str, values: Iterable[str | None]) -> dict[str | None, int]:
    """Return the place of each value of a column: by size if all are numbers, else as texts; none comes last."""
    texts = sorted({value for value in values if value is not None})
    if name != SOURCE and all(map(_is_number, texts)):
        texts.sort(key=float)
    return {value: place for place, value in enumerate([*texts, None])}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
