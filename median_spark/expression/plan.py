"""Cutting an expression table into sweeps, the same whatever the cluster's size.

A sweep walks down the genes of some parts side by side and so sees all values that they have of a gene at once. Parts
are bundled so that a row group of each fits a worker's memory. Where one bundle takes them all, every gene is whole in
its sweep; else a gene has a digest in every bundle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from median_spark.expression.cell_groups import CellGroups
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import part_location
from median_spark.gene_values import Ints, Names

WINDOW_ROWS = 48_000_000
"""Most rows that a sweep holds in memory, a row group of every part: 384 MB of values."""

SWEEP_ROWS = 128_000_000
"""Rows of a sweep: about two seconds' work. A bundle has few row groups after one another, and those that a cut goes
through are read twice: with half as many rows, a full bundle would be read 1.3 times instead of 1.1 times."""

_LEAST_SWEEPS = 8
_LEAST_SWEEP_ROWS = 2_000_000
"""A small table is still cut into 8 sweeps, unless they would be smaller than this."""


_MOST_CROSSING = 0.6
"""Share of a bundle's rows that may be in row groups on both sides of a cut."""

_MOST_MOVED, _COST_OF_MOVING = 0.35, 0.1
"""By how much of a sweep's rows a cut may be moved to where fewer row groups are on both sides of it, and how many rows
read twice a row is worth by which it is moved."""


@dataclass(frozen=True)
class SweepPlan:
    """Which parts and genes each sweep reads; flat arrays, so that it travels cheaply to every worker."""

    genes: Names  # the universe, ascending; genes are numbered by it
    parts: tuple[str, ...]  # locations, in the order of sources and names
    source_of_part: npt.NDArray[np.int32]
    groups_of_part: Ints  # part i has the row groups groups_of_part[i]:groups_of_part[i + 1] of the four arrays below
    number: Ints  # of each row group in its part
    rows: Ints
    first_gene: Ints
    last_gene: Ints
    parts_of_bundle: Ints  # bundle i has the parts parts_of_bundle[i]:parts_of_bundle[i + 1]
    bundle_of_sweep: Ints
    begin: Ints  # a sweep has the genes begin <= gene < end
    end: Ints
    cell_groups: tuple[CellGroups | int, ...] | None = None  # of each part, or the one group of all of its cells
    by_group: bool = False  # values have groups; else cells of none are left out, and that is all

    def groups_of_cells(self, part: int) -> CellGroups | int | None:
        """Return the groups of a part's cells, or the one group of all of them; None where cells are not grouped."""
        return self.cell_groups[part] if self.cell_groups is not None else None

    @property
    def sweeps(self) -> int:
        """How many sweeps there are."""
        return len(self.begin)

    @property
    def bundles(self) -> int:
        """How many bundles there are; where it is one, a sweep sees all values of its genes."""
        return len(self.parts_of_bundle) - 1


