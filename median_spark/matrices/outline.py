"""Inspecting a matrix without reading its counts: what would be taken, its units of cells, what seems wrong."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from median_spark.errors import counted
from median_spark.gene_values import GeneValues
from median_spark.genes import GeneSelection, RowCounts, coverage_warning, spelling_warnings
from median_spark.guard import beat
from median_spark.matrices.cell_columns import ALL_COLUMNS, CellColumns, KeptColumns, kept_columns
from median_spark.matrices.cell_filter import passing_cells, ranges_of_cells, require_passing
from median_spark.matrices.chosen_cells import listed_in
from median_spark.matrices.contract import CountMatrix, Entries, Flags, Floats, Ints, Texts
from median_spark.matrices.layouts import AppliedLayout, layout_warnings, open_source
from median_spark.matrices.options import ReadOptions
from median_spark.matrices.units import Unit, read_unit, refuse_fractions, select_rows
from median_spark.options import COMPUTE_N_COUNTS

UNIT_ENTRIES = 20_000_000
"""Entries of chosen genes that a unit should hold at most: 20 bytes each in a worker while they are put in order."""

UNIT_CELLS = 250_000
"""Cells of a unit at most, however few entries they have: a worker holds their ids, totals and attributes."""

_SAMPLED_CELLS = 16
"""Cells, at least, that are looked at before a source is converted: their totals, and how many entries they have."""

_MARGIN = 1.25
"""Factor by which a unit may exceed the estimate; a worker's memory has room for it."""


@dataclass(frozen=True)
class SourceOutline:
    """Facts about a matrix that do not need its counts.

    `genes` are those that its rows make, ascending. `warnings` name what is likely to be wrong but can be converted.
    `median_n_counts` is that of the passing cells, None where totals are summed only when the counts are read.
    `layout` is what was recognised, and `options` are completed by it. `listed` are the places in the list of cells, if
    there is one, of those that the matrix has, ascending, each once. `kept` is what the table of its cells has.
    """

    rows: int
    cells: int
    cells_passed: int
    genes: Texts
    row_counts: RowCounts
    units: tuple[Unit, ...]
    warnings: tuple[str, ...]
    median_n_counts: float | None
    options: ReadOptions
    layout: AppliedLayout | None = None
    listed: Ints | None = None
    kept: KeptColumns = field(default_factory=KeptColumns)


def outline(
    matrix: CountMatrix,
    options: ReadOptions,
    unit_entries: int = UNIT_ENTRIES,
    layout: AppliedLayout | None = None,
    selection: GeneSelection | None = None,
    cell_columns: CellColumns = ALL_COLUMNS,
) -> SourceOutline:
    """Look at everything but the counts, and reject what cannot be converted; units hold at most `unit_entries`.

    The options are those that the layout has completed; see `median_spark.matrices.layouts.open_source`. `selection` is
    what `select_rows` returns, if that is known already; `cell_columns` are the attributes to keep of each cell.

    InputError if an attribute is missing, of the wrong length or not numeric, no cell passes, or no gene is selected.
    """
    selection = selection or select_rows(matrix, options)
    passed = passing_cells(matrix, options)
    require_passing(matrix, options, passed)
    sample = _look(matrix, selection.rows, passed, summed=not options.compute_n_counts)
    matrix.cell_ids(sample.first, sample.last)
    if not options.allow_non_integer:
        refuse_fractions(matrix, selection, sample.entries, sample.first)
    warnings = [
        *(matrix.warnings() if layout is None or "layer" not in layout.implied else ()),
        *layout_warnings(matrix, layout.name if layout is not None else None, passed),
        coverage_warning(
            selection.row_counts,
            matrix.gene_ids,
            options.gene_table,
            options.gene_map,
            strip_version=options.strip_version,
        ),
        *spelling_warnings(selection.row_counts, selection.genes, options.gene_table),
        None if sample.totals is None else _totals_warning(matrix, sample, passed, sample.totals, options),
    ]
    kept = kept_columns(matrix, cell_columns)  # after the warnings, which are of what else was read
    return SourceOutline(
        rows=matrix.shape[0],
        cells=matrix.shape[1],
        cells_passed=int(passed.sum()),
        genes=selection.genes,
        row_counts=selection.row_counts,
        units=_cut(matrix, len(selection.rows), passed, sample, unit_entries),
        warnings=(*(warning for warning in warnings if warning is not None), *kept.warnings),
        median_n_counts=None if options.compute_n_counts else _median_total(matrix, passed),
        options=options,
        layout=layout,
        listed=listed_in(matrix, options.cell_list) if options.cell_list is not None else None,
        kept=kept,
    )


def outline_of(
    location: str,
    options: ReadOptions,
    unit_entries: int = UNIT_ENTRIES,
    cell_columns: CellColumns = ALL_COLUMNS,
) -> SourceOutline:
    """Open a matrix and outline it; see `outline`. Damaged files may hang or crash this: call it by `read_guarded`."""
    with open_source(location, options) as source:
        beat()
        return outline(source.matrix, source.options, unit_entries, source.layout, cell_columns=cell_columns)


