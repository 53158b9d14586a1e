"""Expression tables of any size, written without reading a matrix, from fixed seeds."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from drawing import draw_bands, draw_barcodes, draw_expected, draw_shares

from median_spark.expression import (
    CellsEntry,
    ExpressionTable,
    PartEntry,
    SourceRecord,
    committed_name,
    create_table,
    write_cells,
    write_part,
)
from median_spark.gene_values import GeneValues
from median_spark.genes import RowCounts
from median_spark.matrices import ReadOptions
from median_spark.storage import FileStat

_GENES = 20_000
_CELLS = 10_000
ASSAYS, DONORS = 5, 2_000
"""Groups that the cells of every source are dealt to at random."""


def write_table(location: Path, *, rows: int, rows_a_source: int) -> ExpressionTable:
    """Write a table of about so many rows, in sources of 10,000 cells; sources that are there stay as they are."""
    table = create_table(str(location))
    gene_list = table.store_genes(_gene_ids())
    held = {record.source for record in table.sources()}
    sources = max(1, round(rows / rows_a_source))
    missing = [n for n in range(sources) if _source(n) not in held]
    with ProcessPoolExecutor(2) as processes:
        staged = [processes.submit(_stage, table.location, number, rows_a_source) for number in missing]
        for number, entries in zip(missing, staged, strict=True):
            table.commit(_record(number, *entries.result(), gene_list))
    return table


def link_table(location: Path, whole: ExpressionTable, *, rows: int) -> ExpressionTable:
    """Make a smaller table of the first sources of another, with links to its parts."""
    table = create_table(str(location))
    if table.sources():
        return table
    for record, above in zip(whole.sources(), accumulate(r.values for r in whole.sources()), strict=True):
        if above - record.values / 2 > rows:
            break
        _link(record, whole, table, record.source)
    return table


def repeat_table(location: Path, whole: ExpressionTable, copies: int) -> ExpressionTable:
    """Make a larger table that has the sources of another several times over, with links to their parts."""
    table = create_table(str(location))
    held = {record.source for record in table.sources()}
    for copy in range(copies):
        for record in whole.sources():
            source = f"{record.source}-{copy:03d}"
            if source not in held:
                _link(record, whole, table, source)
    return table


def _link(record: SourceRecord, whole: ExpressionTable, table: ExpressionTable, source: str) -> None:
    """Commit a source of one table to another one under a name, with links to its parts."""
    table.store_genes(whole.universe([record]))
    name = committed_name(0, "linked")
    staged = (table.staging.unit(source, 0)[0], table.staging.unit_cells(source, 0))
    for folder, target in zip((whole.values, whole.cells), map(Path, staged), strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(next((Path(folder) / f"source={record.source}").glob("*.parquet")), target)
    parts, cells_parts = (
        tuple(replace(entry, name=name) for entry in entries) for entries in (record.parts, record.cells_parts or ())
    )
    file = FileStat(f"/nowhere/{source}.loom", 0, 0)
    table.commit(replace(record, source=source, input=file, conversion=source, parts=parts, cells_parts=cells_parts))


def stored_bytes(table: ExpressionTable) -> int:
    """Return the bytes of all parts."""
    return sum(path.stat().st_size for path in Path(table.values).rglob("*.parquet"))


def _source(number: int) -> str:
    return f"study{number:04d}"


def _stage(location: str, number: int, rows: int) -> tuple[PartEntry, CellsEntry]:
    staging = ExpressionTable(location).staging
    staged, _ = staging.unit(_source(number), 0)
    runs, cells = _draw(number, rows)
    return write_part(staged, runs, cells["cell"].to_numpy()), write_cells(
        staging.unit_cells(_source(number), 0), cells
    )


def _draw(number: int, rows: int) -> tuple[GeneValues, pa.Table]:
    """Draw a source: counts above 0, over their cell's total; and its cells with their attributes."""
    rng = np.random.default_rng([2, number])
    shares = draw_shares(np.random.default_rng(0), _GENES)
    drawn = list(draw_bands(rng, draw_expected(rng, shares, _CELLS, rows / _GENES / _CELLS)))
    lengths, cells, counts = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    totals = np.bincount(cells, weights=counts, minlength=_CELLS)
    values = counts / totals[cells] * 10_000
    n_genes = np.bincount(cells, minlength=_CELLS).astype(np.int32)
    described = {
        "cell": draw_barcodes(rng, _CELLS),
        "n_counts": totals.astype(np.float64),
        "n_genes": n_genes,
        "n_values": n_genes,
        "assay": _dealt(rng, "assay", ASSAYS),
        "donor": _dealt(rng, "donor", DONORS),
        "is_primary_data": rng.random(_CELLS) < 0.5,
    }
    return GeneValues(np.array(_gene_ids()), offsets, values, cells), pa.table(described)


def _dealt(rng: np.random.Generator, name: str, groups: int) -> npt.NDArray[np.str_]:
    return np.char.add(f"{name} ", rng.integers(0, groups, _CELLS).astype(str))


def _gene_ids() -> list[str]:
    return [f"ENSG{number:011d}" for number in range(_GENES)]


def _record(number: int, part: PartEntry, cells: CellsEntry, gene_list: str) -> SourceRecord:
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
        cells_parts=(replace(cells, name=committed_name(0, "drawn")),),
        cell_columns=(
            ("cell", "string"),
            ("n_counts", "double"),
            ("n_genes", "int32"),
            ("n_values", "int32"),
            ("assay", "string"),
            ("donor", "string"),
            ("is_primary_data", "bool"),
        ),
    )
