"""Writing Parquet matrices for tests, by pyarrow."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def gene_numbers(genes):
    """Return the numbers that stand for genes: not in their order, with gaps, from 3 on as Tahoe-100M has them."""
    return (np.arange(genes)[::-1] * 2 + 3).tolist()


def write_gene_table(path, genes, **changes):
    """Write a table of genes as Tahoe-100M's; `changes` replace or, if None, leave out a column."""
    columns = {
        "gene_symbol": [f"symbol{number}" for number in range(genes)],
        "ensembl_id": [f"ENSG{number:011d}" for number in range(genes)],
        "token_id": gene_numbers(genes),
        **changes,
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: held for name, held in columns.items() if held is not None}), path)
    return str(path)


def write_lists(
    path, counts, numbers=None, group=1000, marker=True, dtype=None, names=("genes", "expressions"), **more
):
    """Write counts, genes by cells, with a row per cell and two lists; `more` are columns of cells."""
    counts = np.asarray(counts)
    genes, cells = counts.shape
    numbers = gene_numbers(genes) if numbers is None else numbers
    kind = pa.string() if isinstance(numbers[0], str) else pa.int64()
    listed, held = [], []
    for cell in range(cells):
        there = np.flatnonzero(counts[:, cell])
        listed.append([1] * marker + [numbers[gene] for gene in there])
        held.append([-2.0] * marker + counts[there, cell].tolist())
    columns = {
        names[0]: pa.array(listed, pa.list_(kind)),
        names[1]: pa.array(held, pa.list_(dtype or pa.float32())),
        "BARCODE_SUB_LIB_ID": [f"cell{number}" for number in range(cells)],
        **more,
    }
    return write_table(path, {name: column for name, column in columns.items() if column is not None}, group)


def write_long(path, counts, group=1000, names=("gene", "cell", "count"), order=None, **changes):
    """Write counts, genes by cells, with a row per entry, by cell or in an order; `changes` replace or add columns."""
    counts = np.asarray(counts)
    cells, genes = np.nonzero(counts.T)
    order = np.arange(len(cells)) if order is None else order(cells, genes)
    cells, genes = cells[order], genes[order]
    totals = counts.sum(axis=0).astype(np.float64)
    columns = {
        names[0]: [f"ENSG{gene:011d}" for gene in genes],
        names[1]: [f"cell{cell}" for cell in cells],
        names[2]: counts[genes, cells],
        "n_counts": totals[cells],
        "filter_pass": np.ones(len(cells), dtype=np.int64),
        **changes,
    }
    return write_table(path, {name: column for name, column in columns.items() if column is not None}, group)


def write_table(path, columns, group=1000):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, row_group_size=group)
    return str(path)
