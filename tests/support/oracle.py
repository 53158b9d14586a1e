"""The semantics once more, in plain numpy and h5py, sharing no code with the package."""

import csv
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

CHOSEN = ("protein_coding", "miRNA")


def read_types(gene_table):
    with Path(gene_table).open() as lines:
        return {row["ensembl_id"]: row["gene_type"] for row in csv.DictReader(lines)}


def loom_values(path, types=None, target_sum=10_000.0, chosen=CHOSEN):
    """Return {gene: (cell numbers, values)} of one loom, cells ascending, and the genes it makes, values or not."""
    with h5py.File(path, "r") as file:
        matrix = file["matrix"][:].astype(np.float64)
        ids = file["row_attrs/ensembl_id"].asstr()[:].tolist()
        own = file["row_attrs/gene_type"].asstr()[:].tolist() if "row_attrs/gene_type" in file else None
        n_counts = file["col_attrs/n_counts"][:].astype(np.float64)
        passed = file["col_attrs/filter_pass"][:] == 1
    summed = {}
    for row, gene in enumerate(ids):
        if types is not None and types.get(gene) not in chosen:
            continue
        if own is not None and own[row] not in chosen:
            continue
        summed[gene] = summed.get(gene, 0) + matrix[row]
    found = {}
    for gene, counts in summed.items():
        cells = np.flatnonzero(passed & (counts > 0))
        if len(cells):
            found[gene] = (cells, counts[cells] / n_counts[cells] * target_sum)
    return found, set(summed)


def corpus_values(paths, types=None, **choices):
    """Return {gene: all its values} over several looms, and how many looms have each gene."""
    values, sources = defaultdict(list), defaultdict(int)
    for path in paths:
        for gene, (_, found) in loom_values(path, types, **choices)[0].items():
            values[gene].append(found)
            sources[gene] += 1
    return {gene: np.concatenate(parts) for gene, parts in values.items()}, dict(sources)


def universe(paths, types=None, chosen=CHOSEN):
    if types is not None:
        return sorted(gene for gene, kind in types.items() if kind in chosen)
    return sorted(set().union(*(loom_values(path, None, chosen=chosen)[1] for path in paths)))
