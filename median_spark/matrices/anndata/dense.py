"""Dense matrices as AnnData writes them, cells × genes, read as entries of genes × cells."""

import numpy as np

from median_spark.matrices.anndata.nodes import Grid
from median_spark.matrices.contract import BYTES_PER_ENTRY, Entries, Flags, Floats, Ints
from median_spark.matrices.hdf5.row_blocks import gather_entries
from median_spark.matrices.transpose import row_numbers, transposed


class Dense:
    """One dense matrix; one of `layers.Storage`."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.shape: tuple[int, int] = self._grid.shape
        self.cells_per_tile = int(self._grid.tile[0])
        self.text = f"dense, {self._grid.text}"

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        genes = self.shape[1]
        numbers = np.flatnonzero(taken)
        wanted = np.zeros(genes, dtype=np.bool_)
        wanted[rows] = True
        expected = min(int(self.stored_bytes(first, last) / BYTES_PER_ENTRY), len(rows) * len(numbers)) + 1
        blocks = self._grid.row_blocks(first + numbers, 0, genes, wanted)
        by_cell = gather_entries(blocks, self._grid.dtype, first + numbers, 0, wanted, expected)
        chosen = row_numbers(rows, genes)[by_cell.cells]
        lengths = np.bincount(chosen, minlength=len(rows)).astype(np.int64)
        return transposed(numbers, np.cumsum(by_cell.lengths), chosen, by_cell.counts, lengths)

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows."""
        from median_spark.matrices.loops.sparse import add_row_totals  # numba takes half a second

        totals = np.zeros(last - first, dtype=np.float64)
        for block in self._grid.row_blocks(np.arange(first, last), 0, self.shape[1]):
            begin, end = max(block.start, first), min(block.stop, last)
            tiles = block.tiles[:, begin - block.start : end - block.start]
            add_row_totals(tiles, self.shape[1], totals[begin - first : end - first])
        return totals

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, with the tiles that they reach into."""
        return self._grid.stored_bytes(0, first, last)

    def close(self) -> None:
        """Nothing stays open."""
