"""Loops over the entries of sparse matrices, compiled by numba: choosing, checking, and transposing.

Only tasks that read counts import this, for numba takes half a second to import.
"""

import numpy as np
import numpy.typing as npt

from median_spark.matrices.contract import Flags, Floats, Int32s, Ints, Numbers
from median_spark.matrices.loops.jit import compiled


@compiled
def choose(
    columns: Numbers,
    counts: Numbers,
    begin: int,
    indptr: Ints,
    line: int,
    wanted: Flags,
    row_of_column: Int32s,
    rows: int,
    filled: int,
    held_rows: Int32s,
    held_counts: Numbers,
    ends: Ints,
    lengths: Ints,
) -> tuple[int, int, int]:
    """Append the non-zero entries of the chosen columns, from a stretch of a matrix stored line by line.

    `columns` and `counts` are the stretch; its first entry has the number `begin` in `indptr`, which ascends, and is in
    `line` or after it. `wanted` says which lines to take, and `row_of_column` which row a column becomes, `rows` if it
    is not chosen. `held_rows` and `held_counts` hold `filled` entries already, and have room for the stretch and one
    more. `ends` receives how many entries are held at the end of each line that the stretch touches; the entries of
    each row are added to `lengths`, which has one more place for columns that are not chosen.

    Returns how many entries are held now, the line of the stretch's end, and the place in the stretch of the first
    column that does not exist, -1 if all do.
    """
    entry = begin
    stop = begin + len(columns)
    limit = np.uint64(len(row_of_column))
    while entry < stop:
        while indptr[line + 1] <= entry:
            line += 1
            ends[line] = filled
        upto = min(stop, indptr[line + 1])
        if wanted[line]:
            for place in range(entry - begin, upto - begin):
                column = columns[place]
                if np.uint64(column) >= limit:
                    return filled, line, place
                row = row_of_column[column]
                count = counts[place]
                held_rows[filled] = row
                held_counts[filled] = count
                there = count != 0
                lengths[row] += there
                filled += there & (row < rows)
        ends[line] = filled
        entry = upto
    return filled, line, -1


@compiled
def transpose(
    numbers: Ints, ends: Ints, rows: Int32s, counts: Numbers, lengths: Ints, pairs: npt.NDArray[np.void]
) -> bool:
    """Put entries that are held cell by cell in the order of rows, and then of cells.

    Line i is cell ``numbers[i]``, ascending, and its entries in `rows` and `counts` end at ``ends[i]``; these two lists
    receive the cells and counts. `lengths` counts the entries of each row. `pairs`, with fields cell and count, is room
    for all entries: each goes to another place, which costs one line of the cache and not two. Returns whether a cell
    has several entries of one row; they are neighbours.
    """
    at = np.cumsum(lengths) - lengths
    entry = 0
    for line in range(len(numbers)):
        cell = np.int32(numbers[line])
        while entry < ends[line]:
            place = at[rows[entry]]
            pairs[place]["cell"] = cell
            pairs[place]["count"] = counts[entry]
            at[rows[entry]] = place + 1
            entry += 1
    repeated = False
    entry = 0
    for row in range(len(lengths)):
        before = np.int32(-1)
        for place in range(entry, entry + lengths[row]):
            cell = pairs[place]["cell"]
            repeated |= cell == before
            rows[place] = cell
            counts[place] = pairs[place]["count"]
            before = cell
        entry += lengths[row]
    return repeated


@compiled
def choose_cells(
    cells: Numbers,
    counts: Numbers,
    begin: int,
    indptr: Ints,
    line: int,
    row_of_line: Int32s,
    rows: int,
    first: int,
    taken: Flags,
    filled: int,
    held_cells: Int32s,
    held_counts: Numbers,
    lengths: Ints,
) -> tuple[int, int]:
    """Append the non-zero entries of some cells, from a stretch of a matrix stored gene by gene.

    As `choose`, but a line is a gene and becomes the row `row_of_line`; `cells` all exist. Those in `taken` are taken,
    which begins with the cell `first`, from which they are counted. Returns how many entries are held now, and the line
    of the stretch's end.
    """
    entry = begin
    stop = begin + len(cells)
    last = first + len(taken)
    while entry < stop:
        while indptr[line + 1] <= entry:
            line += 1
        upto = min(stop, indptr[line + 1])
        row = row_of_line[line]
        if row < rows:
            begun = filled
            for place in range(entry - begin, upto - begin):
                cell = cells[place]
                if first <= cell < last and taken[cell - first] and counts[place] != 0:
                    held_cells[filled] = cell - first
                    held_counts[filled] = counts[place]
                    filled += 1
            lengths[row] += filled - begun
        entry = upto
    return filled, line


@compiled
def disorder(lengths: Ints, cells: Int32s) -> tuple[bool, bool]:
    """Say whether the cells of some row descend, and whether neighbours are the same."""
    descends = False
    repeated = False
    entry = 0
    for row in range(len(lengths)):
        stop = entry + lengths[row]
        for place in range(entry + 1, stop):
            descends |= cells[place] < cells[place - 1]
            repeated |= cells[place] == cells[place - 1]
        entry = stop
    return descends, repeated


