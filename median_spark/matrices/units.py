"""From a count matrix of any format to GeneRuns: selection, checks, normalisation, one unit of cells at a time.

value = count / n_counts[cell] * target_sum, in float64 and in that order, for the cells that pass and the genes chosen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, counted
from median_spark.genes import GeneSelection, select_genes
from median_spark.matrices.counts import CountMatrix, ReadOptions
from median_spark.runs import GeneRuns, segment_indices


@dataclass(frozen=True)
class Unit:
    """A range of cells of one source, converted by one task.

    Attributes
    ----------
    number : int
        Its place among the source's units.
    first, last : int
        The cells ``first <= cell < last``.
    """

    number: int
    first: int
    last: int


def select_rows(matrix: CountMatrix, options: ReadOptions) -> GeneSelection:
    """Return which rows of a matrix make which genes; see `median_spark.genes.select_genes`."""
    return select_genes(matrix.location, matrix.gene_ids(), matrix.gene_types(), options.gene_table, options.gene_types)


def passing_cells(matrix: CountMatrix, options: ReadOptions) -> npt.NDArray[np.bool_]:
    """Return which cells are taken, shape (cells,)."""
    if not options.cell_filter:
        return np.ones(matrix.shape[1], dtype=np.bool_)
    return np.asarray(matrix.filter_pass() == 1, dtype=np.bool_)


def read_unit(
    matrix: CountMatrix, selection: GeneSelection, unit: Unit, options: ReadOptions
) -> tuple[GeneRuns, npt.NDArray[np.str_]]:
    """Read a range of cells as normalised gene-major runs.

    Parameters
    ----------
    matrix : CountMatrix
        An open matrix.
    selection : GeneSelection
        Its rows, from `select_rows`.
    unit : Unit
        The cells.
    options : ReadOptions
        How to normalise.

    Returns
    -------
    GeneRuns
        All genes of the selection that have a value, cells counted from ``unit.first``.
    ndarray of str, shape (unit.last - unit.first,)
        The cells' ids.

    Raises
    ------
    InputError
        If a count is negative, NaN or infinite, or a cell with counts has an n_counts that is not above 0.
    """
    cell_ids = matrix.cell_ids()[unit.first : unit.last]
    taken = passing_cells(matrix, options)[unit.first : unit.last]
    lengths, cells, counts = _read_entries(matrix, selection, unit, taken, cell_ids)
    n_counts = (
        matrix.cell_totals(unit.first, unit.last)
        if options.compute_n_counts
        else matrix.n_counts()[unit.first : unit.last]
    )
    _check_totals(matrix, options, n_counts, cells, cell_ids)
    gene_lengths, cells, counts = _by_gene(selection, lengths, cells, counts)
    with np.errstate(over="ignore"):
        values = counts / n_counts[cells] * options.target_sum
    if not np.isfinite(values).all():
        cell = cell_ids[cells[np.flatnonzero(~np.isfinite(values))[0]]]
        message = (
            f"{matrix.location}: count / n_counts × {options.target_sum:g} of cell '{cell}' is too large for float64: "
            f"check column attribute '{options.names.n_counts}'"
        )
        raise InputError(message)
    if not values.all():  # so small a quotient that float64 has only 0 for it
        kept = values > 0
        ends = np.concatenate([[0], np.cumsum(kept)])[np.cumsum(gene_lengths)]
        gene_lengths = np.diff(ends, prepend=0)
        values, cells = values[kept], cells[kept]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(gene_lengths, dtype=np.int64)])
    return GeneRuns(selection.genes, offsets, values, cells).detected(), cell_ids


def _read_entries(
    matrix: CountMatrix,
    selection: GeneSelection,
    unit: Unit,
    taken: npt.NDArray[np.bool_],
    cell_ids: npt.NDArray[np.str_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Read the selected rows; return entries of each row, their cells, and their counts as float64."""
    lengths, cells, counts = [], [], []
    whole = (unit.first, unit.last) == (0, matrix.shape[1])
    bad = _BadCounts(matrix.location, "" if whole else f" among its cells {unit.first:,} to {unit.last - 1:,}")
    row = 0
    for block in matrix.nonzeros(selection.rows, unit.first, unit.last, taken):
        bad.look(block.counts, block.cells, block.lengths, selection, row, cell_ids)
        row += len(block.lengths)
        lengths.append(block.lengths)
        cells.append(block.cells)
        counts.append(block.counts.astype(np.float64))
    bad.refuse()
    none = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([none, *lengths]),
        np.concatenate([none.astype(np.int32), *cells]),
        np.concatenate([none.astype(np.float64), *counts]),
    )


