"""Random counts as droplet data has them: most are 0, then 1, and some large, in cells of several types and depths.

A gene's expected count in a cell is its mean in the cell's type, times the cell's depth. Whether a count is above 0 is
told by the moment at which the first of its molecules arrives; what time is then left tells how many more do.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_CELL_TYPES = 8
_GENE_SPREAD = 2.0
_TYPE_SPREAD = 0.8
_DEPTH_SPREAD = 0.45
_BAND_ENTRIES = 20_000_000
_SAMPLE = (3_000, 300)


@dataclass(frozen=True)
class Expected:
    """Expected counts of genes in cells.

    Attributes
    ----------
    means : ndarray of float32, shape (genes, cell types)
    kinds : ndarray of int64, shape (cells,)
        The type of each cell.
    depths : ndarray of float32, shape (cells,)
    """

    means: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int64]
    depths: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.means), len(self.depths)


def draw_expected(rng: np.random.Generator, shares: npt.NDArray[np.float64], cells: int, density: float) -> Expected:
    """Draw a source of which a share `density` of all entries is expected to be above 0.

    Parameters
    ----------
    rng : numpy.random.Generator
    shares : ndarray of float64, shape (genes,)
        Expression that the sources have in common: means of the genes, up to a factor.
    cells : int
    density : float
    """
    kinds = rng.integers(0, _CELL_TYPES, cells)
    depths = rng.lognormal(0, _DEPTH_SPREAD, cells)
    means = shares[:, None] * rng.lognormal(0, _TYPE_SPREAD, (len(shares), _CELL_TYPES))
    genes, columns = (rng.permutation(n)[:most] for n, most in zip((len(shares), cells), _SAMPLE, strict=True))
    sample = means[genes][:, kinds[columns]] * depths[columns]
    low, high = -40.0, 40.0  # logarithms of the factor that is sought
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-sample * np.exp(middle)).mean() < density else (low, middle)
    return Expected((means * np.exp(low)).astype(np.float32), kinds, depths.astype(np.float32))


def draw_shares(rng: np.random.Generator, genes: int) -> npt.NDArray[np.float64]:
    """Return the genes' means up to a factor: a few are in every cell, most in few."""
    return rng.lognormal(0, _GENE_SPREAD, genes)


def draw_bands(
    rng: np.random.Generator, expected: Expected
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """Yield the counts above 0, some genes at a time: how many each gene has, and cell and count of every one."""
    genes, cells = expected.shape
    height = max(1, _BAND_ENTRIES // cells)
    for first in range(0, genes, height):
        mean = expected.means[first : first + height][:, expected.kinds] * expected.depths
        mean -= rng.standard_exponential(mean.shape, dtype=np.float32)  # what is left after the first arrival
        present = mean > 0
        counts = 1 + rng.poisson(mean[present])
        yield present.sum(axis=1), np.nonzero(present)[1].astype(np.int32), counts.astype(np.int32)


def draw_barcodes(rng: np.random.Generator, cells: int) -> npt.NDArray[np.str_]:
    """Return the cells' barcodes: 16 letters and a number, as droplet data has them."""
    letters = np.array(list("ACGT"))[rng.integers(0, 4, (cells, 16))]
    return np.char.add(np.ascontiguousarray(letters).view("<U16").ravel(), "-1")
