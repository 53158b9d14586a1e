"""The published histogram: its density is scipy's, and any counts can be drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from median_spark.results.plots import _density, detection_histogram


@pytest.mark.parametrize("most", [3, 200, 10**6, 5 * 10**8])
@pytest.mark.parametrize("undetected", [0.0, 0.9])
def test_the_density_is_scipys(most, undetected):
    rng = np.random.default_rng(most)
    counts = np.where(rng.random(3_000) < undetected, 0, most ** rng.random(3_000)).astype(np.int64)
    counts[0] = most
    places, found = _density(counts)
    expected = gaussian_kde(counts)(places)
    assert np.abs(found - expected).max() < 0.01 * expected.max()


@given(st.lists(st.integers(0, 5) | st.integers(0, 10**9), min_size=1, max_size=60))
def test_any_counts_are_drawn(counts):
    assert detection_histogram(np.array(counts), ["protein_coding"]).startswith(b"\x89PNG")
