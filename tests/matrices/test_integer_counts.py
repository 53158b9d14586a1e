"""Counts are whole numbers, but for what float arithmetic has rounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.matrices.integer_counts import first_fraction, fractions


@pytest.mark.parametrize("dtype", ["i1", "u8", "f4", "f8"])
def test_whole_numbers_of_every_type_are_whole(dtype):
    assert first_fraction(np.arange(100).astype(dtype)) == -1


@given(st.integers(1, 2**20), st.floats(1, 1e5), st.sampled_from(["f4", "f8"]))
def test_a_count_that_was_normalised_and_multiplied_back_in_float32_is_whole(count, total, dtype):
    value = np.float32(count) / np.float32(total)
    assert first_fraction(np.array([value * np.float32(total)], dtype)) == -1


@given(st.integers(0, 1000), st.floats(0.01, 0.99), st.sampled_from(["f4", "f8"]), st.integers(0, 200_000))
def test_a_fraction_is_found_wherever_it_stands(whole, part, dtype, place):
    counts = np.ones(200_001, dtype)
    counts[place] = whole + part
    assert first_fraction(counts) == place
    assert np.flatnonzero(fractions(counts)).tolist() == [place]


def test_only_nothing_passes_for_nothing():
    assert fractions(np.array([0.0, 1e-300, 1e-7, 1 + 1e-7, 0.5])).tolist() == [False, True, True, False, True]


def test_what_is_not_a_number_or_below_0_is_left_to_others():
    assert first_fraction(np.array([np.nan, np.inf, -np.inf, -1.5, 2.0])) == -1
