"""Batches: many small sources that one task looks at and converts, each opened once.

A batch has a folder of its own with the parts and the files of cells, and a file of records, written last, as
`record_log` has them. Its files are synced together.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import InputError
from median_spark.expression.heads import SourceHead
from median_spark.expression.parts import CellsEntry, PartEntry
from median_spark.expression.record_log import encode_records
from median_spark.expression.records import SourceRecord
from median_spark.expression.staging import Staging, change_of, reason_of, slow_marker, write_unit
from median_spark.expression.table import ExpressionTable, committed_name
from median_spark.guard import Kept, Limits, beat, read_guarded
from median_spark.matrices import (
    ALL_COLUMNS,
    CellColumns,
    ReadOptions,
    SourceFile,
    SourceOutline,
    outline_and_values,
    outline_of,
)

SMALL_BYTES = 4 << 20
"""Size of a file up to which a source is read as soon as it is looked at. Larger ones have a task for each unit."""


@dataclass(frozen=True)
class Looking:
    """What workers need in order to look at sources, and to convert small ones.

    Attributes
    ----------
    table : ExpressionTable
        The table.
    reading : ReadOptions
        Options that decide the values.
    unit_entries : int
        Most entries of a unit.
    universe : str or None
        Fingerprint of the gene table's universe, if there is one.
    token : str
        Distinguishes this run from others.
    small_bytes : int
        Size of a file up to which a source is read as soon as it is looked at.
    cell_columns : str or tuple of str
        Attributes to keep of each cell.
    """

    table: ExpressionTable
    reading: ReadOptions
    unit_entries: int
    universe: str | None
    token: str
    small_bytes: int = SMALL_BYTES
    cell_columns: CellColumns = ALL_COLUMNS


@dataclass(frozen=True)
class WantedSource:
    """A source to be looked at, and the fingerprint of its conversion."""

    source: SourceFile
    conversion: str


@dataclass(frozen=True)
class LookedAt:
    """What a look at a source brought: an error, or that it is staged with its batch, or else its head.

    `listed` is that of the head, also of a staged source.
    """

    head: SourceHead | None = None
    batch: str | None = None
    error: str | None = None
    listed: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Converted:
    """What converting a small source yielded: its number of values, its part, None without values, and its cells."""

    values: int
    part: PartEntry | None
    cells: CellsEntry


def stage_batch(
    wanted: Sequence[WantedSource], looking: Kept, staging: Staging, software: dict[str, str], limits: Limits
) -> list[LookedAt]:
    """On a worker: look at sources, stage the small ones that are one unit as a batch, and say what each is.

    `looking` is a `Looking`. A matrix that cannot be read is reported, not raised. Copies of a task at the same time
    stage a batch each; whichever the driver takes, the values are the same.
    """
    if storage.stat(staging.stop) is not None:
        return [LookedAt(error="this source was not looked at: the run was stopped")] * len(wanted)
    token = uuid.uuid4().hex[:8]
    outcomes: list[LookedAt] = []
    records: list[SourceRecord] = []
    for one in wanted:
        file = one.source.file
        targets = (staging.batch_part(token, one.conversion), staging.batch_cells(token, one.conversion))
        try:
            with slow_marker(staging, one.conversion) as tell:
                head, converted = read_guarded(
                    file.path, _look, one.source, looking, targets, limits=limits, on_slow=tell
                )
            error = change_of(file) if converted is not None else None
        except InputError as problem:
            error = reason_of(problem, file)
        if error is not None:
            outcomes.append(LookedAt(error=error))
            continue
        if converted is None:
            outcomes.append(LookedAt(head=head, listed=head.listed))
            continue
        name = committed_name(0, token)
        parts = () if converted.part is None else (replace(converted.part, name=name),)
        cells_parts = (replace(converted.cells, name=name),)
        records.append(head.record(one.source, one.conversion, converted.values, parts, cells_parts, software))
        outcomes.append(LookedAt(batch=token, listed=head.listed))
    if records:
        files = [staging.batch_part(token, record.conversion) for record in records if record.parts]
        storage.sync_files([*files, *(staging.batch_cells(token, record.conversion) for record in records)])
        storage.write_bytes(staging.batch_records(token), encode_records(records))
    return outcomes


def _look(source: SourceFile, looking: Looking, targets: tuple[str, str]) -> tuple[SourceHead, _Converted | None]:
    """In the guarded process: look at a source; if it is small and one unit, write its files, too."""
    path, options = source.file.path, looking.reading.of_source(source.name)
    if source.file.size > looking.small_bytes:
        outline = outline_of(path, options, looking.unit_entries, looking.cell_columns)
        return SourceHead.of(outline, _gene_list(outline, looking)), None
    outline, content = outline_and_values(path, options, looking.unit_entries, looking.cell_columns)
    head = SourceHead.of(outline, _gene_list(outline, looking))
    if content is None:
        return head, None
    beat()
    storage.release(path)  # nobody else will come for it
    values, cells = content
    return head, _Converted(len(values.values), *write_unit(targets, values, cells))


def _gene_list(outline: SourceOutline, looking: Looking) -> str:
    """Store the genes that a source has values of, and return their fingerprint."""
    reading = looking.reading
    if reading.gene_table is not None and outline.row_counts.versions_ignored:
        genes = reading.gene_table.without_versions.universe(reading.gene_types)
    elif looking.universe is not None:
        return looking.universe
    else:
        genes = outline.genes.tolist()
    return _stored_genes(looking.token, looking.table, "\n".join(genes))


@lru_cache(maxsize=64)
def _stored_genes(run: str, table: ExpressionTable, genes: str) -> str:
    """Store a list of genes once per process and run: most sources of a corpus have the same one."""
    return table.store_genes(genes.split("\n") if genes else [])
