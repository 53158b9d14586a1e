"""Is the corpus large enough: how far each gene's median moves with the sources, as a table, and in a few figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.digests import FRACTIONS, Stability
from median_spark.results.layout import STABILITY_SCHEMA

LEAST_CELLS = 100
"""Genes with values in more cells than this are judged, if there are any."""


_BUCKETS = b"buckets"
_LEAST_BUCKETS = 4
"""With fewer buckets of sources, halves are too few to tell how far they spread."""


@dataclass(frozen=True)
class StabilityFigures:
    """What a table of stability says of all genes together; changes are fractions, infinite where they are unknown."""

    genes: int  # judged
    least_cells: int  # they have values in more cells than this
    if_doubled: float  # change of a gene's median if as many cells again were added, at the median of the genes
    left_out: float  # largest change when one bucket of sources is left out, at the median of the genes
    buckets: int  # that the sources were dealt into
    curve: tuple[tuple[float, float, float], ...]  # share of the sources, change at the median and 90th percentile


def stability_table(medians: pa.Table, packed: Mapping[str, bytes], buckets: int) -> pa.Table:
    """Return the table of the detected genes of a median table, see `STABILITY_SCHEMA`.

    Its metadata has the number of buckets that the sources were dealt into.
    """
    detected = medians.filter(pc.greater(medians["n_cells"], 0)).select(["gene", "n_cells", "median"])
    found = Stability.unpack([packed[gene] for gene in detected["gene"].to_pylist()])
    ratios, distances = found.ratios.T, found.distances.T
    exact = detected["median"].to_numpy()
    columns = [found.halves, found.left_out, *(exact * ratio for ratio in ratios), *distances]
    nullable = [pa.array(column, mask=~np.isfinite(column)) for column in columns]
    table = pa.table([*detected.columns, *nullable], schema=STABILITY_SCHEMA)
    return table.replace_schema_metadata({_BUCKETS: str(buckets)})


def stability_figures(table: pa.Table) -> StabilityFigures | None:
    """Return what a table of stability says of all genes; None if there are fewer than 4 sources.

    With random halves, the distance of a half's median from that of all sources has about the spread that the median
    has over corpora like this one. If as many cells again are added, the new median is the mean of two such, and
    its distance from the old one has the spread of their difference, halved: the square root of 2 less.
    """
    n_cells = table["n_cells"].to_numpy()
    least = LEAST_CELLS if np.any(n_cells > LEAST_CELLS) else 0
    judged = table.filter(pa.array(n_cells > least))
    buckets = int((table.schema.metadata or {}).get(_BUCKETS, 0))
    if buckets < _LEAST_BUCKETS:
        return None

    def changes(name: str) -> npt.NDArray[np.float64]:
        known: npt.NDArray[np.float64] = judged[name].fill_null(math.inf).to_numpy()
        return known

    return StabilityFigures(
        genes=len(judged),
        least_cells=least,
        if_doubled=float(np.median(changes("change_halves"))) / math.sqrt(2),
        left_out=float(np.median(changes("change_left_out"))),
        buckets=buckets,
        curve=tuple(
            (
                1 / share,
                float(np.median(changes(f"change_1_{share}"))),
                float(np.quantile(changes(f"change_1_{share}"), 0.9, method="higher")),
            )
            for share in FRACTIONS
            if share <= buckets
        ),
    )