class _BadCounts:
    """Counts the entries that no count matrix may hold, and remembers where the first one is."""

    def __init__(self, location: str, among: str) -> None:
        self._location = location
        self._among = among
        self._found = {"negative": 0, "NaN": 0, "infinite": 0}
        self._example = ""

    def look(
        self,
        counts: npt.NDArray[Any],
        cells: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int64],
        selection: GeneSelection,
        row: int,
        cell_ids: npt.NDArray[np.str_],
    ) -> None:
        if not len(counts) or (np.isfinite(low := counts.min()) and low > 0 and np.isfinite(counts.max())):
            return
        kinds = {"negative": counts < 0, "NaN": np.isnan(counts), "infinite": np.isinf(counts)}
        kinds["negative"] &= ~kinds["infinite"]
        for kind, where in kinds.items():
            self._found[kind] += int(where.sum())
            if where.any() and not self._example:
                entry = int(np.flatnonzero(where)[0])
                place = row + int(np.searchsorted(np.cumsum(lengths), entry, side="right"))
                gene = selection.genes[selection.gene_of_row[place]]
                self._example = f"gene '{gene}' in cell '{cell_ids[cells[entry]]}' has {counts[entry]}"

    def refuse(self) -> None:
        found = [f"{number:,} {kind}" for kind, number in self._found.items() if number]
        if found:
            total = sum(self._found.values())
            message = (
                f"{self._location}: the matrix holds {' and '.join(found)} {'count' if total == 1 else 'counts'}"
                f"{self._among} ({self._example}); counts must be finite and not below 0"
            )
            raise InputError(message)


def _check_totals(
    matrix: CountMatrix,
    options: ReadOptions,
    n_counts: npt.NDArray[np.float64],
    cells: npt.NDArray[np.int32],
    cell_ids: npt.NDArray[np.str_],
) -> None:
    """Refuse a total that no cell with counts can have."""
    unusable = ~(np.isfinite(n_counts) & (n_counts > 0))
    if not unusable.any():
        return
    affected = np.flatnonzero(unusable & (np.bincount(cells, minlength=len(n_counts)) > 0))
    if len(affected):
        name = "the sum of its counts" if options.compute_n_counts else f"column attribute '{options.names.n_counts}'"
        message = (
            f"{matrix.location}: {name} must be above 0 and finite for every passing cell that has counts; "
            f"it is {n_counts[affected[0]]:g} for cell '{cell_ids[affected[0]]}' "
            f"({counted(len(affected), 'such cell')})"
        )
        raise InputError(message)


def _by_gene(
    selection: GeneSelection,
    lengths: npt.NDArray[np.int64],
    cells: npt.NDArray[np.int32],
    counts: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Put row-major entries in gene order, and sum the rows of one gene per cell."""
    order = np.argsort(selection.gene_of_row, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        starts = np.cumsum(lengths) - lengths
        taken = segment_indices(starts[order], lengths[order])
        cells, counts = cells[taken], counts[taken]
        lengths = lengths[order]
    if len(selection.rows) == len(selection.genes):
        return lengths, cells, counts
    gene_of_entry = np.repeat(selection.gene_of_row[order], lengths)
    shared = np.bincount(selection.gene_of_row, minlength=len(selection.genes)) > 1
    return _sum_shared(len(selection.genes), gene_of_entry, shared, cells, counts)


def _sum_shared(
    genes: int,
    gene_of_entry: npt.NDArray[np.int64],
    shared: npt.NDArray[np.bool_],
    cells: npt.NDArray[np.int32],
    counts: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Sum the counts of one gene and cell where several rows make a gene; other entries stay as they are."""
    several = shared[gene_of_entry]
    width = int(cells.max()) + 1 if len(cells) else 1
    keys, place = np.unique(gene_of_entry[several] * width + cells[several].astype(np.int64), return_inverse=True)
    sums = np.bincount(place, weights=counts[several], minlength=len(keys))
    all_genes = np.concatenate([gene_of_entry[~several], keys // width])
    all_cells = np.concatenate([cells[~several], (keys % width).astype(np.int32)])
    all_counts = np.concatenate([counts[~several], sums])
    order = np.argsort(all_genes, kind="stable")
    lengths = np.bincount(all_genes, minlength=genes).astype(np.int64)
    return lengths, all_cells[order], all_counts[order]
