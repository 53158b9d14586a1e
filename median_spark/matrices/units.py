"""From a count matrix of any format to GeneValues: selection, checks, normalisation, one unit of cells at a time.

value = count / n_counts[cell] * target_sum, in float64 and in that order, for the cells that pass and the genes chosen.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa

from median_spark.errors import InputError, counted
from median_spark.gene_values import GeneValues
from median_spark.genes import GeneSelection, select_genes
from median_spark.guard import beat
from median_spark.matrices.cell_columns import NO_COLUMNS, CellColumns, KeptColumns, cell_table, kept_columns
from median_spark.matrices.cell_filter import passing_cells
from median_spark.matrices.contract import CountMatrix, Entries, Flags, Floats, Int32s, Texts, brief, content_of
from median_spark.matrices.integer_counts import first_fraction, fractions
from median_spark.matrices.layouts import open_source
from median_spark.matrices.options import ReadOptions
from median_spark.options import ALLOW_NON_INTEGER, LAYER


@dataclass(frozen=True)
class Unit:
    """A range of cells of one source, ``first <= cell < last``, converted by one task; `number` counts from 0."""

    number: int
    first: int
    last: int


def select_rows(matrix: CountMatrix, options: ReadOptions) -> GeneSelection:
    """Return which rows of a matrix make which genes; see `median_spark.genes.select_genes`."""
    ids, types = matrix.gene_ids(), matrix.gene_types()
    table, gene_map = (each.fingerprint() if each else None for each in (options.gene_table, options.gene_map))
    key = (content_of(ids), None if types is None else content_of(types), table, gene_map)
    return _selected(_Rows((*key, options.gene_types, options.strip_version), matrix.location, ids, types, options))


@dataclass(frozen=True)
class _Rows:
    """The arguments of `select_genes`; equal if their keys are."""

    key: tuple[object, ...]
    location: str = field(compare=False)
    gene_ids: Texts = field(compare=False)
    gene_types: Texts | None = field(compare=False)
    options: ReadOptions = field(compare=False)


@lru_cache(maxsize=4)
def _selected(rows: _Rows) -> GeneSelection:
    """Select once for all sources with the same genes, for which a small source may take longer than for its values."""
    options = rows.options
    return select_genes(
        rows.location,
        rows.gene_ids,
        rows.gene_types,
        options.gene_table,
        options.gene_types,
        options.gene_map,
        strip_version=options.strip_version,
    )


def read_unit(
    matrix: CountMatrix,
    selection: GeneSelection,
    unit: Unit,
    options: ReadOptions,
    kept: KeptColumns | None = None,
) -> tuple[GeneValues, pa.Table]:
    """Read a range of cells as normalised, gene-major values.

    Returns the values of all genes of the selection that have one, and the table of the unit's cells that pass, with
    the `kept` columns, by default only with id, total and number of genes. The cells of the values are rows of that
    table. InputError if a count is negative, NaN or infinite, or not whole unless that is allowed, or a cell
    with counts has an n_counts that is not above 0.
    """
    cell_ids = matrix.cell_ids(unit.first, unit.last)
    taken = passing_cells(matrix, options, unit.first, unit.last)
    entries = _read_entries(matrix, selection, unit, taken, cell_ids)
    if not options.allow_non_integer:
        refuse_fractions(matrix, selection, entries, unit.first)
    n_counts = (
        matrix.cell_totals(unit.first, unit.last)
        if options.compute_n_counts
        else matrix.n_counts(unit.first, unit.last)
    )
    _check_totals(matrix, options, n_counts, entries.cells, cell_ids)
    gene_values, cells, n_genes = _by_gene(selection, entries, n_counts, options.target_sum, taken)
    ids = cell_ids if taken.all() else cell_ids[taken]
    if len(gene_values.values) and gene_values.values.max() == np.inf:
        cell = brief(ids[cells[gene_values.values.argmax()]])
        message = (
            f"{matrix.location}: count / n_counts × {options.target_sum:g} of cell '{cell}' is too large for float64: "
            f"check {matrix.cell_attribute} '{options.names.n_counts}'"
        )
        raise InputError(message, kind="values too large")
    kept = kept or kept_columns(matrix, NO_COLUMNS)
    return gene_values.detected(), cell_table(matrix, kept, unit.first, taken, ids, n_counts[taken], n_genes)


def values_of(
    location: str, unit: Unit, options: ReadOptions, cell_columns: CellColumns = NO_COLUMNS
) -> tuple[GeneValues, pa.Table, int]:
    """Open a matrix and read a unit; return what `read_unit` does, and the matrix's number of cells.

    `cell_columns` are the attributes that are kept of each cell. Damaged files may hang or crash this: call it by
    `read_guarded`.
    """
    with open_source(location, options) as source:
        beat()
        selection = select_rows(source.matrix, source.options)
        beat()
        kept = kept_columns(source.matrix, cell_columns)
        return *read_unit(source.matrix, selection, unit, source.options, kept), source.matrix.shape[1]


def _read_entries(matrix: CountMatrix, selection: GeneSelection, unit: Unit, taken: Flags, cell_ids: Texts) -> Entries:
    """Read the selected rows, and reject counts that no count matrix may hold."""
    entries = matrix.entries(selection.rows, unit.first, unit.last, taken)
    counts = entries.counts
    if not len(counts) or (counts.min() > 0 and counts.max() < np.inf):  # NaN is neither
        return entries
    kinds = {"negative": (counts < 0) & (counts > -np.inf), "NaN": np.isnan(counts), "infinite": np.isinf(counts)}
    faults = [f"{np.count_nonzero(where):,} {kind}" for kind, where in kinds.items() if where.any()]
    bad = np.logical_or.reduce(list(kinds.values()))
    example = int(np.flatnonzero(bad)[0])
    gene, cell = _gene_of(selection, entries, example), cell_ids[entries.cells[example]]
    whole = (unit.first, unit.last) == (0, matrix.shape[1])
    message = (
        f"{matrix.location}: {matrix.place} holds {' and '.join(faults)} {'count' if bad.sum() == 1 else 'counts'}"
        f"{'' if whole else f' among its cells {unit.first:,} to {unit.last - 1:,}'} "
        f"(gene '{brief(gene)}' in cell '{brief(cell)}' has {counts[example]}); counts must be finite and not below 0"
    )
    raise InputError(message, kind="impossible counts")


def refuse_fractions(matrix: CountMatrix, selection: GeneSelection, entries: Entries, first: int) -> None:
    """Reject counts that are not whole, but for what float arithmetic rounds; name layers that hold counts.

    The entries are those of the selection's rows, their cells counted from `first`.
    """
    example = first_fraction(entries.counts)
    if example < 0:
        return
    number = int(np.count_nonzero(fractions(entries.counts)))
    gene, cell = brief(_gene_of(selection, entries, example)), first + int(entries.cells[example])
    others = [brief(layer) for layer in matrix.count_layers()]
    hint = (
        f"{' and '.join(others)} {'holds' if len(others) == 1 else 'hold'} counts: {LAYER.given(others[0])}, or"
        if others
        else "if these are counts and not normalised values,"
    )
    message = (
        f"{matrix.location}: {matrix.place} holds {counted(number, 'count')} that "
        f"{'is' if number == 1 else 'are'} not whole among {counted(len(entries.counts), 'count')} looked at "
        f"(gene '{gene}' in cell '{brief(matrix.cell_ids(cell, cell + 1)[0])}' has "
        f"{entries.counts[example]:.6g}): {hint} {ALLOW_NON_INTEGER} takes them as they are"
    )
    raise InputError(message, kind="fractional counts")


def _gene_of(selection: GeneSelection, entries: Entries, entry: int) -> str:
    """Return the gene that an entry counts for."""
    row = int(np.searchsorted(np.cumsum(entries.lengths), entry, side="right"))
    return str(selection.genes[selection.gene_of_row[row]])


def _check_totals(matrix: CountMatrix, options: ReadOptions, n_counts: Floats, cells: Int32s, cell_ids: Texts) -> None:
    """Reject a total that no cell with counts can have."""
    unusable = ~(np.isfinite(n_counts) & (n_counts > 0))
    if not unusable.any():
        return
    affected = np.flatnonzero(unusable & (np.bincount(cells, minlength=len(n_counts)) > 0))
    if len(affected):
        name = (
            "the sum of its counts"
            if options.compute_n_counts
            else f"{matrix.cell_attribute} '{options.names.n_counts}'"
        )
        message = (
            f"{matrix.location}: {name} must be above 0 and finite for every passing cell that has counts; "
            f"it is {n_counts[affected[0]]:g} for cell '{brief(cell_ids[affected[0]])}' "
            f"({counted(len(affected), 'such cell')})"
        )
        raise InputError(message, kind="impossible totals")


def _by_gene(
    selection: GeneSelection, entries: Entries, n_counts: Floats, target_sum: float, taken: Flags
) -> tuple[GeneValues, Int32s, Int32s]:
    """Put row-major entries in gene order, sum the rows of one gene per cell, and normalise.

    Returns the values of all genes of the selection, their cells, numbered among the `taken` ones, and the genes with a
    value of each of these.
    """
    from median_spark.matrices.loops.dense import normalise_by_gene  # numba takes half a second: only who reads waits

    cells, values = np.empty(len(entries.cells), dtype=np.int32), np.empty(len(entries.cells), dtype=np.float64)
    lengths = np.zeros(len(selection.genes), dtype=np.int64)
    numbers = np.cumsum(taken, dtype=np.int32) - np.int32(1)
    n_genes = np.zeros(np.count_nonzero(taken), dtype=np.int32)
    filled, smallest = normalise_by_gene(
        np.argsort(selection.gene_of_row, kind="stable"),
        selection.gene_of_row,
        np.cumsum(entries.lengths) - entries.lengths,
        entries.lengths,
        entries.cells,
        entries.counts,
        n_counts,
        target_sum,
        numbers,
        cells,
        values,
        lengths,
        n_genes,
    )
    cells, values = cells[:filled], values[:filled]
    if smallest == 0:  # so small a quotient that float64 has only 0 for it
        kept = values > 0
        lengths = np.diff(np.concatenate([[0], np.cumsum(kept)])[np.cumsum(lengths)], prepend=0)
        values, cells = values[kept], cells[kept]
        n_genes = np.bincount(cells, minlength=len(n_genes)).astype(np.int32)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    return GeneValues(selection.genes, offsets, values, cells), cells, n_genes
