"""The depth of a source: the median total of its passing cells, known before counts are read."""

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark.matrices import AttributeNames, ReadOptions, open_matrix, outline


def depth(path, **options):
    with open_matrix(path, AttributeNames()) as matrix:
        return outline(matrix, ReadOptions(**options)).median_n_counts


@pytest.fixture
def counts():
    return random_counts(np.random.default_rng(0), 30, 41, density=0.5)


def test_is_the_median_over_passing_cells(tmp_path, counts):
    passed = np.arange(41) % 3 > 0
    path = write_loom(tmp_path / "a.loom", counts, filter_pass=passed.astype(int))
    totals = counts.sum(axis=0)
    assert depth(path) == np.median(totals[passed])
    assert depth(path, cell_filter=False) == np.median(totals) != np.median(totals[passed])


def test_passes_over_totals_that_are_no_numbers(tmp_path, counts):
    counts[:, :2] = 0
    totals = counts.sum(axis=0).astype(float)
    totals[:2] = (np.nan, np.inf)
    assert depth(write_loom(tmp_path / "a.loom", counts, n_counts=totals)) == np.median(totals[2:])


def test_is_not_known_where_totals_are_summed_later(tmp_path, counts):
    assert depth(write_loom(tmp_path / "a.loom", counts, n_counts=None), compute_n_counts=True) is None
