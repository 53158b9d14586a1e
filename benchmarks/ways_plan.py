"""Planning `medians` over a corpus that is only a listing: its sources' records are there, their values are not."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from work import Found, Work

from median_spark.expression import (
    ExpressionTable,
    PartEntry,
    RowGroup,
    SourceRecord,
    create_table,
    open_table,
    plan_sweeps,
)
from median_spark.genes import RowCounts
from median_spark.matrices import ReadOptions
from median_spark.storage import FileStat

_GENES, _CELLS, _GROUPS, _GROUP_ROWS = 20_000, 10_000, 26, 500_000


@contextlib.contextmanager
def listing(parts: int, scratch: str) -> Iterator[Work]:
    """Give reading the records of so many sources of one part each, and cutting them into sweeps."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        _write_records(create_table(f"{folder}/expression"), parts)

        def work() -> Found:
            table = open_table(f"{folder}/expression")
            records = table.sources()
            plan = plan_sweeps(table.values, records, table.universe(records))
            return {"parts": len(plan.parts), "sweeps": plan.sweeps, "bundles": plan.bundles}

        yield work


def _write_records(table: ExpressionTable, parts: int) -> None:
    rng = np.random.default_rng(5)
    genes = [f"ENSG{number:011d}" for number in range(_GENES)]
    gene_list = table.store_genes(genes)
    records = Path(table.location, "sources")
    records.mkdir(exist_ok=True)
    for number in range(parts):
        cuts = [0, *np.sort(rng.choice(np.arange(1, _GENES), _GROUPS - 1, replace=False)).tolist(), _GENES]
        groups = tuple(RowGroup(_GROUP_ROWS, genes[a], genes[b - 1]) for a, b in pairwise(cuts))
        record = SourceRecord(
            source=f"database/data/study{number:05d}",
            input=FileStat(f"/corpus/database/data/study{number:05d}.loom", 70_000_000, 0),
            conversion=f"{number:016x}",
            rows=_GENES,
            cells=_CELLS,
            cells_passed=_CELLS,
            genes=_GENES,
            values=_GROUPS * _GROUP_ROWS,
            gene_list=gene_list,
            row_counts=RowCounts(_GENES, _GENES, _GENES, 0, 0, 0, _GENES, 0, ()),
            warnings=[],
            parameters=ReadOptions().as_json(),
            software={},
            parts=(PartEntry("part-00000-listing.parquet", 50_000_000, groups),),
        )
        (records / f"{number:05d}.json").write_text(json.dumps(record.as_json()), encoding="utf-8")
