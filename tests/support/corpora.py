"""Small expression tables, and what is in them."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from tables import record_of

from median_spark.expression import create_table, plan_sweeps, write_part
from median_spark.gene_values import GeneValues

GENES = [f"ENSG{number:03d}" for number in range(40)]


@dataclass
class Corpus:
    """An expression table, and what is in it: {gene: values} by the name of the source."""

    table: object
    records: list
    content: dict

    def plan(self, **sizes):
        return plan_sweeps(self.table.values, self.records, GENES, **sizes)

    def pooled(self):
        """Return {gene: all values}."""
        pooled = defaultdict(list)
        for genes in self.content.values():
            for gene, values in genes.items():
                pooled[gene].append(values)
        return {gene: np.concatenate(values) for gene, values in sorted(pooled.items())}

    def medians(self):
        """Return what a median table has of these genes."""
        pooled = self.pooled()
        return pa.table(
            {
                "gene": GENES,
                "n_cells": [len(pooled.get(gene, [])) for gene in GENES],
                "median": pa.array([float(np.median(pooled[gene])) if gene in pooled else None for gene in GENES]),
            }
        )


def write_corpus(folder, sources, row_group_rows=20):
    """Write {source: parts}, each part {gene: values}, as an expression table."""
    table = create_table(str(folder))
    gene_list = table.store_genes(GENES)
    records, content = [], {}
    for source, parts in sorted(sources.items()):
        entries, whole = [], defaultdict(list)
        for number, values in enumerate(part for part in parts if part):
            names = sorted(values)
            lengths = [len(values[gene]) for gene in names]
            runs = GeneValues(
                np.array(names),
                np.concatenate([[0], np.cumsum(lengths)]),
                np.concatenate([np.asarray(values[gene], dtype=np.float64) for gene in names]),
                np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            )
            location = f"{table.values}/source={source.replace('/', '%2F')}/part-{number:05d}.parquet"
            entries.append(write_part(location, runs, np.arange(max(lengths)).astype(np.str_), row_group_rows))
            for gene in names:
                whole[gene] += list(values[gene])
        records.append(replace(record_of(source, parts=entries), gene_list=gene_list))
        content[source] = {gene: np.array(values) for gene, values in whole.items()}
    return Corpus(table, records, content)
