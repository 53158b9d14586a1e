"""Putting entries that are stored by cell in the order of genes."""

import numpy as np

from median_spark.matrices.contract import Entries, Int32s, Ints, Numbers


def row_numbers(rows: Ints, genes: int) -> Int32s:
    """Return the place in `rows` of each gene of a matrix, ``len(rows)`` where it is not among them."""
    numbers = np.full(genes, len(rows), dtype=np.int32)
    numbers[rows] = np.arange(len(rows), dtype=np.int32)
    return numbers


def transposed(numbers: Ints, ends: Ints, rows: Int32s, counts: Numbers, lengths: Ints) -> Entries:
    """Return entries by row and then by cell; `rows` and `counts` are overwritten and returned.

    Line `i` holds the entries of cell ``numbers[i]``, ascending, up to ``ends[i]``; `rows` and `counts` are those of
    each entry, line by line; `lengths` counts the entries of each row.
    """
    from median_spark.matrices.loops.sparse import transpose  # numba takes half a second to import

    pairs = np.empty(len(rows), dtype=[("cell", np.int32), ("count", counts.dtype)])
    repeated = transpose(numbers, ends, rows, counts, lengths, pairs)
    return summed(Entries(lengths, rows, counts)) if repeated else Entries(lengths, rows, counts)


def summed(entries: Entries) -> Entries:
    """Return entries with those of one row and cell summed, as scipy does.

    Sums are float64, as those of small integers would overflow. Where a count is negative or not a number, all entries
    stay, so that the check of counts finds it.
    """
    if not np.all(entries.counts >= 0):
        return entries
    rows = np.repeat(np.arange(len(entries.lengths)), entries.lengths)
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows[1:] != rows[:-1]) | (entries.cells[1:] != entries.cells[:-1])
    # One after the other, as scipy does: reduceat adds the first to the sum of the others, which rounds differently.
    counts = np.bincount(np.cumsum(new) - 1, weights=entries.counts.astype(np.float64))
    return Entries(np.bincount(rows[new], minlength=len(entries.lengths)), entries.cells[new], counts)


def joined(parts: list[tuple[int, Entries]], rows: int) -> Entries:
    """Return the entries of ranges of cells that follow one another as those of one range.

    Each comes with the number of its first cell in that range, and has all `rows`.
    """
    if len(parts) == 1 and parts[0][0] == 0:
        return parts[0][1]
    lengths = np.zeros(rows, dtype=np.int64)
    for _, part in parts:
        lengths += part.lengths
    places = [np.repeat(np.arange(rows, dtype=np.int32), part.lengths) for _, part in parts]
    order = np.argsort(np.concatenate([np.empty(0, dtype=np.int32), *places]), kind="stable")
    cells = [part.cells + np.int32(first) for first, part in parts]
    counts = [part.counts for _, part in parts] or [np.empty(0, dtype=np.float32)]
    return Entries(lengths, np.concatenate([np.empty(0, dtype=np.int32), *cells])[order], np.concatenate(counts)[order])
