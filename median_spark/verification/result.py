"""Comparing a result with the expression table that it was made from."""

import csv
import io
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.errors import counted
from median_spark.verification.documents import plain_pickle, read
from median_spark.verification.groups import CellsOfResult, check_moments
from median_spark.verification.outcome import Verification
from median_spark.verification.stored import StoredSource


def check_files(done: Verification, result: str, medians: pa.Table) -> None:
    """Compare the CSV and the pickles with the table, all genes."""
    genes, values = medians["gene"].to_pylist(), medians["median"].to_pylist()
    rows = csv.DictReader(io.StringIO(read(result, "medians.csv").decode(), newline=""))
    by_csv = {_unmarked(row["gene"]): row for row in rows}
    total = plain_pickle(result, "total_gene_median_dict.pickle")
    detected = plain_pickle(result, "detected_gene_median_dict.pickle")
    counts = plain_pickle(result, "gene_detection_counts_dict.pickle")
    done.check("medians.csv", "the list of genes", list(by_csv), genes)
    done.check("total_gene_median_dict.pickle", "the list of genes", list(total), genes)
    for gene, median, n_cells in zip(genes, values, medians["n_cells"].to_pylist(), strict=True):
        in_csv = by_csv.get(gene, {"median": "", "n_cells": ""})
        done.check(f"medians.csv: {gene}", "median", float(in_csv["median"]) if in_csv["median"] else None, median)
        done.check(f"medians.csv: {gene}", "n_cells", in_csv["n_cells"], str(n_cells))
        done.check(f"total_gene_median_dict.pickle: {gene}", "median", total.get(gene), median)
        done.check(f"detected_gene_median_dict.pickle: {gene}", "median", detected.get(gene), median)
        done.check(f"gene_detection_counts_dict.pickle: {gene}", "count", counts.get(gene), n_cells)
    done.compared.append(f"the CSV and three pickles against medians.parquet: {counted(len(genes), 'gene')}")


def _unmarked(cell: str) -> str:
    """Return a text without the apostrophe that keeps a spreadsheet from taking it for a formula."""
    return re.sub(r"^'(?='*[=+\-@\t\r\n＝＋－＠])", "", cell)


def check_totals(done: Verification, sources: list[StoredSource], medians: pa.Table, taken: CellsOfResult) -> None:
    """Compare how many values there are by the parts, by the records and by the medians."""
    for source in sources:
        recorded = source.record["values"]
        done.check(f"source '{source.name}'", "number of values recorded", recorded, source.stored_rows())
    total = sum(taken.values_of(source) for source in sources)
    done.check("medians.parquet", "the sum of n_cells", int(np.sum(medians["n_cells"].to_numpy())), total)
    done.compared.append(f"the number of values of {counted(len(sources), 'source')} and of the result: {total:,}")


def check_genes(
    done: Verification, sources: list[StoredSource], medians: pa.Table, taken: CellsOfResult, *, exact: bool
) -> None:
    """Recompute everything of some genes that does not come from a digest."""
    genes = medians["gene"].to_pylist()
    by_gene: dict[str, list[npt.NDArray[np.float64]]] = {gene: [] for gene in genes}
    for source in sources:
        for gene, part in taken.rows(source, genes).groupby("gene", observed=True)["value"]:
            by_gene[str(gene)].append(part.to_numpy())
    values_read = 0
    for row in medians.to_pylist():
        place, parts = f"gene {row['gene']}", by_gene[row["gene"]]
        values = np.concatenate([np.zeros(0), *parts])
        values_read += len(values)
        done.check(place, "n_cells", row["n_cells"], len(values))
        done.check(place, "n_sources", row["n_sources"], len(parts))
        done.check(place, "min", row["min"], float(values.min()) if len(values) else None)
        done.check(place, "max", row["max"], float(values.max()) if len(values) else None)
        if len(values) and row.get("mean") is not None:
            check_moments(done, place, row, values)
        if exact:
            done.check(place, "median", row["median"], float(np.median(values)) if len(values) else None)
            if len(values):
                error = _rank_error(values, row["digest_median"])
                done.check(place, "digest_rank_error", row["digest_rank_error"], error)
        elif len(values) and _rank_error(values, row["median"]) > 0.05:
            done.differences.append(
                f"{place}: the digest's median {row['median']!r} is off by more than 5 % of the ranks"
            )
    kind = "exact medians" if exact else "digest medians (to within 5 % of the ranks)"
    done.compared.append(
        f"n_cells, n_sources, min, max and {kind} from the Parquet parts: {counted(len(genes), 'gene')}, "
        f"{counted(values_read, 'value')}"
    )


def _rank_error(values: npt.NDArray[np.float64], estimate: float) -> float:
    below, up_to, n = int(np.sum(values < estimate)), int(np.sum(values <= estimate)), len(values)
    if below <= n / 2 <= up_to:
        return 0.0
    return (below - n / 2 if below > n / 2 else n / 2 - up_to) / n
