"""The four pickles of the published procedure.

They hold plain str, float and int, and crick digests in the one that is made of them: numpy scalars would tie a file
to one major version of numpy.
"""

import math
import pickle

import numpy as np
import pyarrow as pa
from crick import TDigest

from median_spark.digests import PickledAsCrick, check_digests
from median_spark.results.medians import GeneDigests

_PROTOCOL = 4  # read by every Python that a tokenizer may run on


def published_pickles(merged: GeneDigests, table: pa.Table) -> dict[str, bytes]:
    """Return the content of the published procedure's files by name, genes ascending.

    Parameters
    ----------
    merged : GeneDigests
        The digests.
    table : pyarrow.Table
        The median table of the same genes.
    """
    genes: list[str] = table["gene"].to_pylist()
    medians = [math.nan if median is None else float(median) for median in table["median"].to_pylist()]
    total = dict(zip(genes, medians, strict=True))
    check_digests(list(merged.digests.values()), merged.compression)
    digests = {
        gene: PickledAsCrick(merged.digests[gene], merged.compression)
        if gene in merged.digests
        else TDigest(merged.compression)
        for gene in genes
    }
    contents: dict[str, object] = {
        "total_gene_tdigest_dict.pickle": digests,
        "total_gene_median_dict.pickle": total,
        "detected_gene_median_dict.pickle": {gene: m for gene, m in total.items() if not np.isnan(m)},
        "gene_detection_counts_dict.pickle": dict(zip(genes, table["n_cells"].to_pylist(), strict=True)),
    }
    return {name: pickle.dumps(content, protocol=_PROTOCOL) for name, content in contents.items()}
