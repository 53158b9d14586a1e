"""The loops over dense tiles, against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.matrices.loops.dense import scatter

ODD = {"f4": [-0.0, np.nan, 1e-45], "f8": [-0.0, np.nan, 5e-324], "i4": [-1, 1 << 30], "u1": [255], "u2": [256]}


@pytest.mark.parametrize("dtype", sorted(ODD))
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 150)),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_appends_the_entries_that_are_not_zero_by_row_and_cell(dtype, shape, share, seed):
    rng = np.random.default_rng(seed)
    tiles, height, width = shape
    block = (rng.integers(1, 9, shape) * (rng.random(shape) < share)).astype(dtype)
    odd = rng.random(shape) < 0.02
    block[odd] = rng.choice(np.array(ODD[dtype], dtype=dtype), odd.sum())
    taken = rng.random(tiles * width + 5) < 0.8
    first_cell = 5 + width * np.arange(tiles)
    rows = np.flatnonzero(rng.random(height) < 0.7)
    cells, counts = np.zeros(block.size + 4, np.int32), np.zeros(block.size + 4, dtype)
    lengths = np.zeros(len(rows), np.int64)

    held = scatter(block, block.view(f"i{block.itemsize}"), first_cell, rows, taken, 2, 3, cells, counts, lengths)

    beside = block.transpose(1, 0, 2).reshape(height, tiles * width)[rows]  # the tiles beside each other
    place, cell = np.nonzero((beside != 0) & taken[5:])
    assert held == 3 + len(cell)
    np.testing.assert_array_equal(lengths, np.bincount(place, minlength=len(rows)))
    np.testing.assert_array_equal(cells[3:held], cell + 5 - 2)
    np.testing.assert_array_equal(counts[3:held], beside[place, cell])
