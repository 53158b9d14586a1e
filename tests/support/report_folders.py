"""Result folders for tests of the report page, written by the library from values of a few or of many genes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tables import ROW_COUNTS, record_of

from median_spark.digests import digest_values, sketch_values, sort_values, stability_of
from median_spark.expression import FailureRecord
from median_spark.gene_values import GeneValues
from median_spark.geneformer import geneformer_dictionaries
from median_spark.report import report_page
from median_spark.results import (
    ExactMedian,
    GeneDigests,
    figures_of,
    median_table,
    provenance_of,
    stability_table,
    write_result,
)

COMPRESSION = 200.0

HOSTILE = "</script><script>alert(1)</script><b onclick='x'>\"&amp;{{ 7 * 7 }}<!--"


def merged_of(values, compression=COMPRESSION):
    """Return the digests of {gene: values}; a gene without values is undetected."""
    detected = {gene: np.asarray(found, dtype=np.float64) for gene, found in sorted(values.items()) if len(found)}
    offsets = np.concatenate([[0], np.cumsum([len(found) for found in detected.values()], dtype=np.int64)])
    runs = GeneValues(np.array(list(detected), dtype=np.str_), offsets, np.concatenate([[], *detected.values()]))
    sort_values(runs)
    digests = dict(zip(detected, digest_values(runs, compression), strict=True))
    return GeneDigests(tuple(sorted(values)), digests, dict.fromkeys(detected, 2), compression)


def some_values(genes=60, seed=0, most=3_000):
    """Return {gene: values} of genes that are seen in few and in many cells; every tenth is not detected."""
    rng = np.random.default_rng(seed)
    sizes = (10 ** rng.uniform(0, np.log10(most), genes)).astype(int)
    return {
        f"ENSG{number:011d}": rng.lognormal(rng.normal(1, 0.8), 0.6, 0 if number % 10 == 9 else sizes[number])
        for number in range(genes)
    }


def write(
    location, values, *, exact=True, names=("db/a", "db/b"), failures=(), groups=None, gene_table=None, **changes
):
    """Write a result; `changes` replace fields of its sources' records, `groups` are rows of groups.parquet.

    Each group has the median of every gene, times its ratio, in by_group.parquet. A page with groups is made by
    write_report.
    """
    merged = merged_of(values)
    medians = {
        gene: ExactMedian(float(np.median(values[gene])), 0.001 if digest.n > 250 else 0.0)
        for gene, digest in merged.digests.items()
    }
    values_each = sum(len(found) for found in values.values()) // len(names)
    row_counts = replace(
        ROW_COUNTS, rows=100, known_rows=90, unknown_rows=10, other_type_rows=5, summed_rows=3, unknown_examples=()
    )
    records = [
        replace(record_of(name, values=values_each), **{"row_counts": row_counts, "warnings": [], **changes})
        for name in names
    ]
    failed = [FailureRecord(name, f"/looms/{name}.loom", reason) for name, reason in failures]
    provenance = provenance_of("/expression", records, failed, {"compression": COMPRESSION, "exact": exact}, "4.0")
    table = median_table(merged, medians if exact else None)
    summary = write_result(
        str(location),
        table,
        merged,
        figures_of(records, failed),
        provenance,
        dictionaries=geneformer_dictionaries(table, None, gene_table),
        report=partial(report_page, gene_table=gene_table),
    )
    if groups is not None:
        write_groups(location, groups)
    return summary


def group_row(ratio, *, apart=False, tried=False, cells=5_000, **names):
    """Return a row of groups.parquet, of the group with these names: {column: text or None}."""
    return {
        **names,
        "sources": 3,
        "cells": cells,
        "values": cells * 1_234,
        "genes_detected": 50,
        "median_n_counts": 4_321.0,
        "values_per_cell": 1_234.5,
        "genes_compared": 45,
        "ratio": ratio,
        "ratio_q25": ratio * 0.8,
        "ratio_q75": ratio * 1.2,
        "factor_apart": max(ratio, 1 / ratio),
        "apart": apart,
        "without_typical_change": 0.021 if tried else None,
        "without_p95_change": 0.13 if tried else None,
        "without_genes_changed": 77 if tried else None,
        "without_genes_lost": 1 if tried else None,
    }


def write_groups(location, rows):
    """Write groups.parquet and by_group.parquet into the folder of a result."""
    columns = list(rows[0])
    by = columns[: columns.index("sources")]
    texts = [pa.field(name, pa.string()) for name in by]
    medians = [row for row in pq.read_table(location / "medians.parquet").to_pylist() if row["n_cells"]]
    figures = pa.Table.from_pylist(rows)
    pq.write_table(figures.cast(pa.schema([*texts, *list(figures.schema)[len(by) :]])), location / "groups.parquet")
    by_group = [
        {
            **{name: row[name] for name in by},
            "gene": gene["gene"],
            "n_cells": gene["n_cells"],
            "median": gene["median"] * row["ratio"],
            "mean": gene["median"] * row["ratio"],
            "sd": 1.0,
        }
        for row in rows
        for gene in medians
    ]
    schema = pa.schema([*texts, ("gene", pa.string()), ("n_cells", pa.int64()), ("median", pa.float64()),
                        ("mean", pa.float64()), ("sd", pa.float64())])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(by_group, schema=schema), location / "by_group.parquet", row_group_size=200)


def write_stability(location, buckets=16, seed=0):
    """Write stability.parquet into the folder of a result: its values dealt into buckets at random."""
    medians = pq.read_table(location / "medians.parquet")
    detected = [row for row in medians.to_pylist() if row["n_cells"]]
    rng = np.random.default_rng(seed)
    values = [rng.lognormal(np.log(row["median"]), 0.5, row["n_cells"]) for row in detected]
    offsets = np.append(0, np.cumsum([len(each) for each in values]))
    sketches = sketch_values(np.concatenate(values), offsets, rng.integers(0, buckets, offsets[-1]).astype(np.uint8))
    packed = dict(zip((row["gene"] for row in detected), stability_of(sketches, buckets).pack(), strict=True))
    table = stability_table(medians, packed, buckets)
    pq.write_table(table, location / "stability.parquet")
    return table
