"""Medians of a result beside those of another result or dictionary: how much is shared, in what order, and what moved.

Pure functions over numpy; what is compared with is read in `median_spark.report.other_medians`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MANY_CELLS = 100
"""Genes that are listed by name have values in more cells than this, where there are enough of them."""

_LISTED = 12
_NEAR = (1.1, 1.5, 2.0)


@dataclass(frozen=True)
class OtherMedians:
    """Medians to compare with.

    Attributes
    ----------
    location : str
        Where they were read from.
    medians : dict of str to float
        Of the detected genes, above 0.
    undetected : int
        Genes that stand there without a median (NaN, null or empty).
    """

    location: str
    medians: dict[str, float]
    undetected: int


@dataclass(frozen=True)
class Moved:
    """A gene of both, and how its median differs.

    Attributes
    ----------
    place : int
        Of the gene in the result.
    here, there : float
        Its medians.
    ratio : float
        ``here / there``.
    against_typical : float
        The ratio divided by the typical ratio.
    n_cells : int
        Cells of the result in which it has a value.
    """

    place: int
    here: float
    there: float
    ratio: float
    against_typical: float
    n_cells: int


@dataclass(frozen=True)
class Comparison:
    """What two sets of medians have in common.

    Attributes
    ----------
    other : OtherMedians
        What the result is compared with.
    there : ndarray of float64, shape (genes,)
        The other's median of each gene of the result; NaN where it has none.
    shared, only_here, only_there : int
        Genes with a median in both, in the result alone, in the other alone.
    spearman : float or None
        Rank correlation of the shared genes' medians; None for fewer than 3 genes, or if either side is constant.
    typical_ratio : float or None
        Median over shared genes of ``here / there``; None if no gene is shared.
    near : tuple of (float, float)
        A factor, and the share of shared genes whose ratio is within that factor of the typical one.
    moved : tuple of Moved
        The genes whose ratio is farthest from the typical one, farthest first.
    least_cells : int
        `moved` was chosen among genes with values in more cells than this.
    """

    other: OtherMedians
    there: FloatArray
    shared: int
    only_here: int
    only_there: int
    spearman: float | None
    typical_ratio: float | None
    near: tuple[tuple[float, float], ...]
    moved: tuple[Moved, ...]
    least_cells: int


def compare(
    genes: list[str], medians: FloatArray, n_cells: npt.NDArray[np.int64], other: OtherMedians, listed: int = _LISTED
) -> Comparison:
    """Compare a result's medians with others.

    Parameters
    ----------
    genes : list of str
        Of the result.
    medians : ndarray of float64, shape (genes,)
        NaN where a gene was not detected.
    n_cells : ndarray of int64, shape (genes,)
        Cells with a value.
    other : OtherMedians
        What to compare with.
    listed : int
        How many genes that moved are named.
    """
    there = np.array([other.medians.get(gene, np.nan) for gene in genes], dtype=np.float64)
    places = np.flatnonzero(~np.isnan(medians) & ~np.isnan(there))
    detected = int(np.sum(~np.isnan(medians)))
    ratios = medians[places] / there[places]
    typical = float(np.exp(np.median(np.log(ratios)))) if len(places) else None
    relative = ratios / typical if typical is not None else ratios
    least = least_cells(n_cells[places], listed)
    distance = np.abs(np.log(relative))
    candidates = np.flatnonzero(n_cells[places] > least)
    farthest = candidates[np.argsort(-distance[candidates], kind="stable")][:listed]
    return Comparison(
        other=other,
        there=there,
        shared=len(places),
        only_here=detected - len(places),
        only_there=len(other.medians) - len(places),
        spearman=rank_correlation(medians[places], there[places]),
        typical_ratio=typical,
        near=tuple((factor, float(np.mean(distance <= np.log(factor)))) for factor in _NEAR) if len(places) else (),
        moved=tuple(
            Moved(
                int(places[i]),
                float(medians[places[i]]),
                float(there[places[i]]),
                float(ratios[i]),
                float(relative[i]),
                int(n_cells[places[i]]),
            )
            for i in farthest.tolist()
        ),
        least_cells=least,
    )


def rank_correlation(here: FloatArray, there: FloatArray) -> float | None:
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
