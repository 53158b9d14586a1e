"""A look at a matrix but for its counts: what would be taken, how its cells are cut into units, what seems wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.errors import counted
from median_spark.genes import RowCounts, coverage_warning, spelling_warnings
from median_spark.matrices.cell_filter import passing_cells, require_passing
from median_spark.matrices.contract import CountMatrix, Entries
from median_spark.matrices.options import ReadOptions
from median_spark.matrices.units import Unit, refuse_fractions, select_rows
from median_spark.options import COMPUTE_N_COUNTS

UNIT_ENTRIES = 20_000_000
"""Entries of chosen genes that a unit should hold at most: 20 bytes each in a worker while they are put in order."""

_SAMPLED_CELLS = 16
"""Cells, at least, that are looked at before a source is converted: their totals, and how many entries they have."""

_MARGIN = 1.25
"""By how much a unit may exceed what the cells looked at let expect; a worker's memory has room for it."""


@dataclass(frozen=True)
class SourceOutline:
    """What a look at a matrix tells without reading its counts.

    Attributes
    ----------
    rows, cells : int
        Shape of the matrix.
    cells_passed : int
        Cells that pass the filter.
    genes : ndarray of str, shape (genes,)
        The genes that its rows make, ascending.
    row_counts : RowCounts
        What became of its rows.
    units : tuple of Unit
        How its cells are cut.
    warnings : tuple of str
        What does not keep it from being converted, and is likely to be wrong.
    median_n_counts : float or None
        Median total count of the cells that pass; None where totals are summed only when the counts are read.
    """

    rows: int
    cells: int
    cells_passed: int
    genes: npt.NDArray[np.str_]
    row_counts: RowCounts
    units: tuple[Unit, ...]
    warnings: tuple[str, ...]
    median_n_counts: float | None


def outline(matrix: CountMatrix, options: ReadOptions, unit_entries: int = UNIT_ENTRIES) -> SourceOutline:
    """Look at everything but the counts, and refuse what cannot be converted.

    Parameters
    ----------
    matrix : CountMatrix
        An open matrix.
    options : ReadOptions
        What is chosen of it.
    unit_entries : int
        See `plan_units`.

    Raises
    ------
    InputError
        If an attribute is missing, of the wrong length or not numeric, no cell passes, or no gene is selected.
    """
    selection = select_rows(matrix, options)
    passed = passing_cells(matrix, options)
    require_passing(matrix, options, passed)
    sample = _look(matrix, selection.rows, passed)
    matrix.cell_ids(sample.first, sample.last)
    if not options.allow_non_integer:
        refuse_fractions(matrix, selection, sample.entries, sample.first)
    warnings = [
        *matrix.warnings(),
        coverage_warning(
            selection.row_counts,
            matrix.gene_ids(),
            options.gene_table,
            options.gene_map,
            strip_version=options.strip_version,
        ),
        *spelling_warnings(selection.row_counts, selection.genes, options.gene_table),
        None if options.compute_n_counts else _totals_warning(matrix, sample.first, sample.last, passed, options),
    ]
    return SourceOutline(
        rows=matrix.shape[0],
        cells=matrix.shape[1],
        cells_passed=int(passed.sum()),
        genes=selection.genes,
        row_counts=selection.row_counts,
        units=tuple(_cut(matrix, len(selection.rows), passed, sample, unit_entries)),
        warnings=tuple(warning for warning in warnings if warning is not None),
        median_n_counts=None if options.compute_n_counts else _median_total(matrix.n_counts()[passed]),
    )


def _median_total(n_counts: npt.NDArray[np.float64]) -> float | None:
    """Return the median of the totals that are numbers; those that are not are refused where counts are read."""
    finite = n_counts[np.isfinite(n_counts)]
    return float(np.median(finite)) if len(finite) else None


@dataclass(frozen=True)
class _Sample:
    """The cells ``first <= cell < last``, and the entries of those that pass."""

    first: int
    last: int
    entries: Entries


def _look(matrix: CountMatrix, rows: npt.NDArray[np.int64], passed: npt.NDArray[np.bool_]) -> _Sample:
    """Read a range of cells, whole tiles around the middle of those that pass."""
    numbers = np.flatnonzero(passed)
    tile = matrix.cells_per_tile()
    first = int(numbers[len(numbers) // 2]) // tile * tile
    last = min(first + max(tile, _SAMPLED_CELLS), matrix.shape[1])
    return _Sample(first, last, matrix.entries(rows, first, last, passed[first:last]))


def _totals_warning(
    matrix: CountMatrix, first: int, last: int, passed: npt.NDArray[np.bool_], options: ReadOptions
) -> str | None:
    """Compare n_counts with the matrix's own column sums in the sampled cells that pass; warn if they contradict."""
    n_counts = matrix.n_counts()
    sampled = np.flatnonzero(passed[first:last])
    totals, told = matrix.cell_totals(first, last)[sampled], n_counts[first:last][sampled]
    with np.errstate(invalid="ignore"):  # infinite counts are refused where they are read, by gene and cell
        apart = ~(np.abs(totals - told) <= np.maximum(0.5, 1e-5 * np.abs(totals)))
    if not apart.any():
        return None
    worst = int(np.flatnonzero(apart)[0])
    cause = (
        "rows may have been removed from the matrix since, or it counts something else"
        if told[worst] > totals[worst]
        else "it may count only some of the rows"
    )
    return (
        f"{matrix.cell_attribute} '{options.names.n_counts}' contradicts the matrix's own column sums in "
        f"{int(apart.sum()):,} of {counted(len(sampled), 'cell')} looked at "
        f"(cell number {first + int(sampled[worst]):,}: {told[worst]:,g} against {totals[worst]:,g}): {cause}, "
        f"or the matrix may hold normalised values and not counts; if it holds counts, {COMPUTE_N_COUNTS} sums them"
    )


def plan_units(
    matrix: CountMatrix, rows: npt.NDArray[np.int64], passed: npt.NDArray[np.bool_], entries: int = UNIT_ENTRIES
) -> Iterator[Unit]:
    """Cut the cells of a matrix into units of whole tiles that fit a worker's memory.

    Parameters
    ----------
    matrix : CountMatrix
        What to cut.
    rows : ndarray of int64
        The rows that are taken, ascending.
    passed : ndarray of bool, shape (cells,)
        The cells that are taken, at least one.
    entries : int
        Entries other than zero that a unit should hold at most.

    Notes
    -----
    The number of entries is estimated from those of a few cells, by the bytes that they and all cells take in the file.
    """
    yield from _cut(matrix, len(rows), passed, _look(matrix, rows, passed), entries)


def _cut(
    matrix: CountMatrix, rows: int, passed: npt.NDArray[np.bool_], sample: _Sample, entries: int
) -> Iterator[Unit]:
    cells = matrix.shape[1]
    share = matrix.stored_bytes(0, cells) / max(1, matrix.stored_bytes(sample.first, sample.last))
    estimate = min(rows * int(passed.sum()), int(len(sample.entries.cells) * share * _MARGIN))
    wanted = max(1, -(-estimate // entries))
    tile = matrix.cells_per_tile()
    width = -(-cells // (wanted * tile)) * tile
    for number, begin in enumerate(range(0, cells, width)):
        yield Unit(number, begin, min(begin + width, cells))
