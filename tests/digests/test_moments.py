"""Means and standard deviations: exact sums, the same bits whoever adds what, and as accurate as float64 allows."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.digests.moments import add_moments, mean_and_sd, mean_and_sd_of, packed_moments, unpack_moments
from median_spark.errors import DigestError

SMALLEST = 5e-324

positive = st.floats(min_value=SMALLEST, max_value=1e150, exclude_min=False)
like_expression = st.builds(lambda count, total: count / total * 10_000, st.integers(1, 500), st.integers(200, 90_000))
runs_of_values = st.lists(st.lists(positive | like_expression, min_size=1, max_size=40), min_size=1, max_size=8)


def joined(runs):
    """Return ascending runs as one array, and their offsets."""
    return np.concatenate([np.sort(run) for run in runs]), np.cumsum([0, *map(len, runs)])


def root(number):
    """Return the square root of a fraction, rounded from more digits than float64 has."""
    digits = 1 << 400
    return float(Fraction(_integer_root(number * digits * digits), digits))


def _integer_root(number):
    from math import isqrt

    return isqrt(int(number))


@given(runs_of_values)
def test_the_sums_are_exact(runs):
    for run, packed in zip(runs, packed_moments(*joined(runs)), strict=True):
        found, values = unpack_moments(packed), list(map(Fraction, run))
        assert found.total == sum(values) * 2**1074
        assert found.squares == sum(value * value for value in values) * 2**2148
        assert unpack_moments(found.pack()) == found


@given(runs_of_values)
def test_mean_and_deviation_are_rounded_once(runs):
    means, deviations = mean_and_sd(*joined(runs))
    for run, mean, deviation in zip(runs, means, deviations, strict=True):
        values = list(map(Fraction, run))
        exact = sum(values) / len(values)
        assert abs(Fraction(float(mean)) - exact) <= Fraction(float(np.spacing(mean)))
        if len(run) == 1:
            assert np.isnan(deviation)
        elif len(set(run)) == 1:
            assert deviation == 0
        else:
            variance = sum((value - exact) ** 2 for value in values) / (len(values) - 1)
            # The sums are exact; what is left of them after subtracting has as many digits fewer as they agree in.
            agreeing = float(variance / exact**2)
            if agreeing > 1e-20 and float(exact) > 1e-140:
                assert deviation == pytest.approx(root(variance), rel=1e-12)


@given(runs_of_values, st.integers(0, 2**32), st.integers(1, 5))
def test_the_bits_do_not_depend_on_who_adds_what(runs, seed, parts):
    rng = np.random.default_rng(seed)
    whole = mean_and_sd(*joined(runs))
    packed = []
    for run in runs:
        shuffled = rng.permutation(run)
        cuts = np.sort(rng.integers(0, len(run) + 1, parts - 1))
        pieces = [shuffled[low:high] for low, high in pairwise([0, *cuts.tolist(), len(run)]) if high > low]
        packed.append(add_moments(unpack_moments(packed_moments(*joined([piece]))[0]) for piece in pieces))
    n = np.array(list(map(len, runs)))
    constant = np.array([len(set(run)) == 1 for run in runs])
    merged = mean_and_sd_of(packed, n, constant)
    assert np.array_equal(merged[0], whole[0])
    assert np.array_equal(merged[1], whole[1], equal_nan=True)


def test_numpys_are_close():
    rng = np.random.default_rng(1)
    runs = [rng.integers(1, 30, size) / rng.integers(500, 40_000, size) * 10_000 for size in (2, 50, 3_000, 100_000)]
    means, deviations = mean_and_sd(*joined(runs))
    assert means == pytest.approx([np.mean(run) for run in runs], rel=1e-13)
    assert deviations == pytest.approx([np.std(run, ddof=1) for run in runs], rel=1e-11)


def test_of_nothing():
    assert packed_moments(np.zeros(0), np.zeros(1, dtype=np.int64)) == []
    assert [len(found) for found in mean_and_sd_of([], np.zeros(0, np.int64), np.zeros(0, np.bool_))] == [0, 0]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-4], lambda b: b + b"\0\0\0\0", lambda b: b""])
def test_damaged_bytes_are_refused(damage):
    (packed,) = packed_moments(np.array([1.0, 2.0]), np.array([0, 2]))
    with pytest.raises(DigestError, match="packed sums must be two numbers"):
        unpack_moments(damage(packed))
