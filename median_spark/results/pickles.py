"""The four pickles of the published procedure.

They hold plain str, float and int, and crick digests in one: NumPy scalars would tie a file to one NumPy major version.
"""

import math
import pickle

import pyarrow as pa
from crick import TDigest

from median_spark.digests import pickled_as_cricks
from median_spark.results.layout import DETECTED_MEDIANS, DETECTION_COUNTS, TOTAL_DIGESTS, TOTAL_MEDIANS
from median_spark.results.medians import GeneDigests

_PROTOCOL = 4  # read by every Python that a tokenizer may run on


def published_pickles(merged: GeneDigests, table: pa.Table) -> dict[str, bytes]:
    """Return the content of the published procedure's files by name, genes ascending."""
    genes: list[str] = table["gene"].to_pylist()
    medians = [math.nan if median is None else float(median) for median in table["median"].to_pylist()]
    total = dict(zip(genes, medians, strict=True))
    digests = pickled_as_cricks(merged.digests, merged.compression)
    contents: dict[str, object] = {
        # Each gene has an object of its own, because merging changes it.
        TOTAL_DIGESTS: {gene: digests.get(gene) or TDigest(merged.compression) for gene in genes},
        TOTAL_MEDIANS: total,
        DETECTED_MEDIANS: {gene: median for gene, median in total.items() if not math.isnan(median)},
        DETECTION_COUNTS: dict(zip(genes, table["n_cells"].to_pylist(), strict=True)),
    }
    return {name: pickle.dumps(content, protocol=_PROTOCOL) for name, content in contents.items()}
