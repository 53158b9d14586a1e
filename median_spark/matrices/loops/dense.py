"""Loops over single entries, compiled by numba: what no vectorised call does in one pass.

Only tasks that read counts import this, for numba takes half a second to import.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from median_spark.matrices.contract import Bytes, Flags, Floats, Int32s, Ints, Numbers
from median_spark.matrices.loops.jit import compiled


@intrinsic  # type: ignore[untyped-decorator]
def _zlib_decompress(
    _: Any, function: Any, decompressor: Any, source: Any, size: Any, target: Any, room: Any
) -> tuple[Any, Any]:
    """Call ``libdeflate_zlib_decompress(decompressor, source, size, target, room, NULL)`` by its address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        pointer = ir.FunctionType(ir.IntType(32), [word] * 6).as_pointer()
        return builder.call(builder.inttoptr(arguments[0], pointer), [*arguments[1:], ir.Constant(word, 0)])

    return types.int32(function, decompressor, source, size, target, room), generate


@compiled
def inflate_all(
    function: int, decompressor: int, stored: Bytes, offsets: Ints, sizes: Ints, slots: Ints, tiles: Bytes
) -> int:
    """Inflate zlib streams as `median_spark.matrices.hdf5.tiles.inflate_tiles` does.

    `function` and `decompressor` are the addresses of ``libdeflate_zlib_decompress`` and of its first argument. Returns
    the number of the first stream that does not fill its tile, -1 if all do.
    """
    step = tiles.shape[1]
    source, target = np.int64(stored.ctypes.data), np.int64(tiles.ctypes.data)
    for number in range(len(offsets)):
        result = _zlib_decompress(
            np.int64(function),
            np.int64(decompressor),
            source + offsets[number],
            np.int64(sizes[number]),
            target + slots[number] * step,
            np.int64(step),
        )
        if result != 0:
            return number
    return -1


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _not_zero(_: Any, address: Any, like: Any, lanes: Any) -> tuple[Any, Any]:
    """Return which of so many integers of the type of `like` at an address are not 0, the first one in the lowest bit.

    The number of `lanes` is a constant, at most 64.
    """
    vector = ir.VectorType(ir.IntType(like.bitwidth), lanes.literal_value)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        integers = builder.load(builder.inttoptr(arguments[0], vector.as_pointer()), align=1)
        differ = builder.icmp_unsigned("!=", integers, ir.Constant(vector, None))
        bits = builder.bitcast(differ, ir.IntType(lanes.literal_value))
        return builder.zext(bits, ir.IntType(64)) if lanes.literal_value < 64 else bits

    return types.uint64(address, like, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def _lowest(_: Any, bits: Any) -> tuple[Any, Any]:
    """Return the place of the lowest bit that is set, of at least one."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@compiled
def scatter(
    block: Numbers,
    bits: Numbers,
    first_cell: Ints,
    rows: Ints,
    taken: Flags,
    shift: int,
    filled: int,
    cells: Int32s,
    counts: Numbers,
    lengths: Ints,
) -> int:
    """Append the non-zero entries of some rows of a block of tiles, by row and cell; return how many are held now.

    `block` has the shape (tiles, rows of a tile, cells of a tile), NaN and negative counts included, and `bits` is the
    same memory as integers. `first_cell` is the place of each tile's first cell in `taken`, which says what cells to
    take; `shift` is subtracted from a cell's place there. `rows` are numbers within the block. `cells` and `counts`
    hold `filled` entries already, and have room for all of the block's and one more. `lengths` receives the entries of
    each row.
    """
    tiles, _, width = block.shape
    memory, size = np.int64(bits.ctypes.data), bits.itemsize
    for number in range(len(rows)):
        row = rows[number]
        begun = filled
        for tile in range(tiles):
            first = first_cell[tile]
            group = 0
            while group < width:
                # Most entries of sparse data are 0: those that are not are found by a few comparisons of many at once.
                address = memory + tile * bits.strides[0] + row * bits.strides[1] + group * size
                if width - group >= 64:
                    lanes, found = 64, _not_zero(address, bits[tile, row, group], 64)
                elif width - group >= 8:
                    lanes, found = 8, _not_zero(address, bits[tile, row, group], 8)
                else:
                    lanes, found = 1, np.uint64(bits[tile, row, group] != 0)
                while found:
                    column = group + np.int64(_lowest(found))
                    found &= found - np.uint64(1)
                    count = block[tile, row, column]
                    cells[filled] = first + column - shift
                    counts[filled] = count
                    filled += (count != 0) & taken[first + column]  # a 0 may have a sign, and so a bit
                group += lanes
        lengths[number] = filled - begun
    return filled


@compiled
def add_totals(block: Numbers, first_cell: Ints, totals: Floats) -> None:
    """Add every row of a block of tiles to the totals of its cells, one row after the other."""
    tiles, rows, width = block.shape
    for tile in range(tiles):
        first = first_cell[tile]
        for row in range(rows):
            for column in range(width):
                totals[first + column] += block[tile, row, column]


@compiled
def normalise_by_gene(
    order: Ints,
    gene_of_row: Ints,
    starts: Ints,
    lengths: Ints,
    cells: Int32s,
    counts: Numbers,
    n_counts: Floats,
    target_sum: float,
    numbers: Int32s,
    gene_cells: Int32s,
    values: Floats,
    gene_lengths: Ints,
    detected: Int32s,
) -> tuple[int, float]:
    """Put the entries of rows in gene order, sum the rows of one gene per cell, and normalise.

    `order` has the rows by gene, those of one gene as they come; `gene_of_row`, `starts` and `lengths` tell the gene of
    each row and its entries, which are as `scatter` leaves them, counts finite and not below 0. `gene_cells` and
    `values` receive ``numbers[cell]`` and ``count / n_counts[cell] * target_sum`` by gene and then by cell;
    `gene_lengths` and `detected`, both zeros, the entries of each gene and of each of those numbers. Returns the number
    of values written, and the smallest.
    """
    sums = np.zeros(len(n_counts), dtype=np.float64)
    counted = np.zeros(len(n_counts), dtype=np.bool_)
    filled = 0
    smallest = np.inf
    at = 0
    while at < len(order):
        gene = gene_of_row[order[at]]
        after = at + 1
        while after < len(order) and gene_of_row[order[after]] == gene:
            after += 1
        begun = filled
        if after - at == 1:
            row = order[at]
            for entry in range(starts[row], starts[row] + lengths[row]):
                gene_cells[filled] = numbers[cells[entry]]
                values[filled] = counts[entry] / n_counts[cells[entry]] * target_sum
                filled += 1
        else:
            for place in range(at, after):
                row = order[place]
                for entry in range(starts[row], starts[row] + lengths[row]):
                    sums[cells[entry]] += counts[entry]
                    counted[cells[entry]] = True
            for cell in range(len(n_counts)):
                if counted[cell]:
                    gene_cells[filled] = numbers[cell]
                    values[filled] = sums[cell] / n_counts[cell] * target_sum
                    filled += 1
                    sums[cell] = 0.0
                    counted[cell] = False
        for entry in range(begun, filled):
            smallest = min(smallest, values[entry])
            detected[gene_cells[entry]] += 1
        gene_lengths[gene] = filled - begun
        at = after
    return filled, smallest
