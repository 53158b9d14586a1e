"""Is it enough: what ``stability.parquet`` says of all genes, and which genes depend most on the sources."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.report.comparison import FloatArray
from median_spark.results import StabilityFigures, stability_figures

_LISTED = 12


@dataclass(frozen=True)
class StabilitySection:
    """What the page says of stability."""

    figures: StabilityFigures | None  # None where there are too few sources
    halves: FloatArray  # shape (genes,): change with a random half of the sources; NaN where it is not known
    left_out: FloatArray  # shape (genes,): largest change when a bucket of sources is left out; NaN where not known
    least_stable: list[int]  # the places of the genes that are judged with the largest change, largest first


def stability_section(table: pa.Table, ids: list[str], n_cells: npt.NDArray[np.int64]) -> StabilitySection:
    """Return what a table of stability says of some genes, which ascend and have values in so many cells."""
    places = np.searchsorted(ids, table["gene"].to_pylist())
    halves, left_out = (np.full(len(ids), np.nan) for _ in range(2))
    halves[places], left_out[places] = (
        table[name].to_numpy(zero_copy_only=False) for name in ("change_halves", "change_left_out")
    )
    figures = stability_figures(table)
    judged = np.flatnonzero((n_cells > (figures.least_cells if figures else 0)) & ~np.isnan(halves))
    order = judged[np.argsort(-halves[judged], kind="stable")]
    return StabilitySection(figures, halves, left_out, order[:_LISTED].tolist())
