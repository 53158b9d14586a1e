"""Expression tables of any size for benchmarks, written without reading a matrix."""

from dataclasses import replace

import numpy as np

from median_spark.expression import (
    ExpressionTable,
    SourceRecord,
    committed_name,
    create_table,
    write_part,
)
from median_spark.matrices import ReadOptions
from median_spark.runs import GeneRuns
from median_spark.storage import FileStat

GENES = 20_000
CELLS = 10_000


def write_table(location: str, sources: int, values_a_source: int, seed: int = 1) -> ExpressionTable:
    """Write a table whose values are counts over totals, as droplet data has them: many ties, a long tail.

    Parameters
    ----------
    location : str
        A new folder.
    sources : int
        Of 10,000 cells each.
    values_a_source : int
        About as many.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    table = create_table(location)
    genes = np.array([f"ENSG{number:011d}" for number in range(GENES)])
    gene_list = table.store_genes(genes.tolist())
    share = np.minimum(rng.lognormal(0, 1.6, GENES), 60)
    for number in range(sources):
        wanted = share * rng.lognormal(0, 0.4, GENES)
        lengths = np.minimum((wanted / wanted.sum() * values_a_source).astype(np.int64), CELLS)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        totals = np.round(rng.lognormal(np.log(4_000), 0.5, CELLS))
        cells = np.concatenate([np.sort(rng.permutation(CELLS)[:length]) for length in lengths]).astype(np.int32)
        mean = np.repeat(np.maximum(1.0, 12 * lengths / CELLS), lengths)
        counts = rng.geometric(1 / (1 + mean))
        runs = GeneRuns(genes, offsets, counts / totals[cells] * 10_000, cells)
        _commit(table, f"study{number:04d}", runs, gene_list)
    return table


def _commit(table: ExpressionTable, source: str, runs: GeneRuns, gene_list: str) -> None:
    conversion = f"benchmark-{source}"
    staged, _ = table.staged_unit(conversion, 0)
    part = write_part(staged, runs, np.char.add("cell", np.arange(CELLS).astype(str)))
    part = replace(part, name=committed_name(0, "benchmark"))
    table.commit(
        SourceRecord(
            source=source,
            input=FileStat(f"/nowhere/{source}.loom", 0, 0),
            conversion=conversion,
            rows=GENES,
            cells=CELLS,
            cells_passed=CELLS,
            genes=GENES,
            values=part.rows,
            gene_list=gene_list,
            census={},
            warnings=[],
            parameters=ReadOptions().as_json(),
            software={},
            parts=(part,),
        )
    )
