"""The numbers that a page draws: histograms, and every gene's quantiles, packed to be embedded.

Pure functions over NumPy and Arrow. Knows nothing of HTML.
"""

import base64
import math
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.digests import DigestColumns, quantiles_of

FloatArray = npt.NDArray[np.float64]

LEVELS: FloatArray = np.concatenate([[0, 0.005, 0.01, 0.025], np.arange(2, 39) / 40, [0.975, 0.99, 0.995, 1]]).astype(
    np.float64
)
"""Levels of the quantiles that are embedded for each gene; 0 and 1 are its smallest and largest value."""

_CODES = 65_535

_LARGEST_PLACE = math.log10(sys.float_info.max)


@dataclass(frozen=True)
class Histogram:
    """Counts in bins: a bin holds ``edges[i] <= x < edges[i + 1]``, the last one its upper edge, too."""

    edges: FloatArray  # ascending, one more than there are bins
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class QuantileCodes:
    """Quantiles of genes as whole numbers of steps on a logarithmic scale."""

    low: float  # natural logarithm of the value that code 0 stands for
    step: float  # natural logarithm of the ratio between neighbouring codes
    codes: npt.NDArray[np.uint16]  # shape (genes, levels)


def log_histogram(values: npt.ArrayLike, bins_per_decade: int) -> Histogram:
    """Count positive values in bins that are equally wide on a logarithmic scale; powers of ten are edges."""
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        return Histogram(np.array([1.0]), np.zeros(0, dtype=np.int64))
    # Logarithms only say where to look; which bin a value belongs to is decided by the edges themselves.
    least, most = (int(np.floor(place)) for place in np.log10([numbers.min(), numbers.max()]) * bins_per_decade)
    steps = range(least - 1, most + 3)
    edges = np.unique(np.array([_log_edge(step, bins_per_decade) for step in steps], dtype=np.float64))
    bins = np.minimum(np.searchsorted(edges, numbers, side="right") - 1, len(edges) - 2)
    first, last = int(bins.min()), int(bins.max())
    return Histogram(edges[first : last + 2], np.bincount(bins - first).astype(np.int64))


def _log_edge(step: int, bins_per_decade: int) -> float:
    """Return an edge, so many steps above 1: powers of ten exactly, and nothing that float64 cannot tell from 0 or inf.

    Not by numpy, whose powers have other last bits on processors with AVX-512: 10⁻⁵ becomes 9.999999999999999e-06.
    """
    decade, rest = divmod(step, bins_per_decade)
    if not rest:
        edge = float(f"1e{decade}")
    else:
        place = step / bins_per_decade
        edge = 10.0**place if place < _LARGEST_PLACE else math.inf
    return min(max(edge, math.ulp(0.0)), sys.float_info.max)


def quantiles(digests: pa.Table, levels: npt.ArrayLike = LEVELS) -> FloatArray:
    """Return quantiles of every digest as crick has them.

    Digests have the columns n, min, max, mean and weight, and at least one centroid each; levels ascend between 0 and
    1, which are the smallest and the largest value; the result has the shape (digests, levels).
    """
    wanted = np.asarray(levels, dtype=np.float64)
    found = np.empty((len(digests), len(wanted)), dtype=np.float64)
    if not len(digests):
        return found
    means, weights = (digests[name].combine_chunks() for name in ("mean", "weight"))
    sizes = means.value_lengths().to_numpy(zero_copy_only=False)
    n, least, most = (digests[name].to_numpy() for name in ("n", "min", "max"))
    centroids = (means.flatten().to_numpy(), weights.flatten().to_numpy())
    columns = DigestColumns(n, least, most, np.append(0, np.cumsum(sizes, dtype=np.int64)), *centroids)
    inner = (wanted > 0) & (wanted < 1)
    found[:, inner] = quantiles_of(columns, wanted[inner, np.newaxis]).T
    found[:, wanted <= 0], found[:, wanted >= 1] = least[:, np.newaxis], most[:, np.newaxis]
    return found


def quantile_codes(values: FloatArray) -> QuantileCodes:
    """Round quantiles, above 0, to 65,536 steps on the logarithmic scale from the smallest to the largest of them all.

    Over ten decades, a step is 0.035 % of the value.
    """
    if not values.size:
        return QuantileCodes(0.0, 0.0, np.zeros(values.shape, dtype=np.uint16))
    logs = np.log(values)
    low = float(logs.min())
    step = (float(logs.max()) - low) / _CODES
    codes = np.zeros(values.shape) if step == 0 else np.rint((logs - low) / step)
    return QuantileCodes(low, step, codes.astype(np.uint16))


def embedded(values: npt.NDArray[np.generic]) -> str:
    """Return an array's bytes, little-endian and row by row, as base64."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode("ascii")