@compiled
def add_line_totals(counts: Numbers, begin: int, indptr: Ints, line: int, first: int, totals: Floats) -> int:
    """Add a stretch of a matrix stored by cell to the totals of its cells, as they come; return its last line.

    The stretch is as in `choose`; `first` is the line of the first total.
    """
    entry = begin
    stop = begin + len(counts)
    while entry < stop:
        while indptr[line + 1] <= entry:
            line += 1
        upto = min(stop, indptr[line + 1])
        total = totals[line - first]
        for place in range(entry - begin, upto - begin):
            total += counts[place]
        totals[line - first] = total
        entry = upto
    return line


@compiled
def add_chosen_totals(
    columns: Numbers, counts: Numbers, begin: int, indptr: Ints, line: int, first: int, chosen: Flags, totals: Floats
) -> tuple[int, int]:
    """Do as `add_line_totals` for the chosen columns.

    Returns the line of the stretch's end, and the place in it of the first column that does not exist, -1 if all do.
    """
    entry = begin
    stop = begin + len(counts)
    limit = np.uint64(len(chosen))
    while entry < stop:
        while indptr[line + 1] <= entry:
            line += 1
        upto = min(stop, indptr[line + 1])
        total = totals[line - first]
        for place in range(entry - begin, upto - begin):
            column = columns[place]
            if np.uint64(column) >= limit:
                return line, place
            if chosen[column]:
                total += counts[place]
        totals[line - first] = total
        entry = upto
    return line, -1


@compiled
def add_cell_totals(cells: Numbers, counts: Numbers, first: int, totals: Floats) -> None:
    """Add a stretch of a matrix stored by gene to the totals of the cells from `first` on, as they come."""
    last = first + len(totals)
    for place in range(len(cells)):
        cell = cells[place]
        if first <= cell < last:
            totals[cell - first] += counts[place]


@compiled
def add_row_totals(tiles: Numbers, columns: int, totals: Floats) -> None:
    """Add rows of tiles that stand side by side to their totals, each from left to right.

    `tiles` has the shape (tiles, rows, columns of a tile); the last may reach beyond the `columns` that mean something.
    """
    width = tiles.shape[2]
    for row in range(len(totals)):
        total = totals[row]
        for tile in range(tiles.shape[0]):
            for column in range(min(width, columns - tile * width)):
                total += tiles[tile, row, column]
        totals[row] = total


@compiled
def choose_coordinates(
    cells: Ints,
    genes: Ints,
    counts: Numbers,
    first_cell: int,
    cell_of: Int32s,
    last_cell: int,
    first_gene: int,
    row_of: Int32s,
    rows: int,
    filled: int,
    held_cells: Int32s,
    held_rows: Int32s,
    held_counts: Numbers,
    row_lengths: Ints,
) -> tuple[int, int]:
    """Append the non-zero entries of chosen cells and genes, from entries that come in any order.

    The cell called `first_cell` is ``cell_of[0]``, the next ``cell_of[1]``, and so on: -1 if there is none of that
    number, `last_cell` if it is not chosen; `row_of` likewise, with `rows` for genes that are not chosen. The held
    arrays have `filled` entries already, and room for these and one more; those of each row are added to `row_lengths`,
    which has one more place for what is not chosen. Returns how many entries are held now, and the place of the first
    entry whose cell or gene does not exist, -1 if all do.
    """
    cells_end, genes_end = np.uint64(len(cell_of)), np.uint64(len(row_of))
    for place in range(len(cells)):
        number = np.uint64(cells[place] - first_cell)
        gene = np.uint64(genes[place] - first_gene)
        if number >= cells_end or gene >= genes_end:
            return filled, place
        cell, row, count = cell_of[number], row_of[gene], counts[place]
        if cell < 0 or row < 0:
            return filled, place
        kept = (count != 0) & (row < rows) & (cell < last_cell)
        held_cells[filled] = cell
        held_rows[filled] = row
        held_counts[filled] = count
        row_lengths[row] += kept
        filled += kept
    return filled, -1


@compiled
def transpose_coordinates(
    cells: Int32s, rows: Int32s, counts: Numbers, lengths: Ints, pairs: npt.NDArray[np.void]
) -> tuple[bool, bool]:
    """Put entries in the order of rows, those of one row as they come.

    `cells` and `counts` receive them; `lengths` and `pairs` are as in `transpose`. Returns whether the cells of some
    row descend, and whether neighbours are the same.
    """
    at = np.cumsum(lengths) - lengths
    for entry in range(len(cells)):
        place = at[rows[entry]]
        pairs[place]["cell"] = cells[entry]
        pairs[place]["count"] = counts[entry]
        at[rows[entry]] = place + 1
    descends = False
    repeated = False
    entry = 0
    for row in range(len(lengths)):
        before = np.int32(-1)
        for place in range(entry, entry + lengths[row]):
            cell = pairs[place]["cell"]
            descends |= cell < before
            repeated |= cell == before
            cells[place] = cell
            counts[place] = pairs[place]["count"]
            before = cell
        entry += lengths[row]
    return descends, repeated


@compiled
def order_by_cell(
    cells: Int32s, rows: Int32s, counts: Numbers, ends: Ints, new_rows: Int32s, new_counts: Numbers
) -> None:
    """Put entries in the order of cells, those of one cell as they come; `ends` says where each cell's entries end."""
    at = np.zeros(len(ends), dtype=np.int64)
    at[1:] = ends[:-1]
    for entry in range(len(cells)):
        place = at[cells[entry]]
        new_rows[place] = rows[entry]
        new_counts[place] = counts[entry]
        at[cells[entry]] = place + 1
