"""The published histogram: in how many cells each gene is detected."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_STEPS = 4_096


def detection_histogram(counts: npt.NDArray[np.int64], gene_types: Sequence[str]) -> bytes:
    """Return a PNG of the distribution of detection counts over all genes, undetected ones included, and its density.

    `gene_types` are named in the title; there are none where they are not known.
    """
    figure = Figure(figsize=(10, 5), dpi=150)
    # Fixed margins: to find the smallest ones, matplotlib would draw everything twice.
    figure.subplots_adjust(left=0.12, right=0.97, top=0.83, bottom=0.13)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(counts, bins=50, density=True, color="#4c78a8", alpha=0.55)
    if len(np.unique(counts)) > 2:
        axes.plot(*_density(counts), color="#1f4e79", linewidth=1.8)
    # "protein-coding or miRNA" for the published choice
    types = sorted((kind.replace("_", "-") for kind in gene_types), key=lambda kind: (kind == "miRNA", kind))
    axes.set_title(f"Cells expressing each\n{' or '.join(types)}{' ' if types else ''}gene", fontsize=18)
    axes.set_xlabel("cells with a value", fontsize=14)
    axes.set_ylabel("density of genes", fontsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)
    axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _density(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return places between 0 and the largest count, and the density of the counts there.

    It is that of `scipy.stats.gaussian_kde`, with Scott's bandwidth, of counts rounded to the places. Importing
    and calling scipy's took longer than writing all medians.
    """
    places = np.linspace(0, counts.max(), _STEPS + 1)
    step = places[1]
    binned = np.bincount(np.rint(counts / step).astype(np.int64), minlength=len(places))
    bandwidth = np.std(counts, ddof=1) * len(counts) ** -0.2
    kernel = np.exp(-0.5 * (np.arange(-_STEPS, _STEPS + 1) * step / bandwidth) ** 2)
    smooth = np.convolve(binned, kernel)[_STEPS : 2 * _STEPS + 1]
    return places, smooth / (len(counts) * bandwidth * np.sqrt(2 * np.pi))
