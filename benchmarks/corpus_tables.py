"""Expression tables of any size, written without reading a matrix, from fixed seeds."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drawing import draw_bands, draw_barcodes, draw_expected, draw_shares

from median_spark.expression import (
    ExpressionTable,
    PartEntry,
    SourceRecord,
    committed_name,
    create_table,
    write_part,
)
from median_spark.gene_values import GeneValues
from median_spark.genes import RowCounts
from median_spark.matrices import ReadOptions
from median_spark.storage import FileStat

_GENES = 20_000
_CELLS = 10_000


def write_table(location: Path, *, rows: int, rows_a_source: int) -> ExpressionTable:
    """Write a table of about so many rows, in sources of 10,000 cells; sources that are there stay as they are."""
    table = create_table(str(location))
    gene_list = table.store_genes(_gene_ids())
    held = {record.source for record in table.sources()}
    sources = max(1, round(rows / rows_a_source))
    missing = [n for n in range(sources) if _source(n) not in held]
    with ProcessPoolExecutor(2) as processes:
        staged = [processes.submit(_stage, table.location, number, rows_a_source) for number in missing]
        for number, part in zip(missing, staged, strict=True):
            table.commit(_record(number, part.result(), gene_list))
    return table


def link_table(location: Path, whole: ExpressionTable, *, rows: int) -> ExpressionTable:
    """Make a smaller table of the first sources of another, with links to its parts."""
    table = create_table(str(location))
    if table.sources():
        return table
    for record, above in zip(whole.sources(), accumulate(r.values for r in whole.sources()), strict=True):
        if above - record.values / 2 > rows:
            break
        table.store_genes(whole.universe([record]))
        part = replace(record.parts[0], name=committed_name(0, "linked"))
        staged = Path(table.staging.unit(record.conversion, 0)[0])
        staged.parent.mkdir(parents=True, exist_ok=True)
        os.link(next((Path(whole.values) / f"source={record.source}").glob("*.parquet")), staged)
        table.commit(replace(record, parts=(part,)))
    return table


def stored_bytes(table: ExpressionTable) -> int:
    """Return the bytes of all parts."""
    return sum(path.stat().st_size for path in Path(table.values).rglob("*.parquet"))


def _source(number: int) -> str:
    return f"study{number:04d}"


def _stage(location: str, number: int, rows: int) -> PartEntry:
    runs, barcodes = _draw_runs(number, rows)
    staged, _ = ExpressionTable(location).staging.unit(_source(number), 0)
    return write_part(staged, runs, barcodes)


def _draw_runs(number: int, rows: int) -> tuple[GeneValues, npt.NDArray[np.str_]]:
    """Draw a source: counts above 0, over their cell's total; and its barcodes."""
    rng = np.random.default_rng([2, number])
    shares = draw_shares(np.random.default_rng(0), _GENES)
    drawn = list(draw_bands(rng, draw_expected(rng, shares, _CELLS, rows / _GENES / _CELLS)))
    lengths, cells, counts = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    totals = np.bincount(cells, weights=counts, minlength=_CELLS)
    values = counts / totals[cells] * 10_000
    return GeneValues(np.array(_gene_ids()), offsets, values, cells), draw_barcodes(rng, _CELLS)


def _gene_ids() -> list[str]:
    return [f"ENSG{number:011d}" for number in range(_GENES)]


def _record(number: int, part: PartEntry, gene_list: str) -> SourceRecord:
    source = _source(number)
    return SourceRecord(
        source=source,
        input=FileStat(f"/nowhere/{source}.loom", 0, 0),
        conversion=source,
        rows=_GENES,
        cells=_CELLS,
        cells_passed=_CELLS,
        genes=_GENES,
        values=part.rows,
        gene_list=gene_list,
        row_counts=RowCounts(
            rows=_GENES,
            selected_rows=_GENES,
            genes=_GENES,
            summed_rows=0,
            other_type_rows=0,
            unknown_rows=0,
            known_rows=_GENES,
            disputed_rows=0,
            unknown_examples=(),
        ),
        warnings=[],
        parameters=ReadOptions().as_json(),
        software={},
        parts=(replace(part, name=committed_name(0, "drawn")),),
    )
