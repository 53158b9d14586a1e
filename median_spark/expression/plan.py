"""Cutting an expression table into sweeps, the same whatever the cluster's size.

A sweep walks down the genes of some parts side by side and so sees all values that they have of a gene at once. Parts
are bundled so that a row group of each fits a worker's memory. Where one bundle takes them all, every gene is whole in
its sweep; else a gene has a digest in every bundle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from median_spark.expression.records import SourceRecord
from median_spark.expression.table import part_location

WINDOW_ROWS = 48_000_000
"""Rows that a sweep holds in memory at most, a row group of every part: 384 MB of values."""

SWEEP_ROWS = 64_000_000
"""Rows of a sweep: about a second's work, beside which it costs little to read row groups at its ends twice."""

_LEAST_SWEEPS = 8
_LEAST_SWEEP_ROWS = 2_000_000
"""A small table is cut into so many sweeps nonetheless, unless they are smaller than this."""


@dataclass(frozen=True)
class SweepPlan:
    """Which sweep reads which parts from which gene to which; flat arrays, so that it travels cheaply to every worker.

    Attributes
    ----------
    genes : ndarray of str, shape (genes,)
        The universe, ascending; genes are numbered by it.
    parts : tuple of str
        Locations of the parts, in the order of sources and names.
    source_of_part : ndarray of int32, shape (parts,)
        Number of each part's source.
    groups_of_part : ndarray of int64, shape (parts + 1,)
        Part i has the row groups ``groups_of_part[i]:groups_of_part[i + 1]`` of the three that follow.
    number, rows : ndarray of int64, shape (row groups,)
        The number of each row group in its part, and its rows.
    first_gene, last_gene : ndarray of int64, shape (row groups,)
        Its first and last gene.
    parts_of_bundle : ndarray of int64, shape (bundles + 1,)
        Bundle i has the parts ``parts_of_bundle[i]:parts_of_bundle[i + 1]``.
    bundle_of_sweep, begin, end : ndarray of int64, shape (sweeps,)
        The bundle of each sweep, and its genes ``begin <= gene < end``.
    """

    genes: npt.NDArray[np.str_]
    parts: tuple[str, ...]
    source_of_part: npt.NDArray[np.int32]
    groups_of_part: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    first_gene: npt.NDArray[np.int64]
    last_gene: npt.NDArray[np.int64]
    parts_of_bundle: npt.NDArray[np.int64]
    bundle_of_sweep: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

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
) -> SweepPlan:
    """Bundle parts and cut the genes of each bundle into sweeps.

    Parameters
    ----------
    values_folder : str
        The table's ``values`` folder.
    records : sequence of SourceRecord
        The sources, ascending by name.
    universe : sequence of str
        All genes of the sources, ascending.
    wanted : sequence of str, optional
        Genes of interest, ascending: row groups that can have none of them are left out. By default all are taken.
    window_rows, sweep_rows : int
        See `WINDOW_ROWS` and `SWEEP_ROWS`.
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
    sweeps = [
        (bundle, begin, end)
        for bundle, (lead, stop) in enumerate(
            zip(groups_of_part[bundles[:-1]], groups_of_part[bundles[1:]], strict=True)
        )
        for begin, end in _cut(first[lead:stop], last[lead:stop], rows[lead:stop], len(genes), sweep_rows)
    ]
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
    )


def plan_source(plan: SweepPlan, source: int, sweeps: int = 1) -> SweepPlan:
    """Return a plan of one source's parts alone, side by side, so that a sweep sees all its values of a gene.

    Parameters
    ----------
    plan : SweepPlan
        Of several sources.
    source : int
        Its number there.
    sweeps : int
        Into how many ranges of genes it is cut at most, each of about equally many rows.

    Returns
    -------
    SweepPlan
        Of one bundle, whatever that holds at once; of none where the source has no value. See `rows_at_once`.
    """
    first, stop = np.searchsorted(plan.source_of_part, [source, source + 1]).tolist()
    begin, end = plan.groups_of_part[[first, stop]].tolist()
    groups = slice(begin, end)
    ranges = _ranges(plan.first_gene[groups], plan.last_gene[groups], plan.rows[groups], len(plan.genes), sweeps)
    cuts = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    return replace(
        plan,
        parts=plan.parts[first:stop],
        source_of_part=plan.source_of_part[first:stop],
        groups_of_part=plan.groups_of_part[first : stop + 1] - begin,
        number=plan.number[groups],
        rows=plan.rows[groups],
        first_gene=plan.first_gene[groups],
        last_gene=plan.last_gene[groups],
        parts_of_bundle=np.array([0, stop - first] if len(cuts) else [0], dtype=np.int64),
        bundle_of_sweep=np.zeros(len(cuts), dtype=np.int64),
        begin=cuts[:, 0],
        end=cuts[:, 1],
    )


def rows_at_once(plan: SweepPlan, sources: int) -> npt.NDArray[np.int64]:
    """Return how many rows a sweep over all parts of a source holds at most, shape (sources,).

    Parameters
    ----------
    plan : SweepPlan
        Of these sources.
    sources : int
        How many they are, with those that have no value.
    """
    largest = [plan.rows[begin:end].max(initial=0) for begin, end in pairwise(plan.groups_of_part)]
    return np.bincount(plan.source_of_part, weights=largest, minlength=sources).astype(np.int64)


def _bundle(
    groups_of_part: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], window_rows: int
) -> npt.NDArray[np.int64]:
    """Cut the parts into bundles whose largest row groups fit a window, or of one part; return their offsets."""
    parts = len(groups_of_part) - 1
    largest = np.array([rows[begin:end].max(initial=0) for begin, end in pairwise(groups_of_part)])
    if not largest.any():
        return np.zeros(1, dtype=np.int64)
    offsets, held = [0], 0
    for part, rows_of_part in enumerate(largest.tolist()):
        if held and held + rows_of_part > window_rows:
            offsets.append(part)
            held = 0
        held += rows_of_part
    return np.array([*offsets, parts], dtype=np.int64)


def _cut(
    first_gene: npt.NDArray[np.int64],
    last_gene: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    genes: int,
    sweep_rows: int,
) -> list[tuple[int, int]]:
    """Cut all genes into ranges of at most so many rows, or fewer where there are few."""
    total = int(rows.sum())
    wanted = max(-(-total // sweep_rows), min(_LEAST_SWEEPS, -(-total // _LEAST_SWEEP_ROWS)))
    return _ranges(first_gene, last_gene, rows, genes, wanted)


def _ranges(
    first_gene: npt.NDArray[np.int64],
    last_gene: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    genes: int,
    wanted: int,
) -> list[tuple[int, int]]:
    """Cut all genes into ranges of about equally many rows, each beginning where a row group does; none for no row."""
    total = int(rows.sum())
    if not total:
        return []
    candidates = np.unique(first_gene)
    # Of the row groups that reach over a cut, half of the rows are taken to lie before it.
    before = (_rows_below(first_gene, rows, candidates) + _rows_below(last_gene, rows, candidates)) / 2
    places = np.searchsorted(before, np.arange(1, wanted) * total / wanted)
    cuts = np.unique(candidates[places[places < len(candidates)]])
    return list(pairwise([0, *cuts[cuts > 0].tolist(), genes]))


def _rows_below(
    gene: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the rows of all row groups whose gene is below each bound."""
    order = np.argsort(gene, kind="stable")
    sums: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(rows[order])])
    return sums[np.searchsorted(gene[order], bounds)]