def plan_sweeps(
    values_folder: str,
    records: Sequence[SourceRecord],
    universe: Sequence[str],
    wanted: Sequence[str] | None = None,
    window_rows: int = WINDOW_ROWS,
    sweep_rows: int = SWEEP_ROWS,
    cell_groups: Mapping[tuple[str, str], CellGroups | int] | None = None,
    *,
    by_group: bool = False,
) -> SweepPlan:
    """Bundle parts and cut the genes of each bundle into sweeps.

    `records` ascend by name, and `universe` has all of their genes, ascending. If there are `wanted` genes, ascending,
    row groups that can have none of them are left out. `cell_groups` has the groups of the cells of each source and
    part, and `by_group` says whether values are needed by group.
    """
    genes = np.array(universe, dtype=np.str_)
    parts = [(source, record.source, part) for source, record in enumerate(records) for part in record.parts]
    groups = [group for _, _, part in parts for group in part.row_groups]
    number = np.array([place for _, _, part in parts for place in range(len(part.row_groups))], dtype=np.int64)
    part_of_group = np.repeat(np.arange(len(parts)), [len(part.row_groups) for _, _, part in parts])
    rows = np.array([group.rows for group in groups], dtype=np.int64)
    least, most = ([getattr(group, name) for group in groups] for name in ("gene_min", "gene_max"))
    first = np.searchsorted(genes, np.array(least, dtype=np.str_), side="left")
    last = np.searchsorted(genes, np.array(most, dtype=np.str_), side="right") - 1
    if wanted is not None:
        places = np.searchsorted(genes, np.array(wanted, dtype=np.str_))
        kept = np.searchsorted(places, first, side="left") < np.searchsorted(places, last, side="right")
        number, part_of_group, rows, first, last = (a[kept] for a in (number, part_of_group, rows, first, last))
    groups_of_part = np.searchsorted(part_of_group, np.arange(len(parts) + 1))
    bundles = _bundle(groups_of_part, rows, window_rows)
    sweeps = []
    for bundle, (lead, stop) in enumerate(pairwise(groups_of_part[bundles].tolist())):
        total = int(rows[lead:stop].sum())
        cuts = max(-(-total // sweep_rows), min(_LEAST_SWEEPS, -(-total // _LEAST_SWEEP_ROWS)))
        ranges = _ranges(first[lead:stop], last[lead:stop], rows[lead:stop], len(genes), cuts)
        sweeps += [(bundle, begin, end) for begin, end in ranges]
    bundle_of_sweep, begin, end = np.array(sweeps, dtype=np.int64).reshape(-1, 3).T
    return SweepPlan(
        genes=genes,
        parts=tuple(part_location(values_folder, source, part.name) for _, source, part in parts),
        source_of_part=np.array([source for source, _, _ in parts], dtype=np.int32),
        groups_of_part=groups_of_part,
        number=number,
        rows=rows,
        first_gene=first,
        last_gene=last,
        parts_of_bundle=bundles,
        bundle_of_sweep=bundle_of_sweep,
        begin=begin,
        end=end,
        cell_groups=tuple(cell_groups[source, part.name] for _, source, part in parts) if cell_groups else None,
        by_group=by_group,
    )


def plan_source(plan: SweepPlan, source: int) -> SweepPlan:
    """Return a plan of one source's parts alone, in one sweep that sees all of the source's values of a gene.

    It has one bundle, however many rows that holds at once (see `rows_at_once`); no bundle and no sweep if the source
    has no value.
    """
    first, stop = np.searchsorted(plan.source_of_part, [source, source + 1]).tolist()
    begin, end = plan.groups_of_part[[first, stop]].tolist()
    columns = {name: getattr(plan, name)[begin:end] for name in ("number", "rows", "first_gene", "last_gene")}
    ranges = _ranges(columns["first_gene"], columns["last_gene"], columns["rows"], len(plan.genes), 1)
    cuts = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    return replace(
        plan,
        parts=plan.parts[first:stop],
        source_of_part=plan.source_of_part[first:stop],
        groups_of_part=plan.groups_of_part[first : stop + 1] - begin,
        parts_of_bundle=np.array([0, stop - first] if len(cuts) else [0], dtype=np.int64),
        bundle_of_sweep=np.zeros(len(cuts), dtype=np.int64),
        begin=cuts[:, 0],
        end=cuts[:, 1],
        cell_groups=plan.cell_groups[first:stop] if plan.cell_groups is not None else None,
        **columns,
    )


def rows_at_once(plan: SweepPlan, sources: int) -> Ints:
    """Return how many rows a sweep over all parts of a source holds at most, shape (sources,)."""
    return np.bincount(plan.source_of_part, _largest(plan.groups_of_part, plan.rows), sources).astype(np.int64)


def _largest(groups_of_part: Ints, rows: Ints) -> Ints:
    """Return the rows of each part's largest row group, shape (parts,)."""
    largest = np.zeros(len(groups_of_part) - 1, dtype=np.int64)
    filled = np.flatnonzero(np.diff(groups_of_part))
    if len(filled):
        largest[filled] = np.maximum.reduceat(rows, groups_of_part[filled])
    return largest


def _bundle(groups_of_part: Ints, rows: Ints, window_rows: int) -> Ints:
    """Cut the parts into bundles whose largest row groups fit a window, or of one part; return their offsets."""
    largest = _largest(groups_of_part, rows)
    if not largest.any():
        return np.zeros(1, dtype=np.int64)
    offsets, held = [0], 0
    for part, rows_of_part in enumerate(largest.tolist()):
        if held and held + rows_of_part > window_rows:
            offsets.append(part)
            held = 0
        held += rows_of_part
    return np.array([*offsets, len(largest)], dtype=np.int64)


def _ranges(first_gene: Ints, last_gene: Ints, rows: Ints, genes: int, wanted: int) -> list[tuple[int, int]]:
    """Cut all genes into at most `wanted` ranges of about equally many rows, each beginning where a row group does.

    Row groups are given by their first gene, last gene and rows; without any row there is no range. Those that reach
    over a cut are read twice. So a cut is where few do, and there is none where most do, as in small parts of one row
    group.
    """
    total = int(rows.sum())
    if not total:
        return []
    candidates = np.unique(first_gene)
    # Half the rows of row groups that reach over a cut are taken to lie before it.
    begun, ended = _rows_below(first_gene, rows, candidates), _rows_below(last_gene, rows, candidates)
    cheap = begun - ended <= total * _MOST_CROSSING
    candidates, before, crossing = candidates[cheap], (begun + ended)[cheap] / 2, (begun - ended)[cheap]
    cuts = set()
    for even in np.arange(1, wanted) * total / wanted:
        moved = np.abs(before - even)
        near = moved <= _MOST_MOVED * total / wanted
        if near.any():
            cuts.add(int(candidates[near][np.argmin(crossing[near] + _COST_OF_MOVING * moved[near])]))
    return list(pairwise([0, *sorted(cuts - {0}), genes]))


def _rows_below(gene: Ints, rows: Ints, bounds: Ints) -> Ints:
    """Return the rows of all row groups whose gene is below each bound."""
    order = np.argsort(gene, kind="stable")
    sums: Ints = np.concatenate([[0], np.cumsum(rows[order])])
    return sums[np.searchsorted(gene[order], bounds)]
