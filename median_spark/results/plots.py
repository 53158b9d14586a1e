"""The published histogram: in how many cells each gene is detected."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde


def detection_histogram(counts: npt.NDArray[np.int64], gene_types: Sequence[str]) -> bytes:
    """Return a PNG of the distribution of detection counts over all genes, undetected ones included, and its density.

    `gene_types` are named in the title; there are none where they are not known.
    """
    figure = Figure(figsize=(10, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(counts, bins=50, density=True, color="#4c78a8", alpha=0.55)
    if len(np.unique(counts)) > 2:
        places = np.linspace(0, counts.max(), 512)
        axes.plot(places, gaussian_kde(counts)(places), color="#1f4e79", linewidth=1.8)
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