def outline_and_values(
    location: str,
    options: ReadOptions,
    unit_entries: int = UNIT_ENTRIES,
    cell_columns: CellColumns = ALL_COLUMNS,
) -> tuple[SourceOutline, tuple[GeneValues, pa.Table] | None]:
    """Open a matrix once, to outline it and, if it is one unit, to read that, too; see `outline` and `read_unit`.

    Damaged files may hang or crash this: call it by `read_guarded`.
    """
    with open_source(location, options) as source:
        beat()
        selection = select_rows(source.matrix, source.options)
        found = outline(source.matrix, source.options, unit_entries, source.layout, selection, cell_columns)
        beat()
        if len(found.units) > 1:
            return found, None
        return found, read_unit(source.matrix, selection, found.units[0], source.options, found.kept)


def _median_total(matrix: CountMatrix, passed: Flags) -> float | None:
    """Return the median of the finite totals of passing cells; others are rejected where counts are read."""
    totals = np.empty(int(np.count_nonzero(passed)))
    kept = 0
    for first, last in ranges_of_cells(0, len(passed)):
        some = matrix.n_counts(first, last)[passed[first:last]]
        finite = some[np.isfinite(some)]
        totals[kept : kept + len(finite)] = finite
        kept += len(finite)
    return float(np.median(totals[:kept], overwrite_input=True)) if kept else None


@dataclass(frozen=True)
class _Sample:
    """The cells ``first <= cell < last``, the entries of those that pass, and, if asked for, their totals."""

    first: int
    last: int
    entries: Entries
    totals: Floats | None


def _look(matrix: CountMatrix, rows: Ints, passed: Flags, *, summed: bool) -> _Sample:
    """Read whole tiles of cells around the middle of those that pass: some rows or, where totals are wanted, all."""
    numbers = np.flatnonzero(passed)
    tile = matrix.cells_per_tile()
    first = int(numbers[len(numbers) // 2]) // tile * tile
    last = min(first + max(tile, _SAMPLED_CELLS), matrix.shape[1])
    taken = passed[first:last]
    if not summed:
        return _Sample(first, last, matrix.entries(rows, first, last, taken), None)
    chosen = np.zeros(matrix.shape[0], dtype=np.bool_)
    chosen[rows] = True
    every = matrix.entries(np.arange(matrix.shape[0]), first, last, taken)
    return _Sample(first, last, every.only(chosen), every.totals(last - first)[taken])


def _totals_warning(
    matrix: CountMatrix, sample: _Sample, passed: Flags, totals: Floats, options: ReadOptions
) -> str | None:
    """Compare n_counts with the matrix's own column sums in the sampled cells that pass; warn if they contradict."""
    first = sample.first
    sampled = np.flatnonzero(passed[first : sample.last])
    declared = matrix.n_counts(first, sample.last)[sampled]
    with np.errstate(invalid="ignore"):  # infinite counts are refused where they are read, by gene and cell
        apart = ~(np.abs(totals - declared) <= np.maximum(0.5, 1e-5 * np.abs(totals)))
    if not apart.any():
        return None
    worst = int(np.flatnonzero(apart)[0])
    cause = (
        "rows may have been removed from the matrix since, or it counts something else"
        if declared[worst] > totals[worst]
        else "it may count only some of the rows"
    )
    return (
        f"{matrix.cell_attribute} '{options.names.n_counts}' contradicts the matrix's own column sums in "
        f"{int(apart.sum()):,} of {counted(len(sampled), 'cell')} looked at "
        f"(cell number {first + int(sampled[worst]):,}: {declared[worst]:,g} against {totals[worst]:,g}): {cause}, "
        f"or the matrix may hold normalised values and not counts; if it holds counts, {COMPUTE_N_COUNTS} sums them"
    )


def _cut(matrix: CountMatrix, rows: int, passed: Flags, sample: _Sample, entries: int) -> tuple[Unit, ...]:
    """Cut the cells into units of whole tiles that fit a worker's memory, of at most `entries` that are not zero.

    A unit has at most `UNIT_CELLS` cells and less than a tile more. The number of entries is estimated from the sample,
    by the bytes that it and all cells take in the file.
    """
    cells = matrix.shape[1]
    share = matrix.stored_bytes(0, cells) / max(1, matrix.stored_bytes(sample.first, sample.last))
    estimate = min(rows * int(passed.sum()), int(len(sample.entries.cells) * share * _MARGIN))
    wanted = max(1, -(-estimate // entries), -(-cells // UNIT_CELLS))
    tile = matrix.cells_per_tile()
    width = -(-cells // (wanted * tile)) * tile
    return tuple(Unit(number, begin, min(begin + width, cells)) for number, begin in enumerate(range(0, cells, width)))
