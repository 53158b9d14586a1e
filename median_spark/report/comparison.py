"""Medians of a result beside those of another result or dictionary: how much is shared, in what order, and what moved.

Pure functions over NumPy; what is compared with is read in `median_spark.report.other_medians`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MANY_CELLS = 100
"""Genes that are listed by name have values in more cells than this, where there are enough of them."""

_LISTED = 12
_MOST_SEEN = 10  # one gene in so many belongs to those with values in most cells
_ENOUGH_SHARED = 1_000  # genes, for the most seen of them to be worth a figure
_LOOSE = 0.7
_NEAR = (1.1, 1.5, 2.0)


@dataclass(frozen=True)
class OtherMedians:
    """Medians to compare with."""

    location: str  # where they were read from
    medians: dict[str, float]  # of the detected genes, above 0
    undetected: int  # genes without a median (NaN, null or empty)


@dataclass(frozen=True)
class Moved:
    """A gene of both, and how its median differs."""

    place: int  # of the gene in the result
    here: float
    there: float
    ratio: float  # here / there
    against_typical: float  # the ratio divided by the typical ratio
    n_cells: int  # of the result


@dataclass(frozen=True)
class Comparison:
    """What two sets of medians have in common."""

    other: OtherMedians
    there: FloatArray  # shape (genes,): the other's median of each gene of the result; NaN where it has none
    shared: int  # genes with a median in both
    only_here: int
    only_there: int
    spearman: float | None  # of the shared genes' medians; None where it has no meaning
    spearman_many: float | None  # the same of genes with values in more than `least_cells` cells; None if that is 0
    spearman_most_seen: float | None  # the same of the tenth of them with values in most cells; None if they are few
    typical_ratio: float | None  # median over shared genes of here / there; None if no gene is shared
    near: tuple[
        tuple[float, float], ...
    ]  # a factor, and the share of shared genes that are within it of the typical ratio
    moved: tuple[Moved, ...]  # the genes whose ratio is farthest from the typical one, farthest first
    least_cells: int  # genes that `moved` names have values in more cells than this

    @property
    def ranks_differ(self) -> bool:
        """True if the ranks of all shared genes agree so loosely that a reader should be told why."""
        return self.spearman is not None and self.spearman < _LOOSE


def compare(
    genes: list[str], medians: FloatArray, n_cells: npt.NDArray[np.int64], other: OtherMedians, listed: int = _LISTED
) -> Comparison:
    """Compare a result's medians, NaN where a gene was not detected, with others; name at most `listed` that moved."""
    there = np.array([other.medians.get(gene, np.nan) for gene in genes], dtype=np.float64)
    places = np.flatnonzero(~np.isnan(medians) & ~np.isnan(there))
    ratios = medians[places] / there[places]
    typical = float(np.exp(np.median(np.log(ratios)))) if len(places) else None
    relative = ratios / typical if typical is not None else ratios
    least = least_cells(n_cells[places], listed)
    distance = np.abs(np.log(relative))
    candidates = np.flatnonzero(n_cells[places] > least)
    farthest = candidates[np.argsort(-distance[candidates], kind="stable")][:listed]
    most_seen = places[np.argsort(-n_cells[places], kind="stable")][: len(places) // _MOST_SEEN]
    columns = (places, medians[places], there[places], ratios, relative, n_cells[places])
    return Comparison(
        other=other,
        there=there,
        shared=len(places),
        only_here=int(np.sum(~np.isnan(medians))) - len(places),
        only_there=len(other.medians) - len(places),
        spearman=_rank_correlation(medians[places], there[places]),
        spearman_many=_rank_correlation(medians[places[candidates]], there[places[candidates]]) if least else None,
        spearman_most_seen=(
            _rank_correlation(medians[most_seen], there[most_seen]) if len(places) >= _ENOUGH_SHARED else None
        ),
        typical_ratio=typical,
        near=tuple((factor, float(np.mean(distance <= np.log(factor)))) for factor in _NEAR) if len(places) else (),
        moved=tuple(Moved(*row) for row in zip(*(column[farthest].tolist() for column in columns), strict=True)),
        least_cells=least,
    )


def _rank_correlation(here: FloatArray, there: FloatArray) -> float | None:
    """Return Spearman's rank correlation of paired values, or None where there are fewer than 3 or one is constant."""
    if len(here) < 3 or np.ptp(here) == 0 or np.ptp(there) == 0:
        return None
    from scipy.stats import spearmanr  # takes a second to import, and only comparing needs it

    return float(spearmanr(here, there).statistic)


def least_cells(n_cells: npt.NDArray[np.int64], listed: int) -> int:
    """Return `MANY_CELLS` if at least five times as many genes as are listed have values in more cells, else 0.

    What few cells show is chance: the most extreme of many genes would mostly be those seen in a handful of cells.
    """
    return MANY_CELLS if int(np.sum(n_cells > MANY_CELLS)) >= 5 * listed else 0
