"""Digests: what they keep, how near they come to crick's own, and what is refused before crick sees it."""

import math
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from crick import TDigest
from cricks import from_crick, merge_digests, pack, to_cricks, unpack
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from examples import examples
from median_spark.digests import (
    PACKED_SCHEMA,
    Digest,
    DigestColumns,
    check_compression,
    check_digests,
    digest_sweep,
    digest_values,
    medians_of,
    merge_batches,
    merge_loops,
    merge_runs,
    pickled_as_cricks,
    quantiles_of,
    rank_error,
    sort_values,
)
from median_spark.digests.build import cluster_ends, sorted_medians
from median_spark.digests.moments import Moments, mean_and_sd_of
from median_spark.errors import DigestError
from median_spark.expression import plan_sweeps, write_part
from median_spark.gene_values import GeneValues

DISTRIBUTIONS = {
    "lognormal": lambda rng, n: rng.lognormal(1.0, 1.0, n),
    "ties": lambda rng, n: rng.integers(1, 6, n) / 1.7,
    "two-valued": lambda rng, n: rng.choice([1.0, 2.4], n),
    "exponential": lambda rng, n: rng.exponential(3.0, n),
    "constant": lambda rng, n: np.full(n, 0.1),
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

compressions = st.floats(20, 1000) | st.sampled_from([20.0, 20.5, 100.0, 1000.0])
anything = st.floats(1e-300, 1e300)
near_one = st.integers(-3, 3).map(lambda steps: 1.0 + steps * 2.0**-52)
value_lists = st.lists(anything, min_size=1, max_size=60) | st.lists(anything | near_one, min_size=1, max_size=400)


@st.composite
def samples(draw, most=5_000):
    """Draw many values of one of the distributions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return DISTRIBUTIONS[draw(st.sampled_from(sorted(DISTRIBUTIONS)))](rng, draw(st.integers(1, most)))


def runs_of(**values):
    lengths = [len(found) for found in values.values()]
    together = np.concatenate([np.asarray(found, dtype=np.float64) for found in values.values()])
    return GeneValues(np.array(list(values)), np.concatenate([[0], np.cumsum(lengths)]), together)


def sorted_runs_of(**values):
    runs = runs_of(**values)
    sort_values(runs)
    return runs


def digest_of(values, compression=100.0):
    return digest_values(sorted_runs_of(GENE=values), compression)[0]


def to_crick(digest, compression):
    return to_cricks([digest], compression)[0]


def ends_of(n, compression):
    """Return the ends of the clusters of one gene's n values."""
    offsets, ends = cluster_ends(np.array([n]), compression)
    assert offsets.tolist() == [0, len(ends)]
    return ends


def median_of(digest):
    return medians_of([digest])[0]


def rank_error_of(estimate, values, quantile):
    """Return how far a quantile's estimate lies from where it should, in parts of all values."""
    below, not_above = np.mean(values < estimate), np.mean(values <= estimate)
    return max(below - quantile, quantile - not_above, 0.0)


def assert_sound(digest, compression):
    assert len(digest.means) == len(digest.weights) <= 2 * math.ceil(compression)
    assert digest.weights.sum() == digest.n
    assert np.all(digest.weights >= 1)
    assert np.all(digest.means[1:] >= digest.means[:-1])
    assert digest.min <= digest.means[0]
    assert digest.means[-1] <= digest.max


def assert_equal(one, other):
    assert (one.n, one.min, one.max) == (other.n, other.min, other.max)
    assert one.means.tobytes() == other.means.tobytes()
    assert one.weights.tobytes() == other.weights.tobytes()


class TestClusterEnds:
    @given(st.integers(1, 10**9), compressions)
    def test_ascend_to_n_in_at_most_twice_compression_steps(self, n, compression):
        ends = ends_of(n, compression)
        assert ends[-1] == n
        assert np.all(np.diff(ends, prepend=0) > 0)
        assert len(ends) <= 2 * math.ceil(compression)

    @given(st.integers(2_000, 10**9), st.floats(20, 1000))
    def test_none_reaches_over_more_than_one_on_the_scale_unless_it_is_a_single_value(self, n, compression):
        ends = ends_of(n, compression)
        scale = compression * (np.arcsin(2 * (np.concatenate([[0], ends]) / n) - 1) + np.pi / 2) / np.pi
        single = np.diff(ends, prepend=0) == 1
        assert np.all((np.diff(scale) <= 1 + 1e-6) | single)

    def test_of_several_genes_are_those_of_each(self):
        sizes = [1, 5_000, 0, 30]
        offsets, ends = cluster_ends(np.array(sizes), 100)
        found = [ends[begin:end].tolist() for begin, end in pairwise(offsets.tolist())]
        assert found == [ends_of(size, 100).tolist() for size in sizes]

    def test_near_the_median_are_as_large_as_documented(self):
        assert np.diff(ends_of(1_000_000, 100)).max() == pytest.approx(1_000_000 * np.pi / 200, rel=0.01)


class TestDigestRuns:
    @given(value_lists | samples(), compressions)
    def test_keeps_n_min_max_and_all_weight(self, values, compression):
        digest = digest_of(values, compression)
        assert (digest.n, digest.min, digest.max) == (len(values), min(values), max(values))
        assert_sound(digest, compression)

    @given(st.lists(anything | near_one, min_size=1, max_size=100))
    def test_up_to_100_values_each_stay_by_themselves(self, values):
        digest = digest_of(values)
        assert digest.means.tolist() == sorted(values)
        assert digest.weights.tolist() == [1.0] * len(values)

    @given(st.lists(anything | near_one, min_size=1, max_size=100) | samples(100))
    def test_up_to_100_values_have_the_exact_median(self, values):
        assert median_of(digest_of(values)) == np.median(values)

    def test_127_values_have_the_exact_median(self):
        values = np.random.default_rng(1).lognormal(size=127)
        assert len(digest_of(values).means) == 127

    @given(st.lists(value_lists, min_size=1, max_size=5), compressions)
    def test_genes_do_not_touch_each_other(self, values, compression):
        genes = {f"GENE{number}": found for number, found in enumerate(values)}
        for digest, found in zip(digest_values(sorted_runs_of(**genes), compression), values, strict=True):
            assert_equal(digest, digest_of(found, compression))

    @given(value_lists | samples(), st.integers(0, 2**32))
    def test_order_of_values_does_not_matter(self, values, seed):
        shuffled = np.random.default_rng(seed).permutation(values)
        assert_equal(digest_of(values), digest_of(shuffled))

    def test_leaves_the_runs_as_they_are(self):
        runs = runs_of(GENE=np.arange(1.0, 1_001))
        digest_values(runs, 100)
        assert runs.values.tolist() == list(range(1, 1_001))

    def test_no_gene_no_digest(self):
        assert digest_values(GeneValues(np.array([], dtype=np.str_), np.zeros(1, np.int64), np.array([])), 100) == []

    def test_equal_values_give_back_that_very_value(self):
        assert set(digest_of(np.full(10_007, 0.1)).means.tolist()) == {0.1}


@pytest.mark.parametrize("compression", [20, 100, 500])
@pytest.mark.parametrize(
    ("name", "factor"), [("lognormal", 1.1), ("exponential", 1.1), ("constant", 1), ("ties", 2), ("two-valued", 2)]
)
def test_ranks_are_hardly_worse_than_those_of_cricks_own_update(name, factor, compression):
    """Between ties either is right or wrong by chance, and crick's larger number of centroids helps it."""
    rng = np.random.default_rng(3)
    ours, cricks = [], []
    for n in (131, 500, 2_000, 20_000):
        for _ in range(10):
            values = DISTRIBUTIONS[name](rng, n)
            fed = TDigest(compression)
            fed.update(values)
            made = to_crick(digest_of(values, compression), compression)
            ours += [rank_error_of(made.quantile(q), values, q) for q in QUANTILES]
            cricks += [rank_error_of(fed.quantile(q), values, q) for q in QUANTILES]
    assert np.mean(ours) <= factor * np.mean(cricks) + 1e-4


def gene_like(rng, n):
    """Return values as genes have them: small counts over totals that differ from cell to cell."""
    counts = rng.geometric(rng.uniform(0.2, 0.9), n)
    return counts / rng.lognormal(rng.uniform(7, 9), rng.uniform(0.2, 0.8), n).astype(np.int64) * 10_000


def few_totals(rng, n):
    """Return counts over a handful of totals: ties without end."""
    return rng.geometric(rng.uniform(0.3, 0.9), n) / rng.choice([1_000, 1_500, 3_000, 7_000], n) * 10_000


SAMPLES = {name: DISTRIBUTIONS[name] for name in ("lognormal", "exponential", "ties")} | {"genes": gene_like}


def median_and_quartile_errors(sample, compression, count=600):
    """Return the rank errors of our digests and of crick's, fed with the same values, for samples of many sizes."""
    rng = np.random.default_rng(8)
    quartiles = (0.25, 0.5, 0.75)
    ours, cricks = [], []
    for n in np.geomspace(300, 30_000, count).astype(int):
        values = sample(rng, n)
        fed = TDigest(compression)
        fed.update(values)
        found = quantiles_of([digest_of(values, compression)], [[q] for q in quartiles])[:, 0]
        ours += [rank_error_of(estimate, values, q) for q, estimate in zip(quartiles, found, strict=True)]
        cricks += [rank_error_of(fed.quantile(q), values, q) for q in quartiles]
    return ours, cricks


@pytest.mark.parametrize("compression", [100.0, pytest.param(200.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SAMPLES)
def test_ranks_of_median_and_quartiles_err_no_more_than_cricks_own_do(name, compression):
    ours, cricks = median_and_quartile_errors(SAMPLES[name], compression)
    assert np.percentile(ours, 95) <= 1.05 * np.percentile(cricks, 95)
    assert np.percentile(ours, 95) < 0.4 / compression


@pytest.mark.parametrize("compression", [100.0, pytest.param(200.0, marks=pytest.mark.slow)])
def test_where_only_a_handful_of_values_occur_ranks_err_by_up_to_twice_as_much_as_cricks(compression):
    """A cluster that reaches over two such values is off by many ranks; crick, fed bit by bit, has smaller clusters."""
    ours, cricks = median_and_quartile_errors(few_totals, compression)
    assert np.percentile(ours, 95) <= 2 * np.percentile(cricks, 95)
    assert np.percentile(ours, 95) < 0.015


class TestMergeDigests:
    @given(st.lists(value_lists | samples(500), min_size=1, max_size=12), compressions)
    def test_loses_nothing_and_can_be_handed_to_crick_again(self, parts, compression):
        merged = merge_digests([digest_of(part, compression) for part in parts], compression)
        together = np.concatenate(parts)
        assert (merged.n, merged.min, merged.max) == (len(together), together.min(), together.max())
        assert_sound(merged, compression)
        to_crick(merged, compression)

    @given(st.data())
    def test_adjacent_floats_and_ties_stay_in_order(self, data):
        start = data.draw(st.floats(1e-300, 1e299))
        steps = data.draw(st.lists(st.lists(st.integers(0, 4), min_size=20, max_size=60), min_size=4, max_size=12))
        parts = [start + np.array(part) * np.spacing(start) for part in steps]
        merged = merge_digests([digest_of(part, 20) for part in parts], 20)
        assert_sound(merged, 20)
        to_crick(merged, 20)

    @given(st.lists(anything | near_one, min_size=2, max_size=100) | samples(100), st.data())
    def test_up_to_100_values_in_all_have_the_exact_median(self, values, data):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(values)), max_size=8)))
        parts = np.split(np.array(values), cuts)
        merged = merge_digests([digest_of(part) for part in parts if len(part)], 100)
        assert merged.means.tolist() == sorted(values)
        assert median_of(merged) == np.median(values)

    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    @pytest.mark.parametrize("count", [2, 30, 300])
    def test_rank_of_the_median_is_bounded(self, name, count):
        rng = np.random.default_rng(4)
        parts = [DISTRIBUTIONS[name](rng, int(n)) for n in rng.integers(1, 1_000, count)]
        merged = merge_digests([digest_of(part) for part in parts], 100)
        assert rank_error_of(median_of(merged), np.concatenate(parts), 0.5) < 0.015

    def test_rank_of_the_median_is_bounded_where_parts_do_not_overlap(self):
        parts = np.split(np.sort(np.random.default_rng(5).lognormal(size=50_000)), 50)
        merged = merge_digests([digest_of(part) for part in parts], 100)
        assert rank_error_of(median_of(merged), np.concatenate(parts), 0.5) < 0.015

    @given(st.lists(samples(300), min_size=1, max_size=8))
    def test_same_digests_in_the_same_order_merge_to_the_same_bits(self, parts):
        digests = [digest_of(part) for part in parts]
        assert_equal(merge_digests(digests, 100), merge_digests(digests, 100))

    def test_does_not_change_what_it_merges(self):
        digests = [digest_of(np.arange(1.0, 500)), digest_of(np.arange(3.0, 700))]
        before = [pack(digest) for digest in digests]
        merge_digests(digests, 100)
        assert [pack(digest) for digest in digests] == before


def merged_by_crick(digests, compression, first=None):
    total = TDigest(compression) if first is None else to_crick(first, compression)
    total.merge(*to_cricks(digests, compression))
    return from_crick(total)


class TestMergesAsCrick:
    """The same bits as crick's own merge, from digests of any kind and of any compression."""

    @given(st.lists(value_lists | samples(2_000), min_size=2, max_size=12), compressions)
    def test_into_an_empty_digest(self, parts, compression):
        digests = [digest_of(part, compression) for part in parts]
        assert_equal(merge_digests(digests, compression), merged_by_crick(digests, compression))

    @given(st.lists(st.lists(value_lists | samples(2_000), min_size=1, max_size=4), min_size=1, max_size=5), st.data())
    def test_of_many_genes_into_the_first_of_each(self, genes, data):
        compression = data.draw(compressions)
        runs = [[digest_of(part, compression) for part in parts] for parts in genes]
        bounds = np.cumsum([0, *map(len, runs)])
        together = DigestColumns.of([digest for run in runs for digest in run])
        merged = merge_runs(together, bounds, compression, into_first=True).digests()
        for found, run in zip(merged, runs, strict=True):
            assert_equal(found, merged_by_crick(run[1:], compression, run[0]) if len(run) > 1 else run[0])

    @given(st.lists(samples(3_000), min_size=2, max_size=8), st.lists(compressions, min_size=8, max_size=8))
    def test_digests_of_other_compressions(self, parts, others):
        digests = [digest_of(part, other) for part, other in zip(parts, others, strict=False)]
        total = TDigest(50)
        total.merge(*(to_crick(digest, other) for digest, other in zip(digests, others, strict=False)))
        merged = merge_runs(DigestColumns.of(digests), np.array([0, len(digests)]), 50)
        assert_equal(merged.digests()[0], from_crick(total))

    @given(st.lists(st.lists(st.sampled_from([1, 2, 3, 50, 10**6, 2**45]), min_size=1, max_size=40), min_size=2,
                    max_size=6), compressions)  # fmt: skip
    def test_weights_of_any_size(self, weights, compression):
        digests = [digest_with(np.sort(5 + np.sin(np.arange(len(each)) + len(each))), each) for each in weights]
        assert_equal(merge_digests(digests, compression), merged_by_crick(digests, compression))

    @pytest.mark.parametrize("compression", [20.0, 100.0, 200.0, 1000.0])
    @pytest.mark.parametrize("size", [1, 2, 7, 64, 128, 1_000, 65_536])
    def test_equal_digests_whose_weights_meet_the_edges_of_clusters(self, compression, size):
        digests = [digest_of(np.arange(1.0, size + 1), compression)] * 16
        assert_equal(merge_digests(digests, compression), merged_by_crick(digests, compression))

    def test_where_a_sine_is_too_close_to_tell(self, monkeypatch):
        rng = np.random.default_rng(6)
        digests = [digest_of(rng.lognormal(size=3_000), 200) for _ in range(20)]
        by_sines = merge_digests(digests, 200)
        monkeypatch.setattr(merge_loops, "_CLOSE", np.inf)  # so that crick's own numbers decide, in uncompiled loops
        for name in ("_flush", "_merge_run", "merge_in_order"):
            monkeypatch.setattr(merge_loops, name, getattr(merge_loops, name).py_func)
        assert_equal(merge_digests(digests, 200), by_sines)

    def test_is_compiled_once_whatever_the_columns_are(self):
        digests = DigestColumns.of([digest_of([float(number)]) for number in range(3)])
        stored = DigestColumns(*(pa.array(column).to_numpy() for column in digests))  # read-only
        before = set(merge_loops.merge_in_order.signatures)
        for columns in (digests, stored):
            for compression in (200, 200.0, np.float64(200)):
                assert merge_runs(columns, np.array([0, 3]), compression).n.tolist() == [3]
        assert len(before | set(merge_loops.merge_in_order.signatures)) == 1

    def test_refuses_to_merge_into_a_digest_that_crick_has_no_room_for(self):
        digests = DigestColumns.of([digest_of(np.arange(1.0, 3_000), 200), digest_of([1.0])])
        with pytest.raises(DigestError, match="at most 40 centroids"):
            merge_runs(digests, np.array([0, 2]), 20, into_first=True)


class TestMediansOf:
    def test_of_few_values_is_the_mean_of_the_two_middle_ones(self):
        assert median_of(digest_of([0.1, 0.3, 0.2, 7.0])) == (0.2 + 0.3) / 2

    @given(samples())
    def test_lies_between_min_and_max(self, values):
        assert min(values) <= median_of(digest_of(values)) <= max(values)

    def test_of_equal_values_is_that_value(self):
        assert median_of(digest_of(np.full(10_007, 0.1))) == 0.1

    def test_of_no_digest(self):
        assert medians_of([]).shape == (0,)

    @given(st.lists(value_lists | samples(1_000), min_size=1, max_size=6), compressions)
    def test_are_cricks_where_a_centroid_has_several_values_and_numpys_elsewhere(self, values, compression):
        digests = [digest_of(found, compression) for found in values]
        for estimate, digest, found in zip(medians_of(digests).tolist(), digests, values, strict=True):
            whole = len(digest.means) == digest.n
            assert estimate == (np.median(found) if whole else to_crick(digest, compression).quantile(0.5))


@st.composite
def digests(draw, compression):
    """Draw a digest: of values at once, or merged from several."""
    parts = draw(st.lists(value_lists | samples(2_000), min_size=1, max_size=5))
    return merge_digests([digest_of(part, compression) for part in parts], compression)


class TestQuantilesOf:
    @given(
        st.data(), compressions, st.lists(st.floats(0.001, 0.999) | st.sampled_from(QUANTILES), min_size=1, max_size=5)
    )
    def test_are_cricks_bit_for_bit(self, data, compression, wanted):
        made = data.draw(st.lists(digests(compression), min_size=1, max_size=4))
        found = quantiles_of(made, np.array(wanted)[:, np.newaxis])
        assert found.shape == (len(wanted), len(made))
        for column, digest in zip(found.T, made, strict=True):
            crick = to_crick(digest, compression)
            assert column.tobytes() == np.array([crick.quantile(q) for q in wanted]).tobytes()

    @pytest.mark.parametrize(
        "values",
        [
            [7.0],
            [1.0, 2.0],
            [1.0, 1.0],
            [1.0, 1.0, 2.0],
            [5e-324, 1e300],
            [0.1] * 10_007,
            [1.0] * 5_000 + [3.0] * 5_001,
        ],
        ids=["one", "two", "two alike", "a tie", "far apart", "all alike", "two values"],
    )
    def test_of_few_or_equal_values_are_cricks(self, values):
        digest = digest_of(values, 20)
        crick = to_crick(digest, 20)
        found = quantiles_of([digest], np.arange(1, 100)[:, np.newaxis] / 100)[:, 0]
        assert found.tolist() == [crick.quantile(percent / 100) for percent in range(1, 100)]

    @given(st.data())
    def test_that_fall_on_a_centroid_are_cricks(self, data):
        digest = data.draw(digests(20.0).filter(lambda made: made.n > 1))
        middles = np.cumsum(digest.weights) - digest.weights / 2
        wanted = np.unique(
            np.concatenate([middles, np.nextafter(middles, 0), np.nextafter(middles, np.inf)]) / digest.n
        )
        crick = to_crick(digest, 20.0)
        found = quantiles_of([digest], wanted[:, np.newaxis])[:, 0]
        assert found.tolist() == [crick.quantile(q) for q in wanted.tolist()]

    @given(st.data())
    def test_each_digest_may_have_its_own(self, data):
        made = data.draw(st.lists(digests(100.0), min_size=1, max_size=4))
        wanted = data.draw(
            st.lists(st.lists(st.floats(0.001, 0.999), min_size=len(made), max_size=len(made)), min_size=1, max_size=3)
        )
        cricks = [to_crick(digest, 100.0) for digest in made]
        expected = [[crick.quantile(q) for crick, q in zip(cricks, row, strict=True)] for row in wanted]
        assert quantiles_of(made, wanted).tolist() == expected

    def test_of_a_digest_do_not_depend_on_those_beside_it(self):
        rng = np.random.default_rng(0)
        made = [digest_of(rng.lognormal(size=n)) for n in (1, 5_000, 3, 100_000, 130, 1)]
        together = quantiles_of(made, [[q] for q in QUANTILES])
        alone = np.hstack([quantiles_of([digest], [[q] for q in QUANTILES]) for digest in made])
        assert together.tobytes() == alone.tobytes()

    def test_of_no_digest(self):
        assert quantiles_of([], [[0.05], [0.95]]).shape == (2, 0)


class TestSortedMedians:
    huge = st.floats(5e-324, 1.7976931348623157e308)

    @given(st.lists(st.lists(huge | near_one, min_size=1, max_size=40), min_size=1, max_size=6))
    def test_are_numpys_bit_for_bit(self, values):
        runs = sorted_runs_of(**{f"GENE{number}": found for number, found in enumerate(values)})
        with np.errstate(over="ignore"):  # numpy's own mean of two huge values is infinite
            assert (
                sorted_medians(runs.values, runs.offsets).tobytes()
                == np.array([np.median(found) for found in values]).tobytes()
            )

    @given(st.lists(samples(2_000), min_size=1, max_size=4))
    def test_of_many_values_are_numpys_bit_for_bit(self, values):
        runs = sorted_runs_of(**{f"GENE{number}": found for number, found in enumerate(values)})
        assert (
            sorted_medians(runs.values, runs.offsets).tobytes()
            == np.array([np.median(found) for found in values]).tobytes()
        )


class TestSortRuns:
    @given(st.lists(st.lists(anything | near_one, max_size=30), min_size=1, max_size=8))
    def test_sorts_each_run_in_place(self, values):
        runs = runs_of(**{f"GENE{number}": found for number, found in enumerate(values)})
        held, offsets = runs.values, runs.offsets.copy()
        sort_values(runs)
        assert runs.values is held
        assert runs.offsets.tolist() == offsets.tolist()
        assert [runs.of_gene(number).tolist() for number in range(len(values))] == [sorted(found) for found in values]


@given(
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=50), st.sampled_from([0.5, 1.0, 2.5, 4.0, 9.0])
)
def test_rank_error_is_the_distance_from_the_middle_rank(values, estimate):
    values = np.sort(values)
    below, up_to, n = int(np.sum(values < estimate)), int(np.sum(values <= estimate)), len(values)
    # Ranks are halves: the middle of an odd number of values lies between two of them.
    nearest = min(abs(twice / 2 - n / 2) for twice in range(2 * below, 2 * up_to + 1))
    assert rank_error(below, up_to, n) == nearest / n


def digest_with(means, weights, low=1.0, high=9.0, n=None):
    weights = np.array(weights, dtype=np.float64)
    return Digest(int(weights.sum()) if n is None else n, low, high, np.array(means, dtype=np.float64), weights)


DAMAGED = [
    pytest.param(digest_with([3.0, 2.0], [1, 1]), id="means descend"),
    pytest.param(digest_with([2.0, math.nan], [1, 1]), id="mean is NaN"),
    pytest.param(digest_with([2.0, math.inf], [1, 1], high=math.inf), id="mean is infinite"),
    pytest.param(digest_with([0.5, 2.0], [1, 1]), id="mean below min"),
    pytest.param(digest_with([2.0, 9.5], [1, 1]), id="mean above max"),
    pytest.param(digest_with([2.0], [1], low=math.nan), id="min is NaN"),
    pytest.param(digest_with([2.0, 3.0], [2, 0]), id="weight of 0"),
    pytest.param(digest_with([2.0, 3.0], [3, -1]), id="weight below 0"),
    pytest.param(digest_with([2.0, 3.0], [math.inf, 1], n=2), id="weight is infinite"),
    pytest.param(digest_with([2.0, 3.0], [math.nan, 1], n=2), id="weight is NaN"),
    pytest.param(digest_with([2.0, 3.0], [1, 1], n=3), id="weights do not add up"),
    pytest.param(digest_with([2.0, 3.0], [2]), id="more means than weights"),
    pytest.param(digest_with([], [], n=5), id="values without centroids"),
]


class TestToCrick:
    @given(value_lists | samples(), compressions)
    def test_round_trip_is_exact(self, values, compression):
        digest = digest_of(values, compression)
        assert_equal(from_crick(to_crick(digest, compression)), digest)

    @given(samples(), compressions)
    def test_round_trip_through_pickle_is_exact(self, values, compression):
        digest = digest_of(values, compression)
        loaded = pickle.loads(pickle.dumps(to_crick(digest, compression)))
        assert loaded.compression == compression
        assert_equal(from_crick(loaded), digest)

    def test_digest_of_nothing(self):
        empty = to_crick(digest_with([], []), 100)
        assert empty.size() == 0
        assert math.isnan(empty.quantile(0.5))

    @pytest.mark.parametrize("compression", [20.0, 20.5, 100.0])
    def test_takes_as_many_centroids_as_crick_has_room_for_and_no_more(self, compression):
        most = 2 * math.ceil(compression)
        assert len(to_crick(digest_with([2.0] * most, [1] * most), compression).centroids()) == most
        with pytest.raises(DigestError, match=f"at most {most} centroids, not {most + 1}"):
            to_crick(digest_with([2.0] * (most + 1), [1] * (most + 1)), compression)

    @pytest.mark.parametrize("damaged", DAMAGED)
    def test_refuses(self, damaged):
        with pytest.raises(DigestError, match="means must ascend between min and max"):
            to_crick(damaged, 100)

    @pytest.mark.parametrize("place", [0, 1, 2, 3])
    @pytest.mark.parametrize("damaged", DAMAGED)
    def test_refuses_one_among_others_wherever_it_is(self, damaged, place):
        others = [digest_of([5.0, 6.0]), digest_with([], []), digest_of(np.arange(1.0, 1_000))]
        check_digests(others, 100)
        with pytest.raises(DigestError, match="means must ascend between min and max"):
            check_digests([*others[:place], damaged, *others[place:]], 100)

    def test_means_need_not_ascend_from_one_digest_to_the_next(self):
        check_digests([digest_of([8.0, 9.0]), digest_of([1.0]), digest_with([], []), digest_of([0.5, 0.6])], 100)

    @given(st.lists(value_lists | samples(1_000), max_size=6), compressions)
    def test_many_at_once_are_those_of_one_at_a_time(self, values, compression):
        made = [digest_of(found, compression) for found in values]
        for crick, digest in zip(to_cricks(made, compression), made, strict=True):
            assert_equal(from_crick(crick), digest)

    @given(value_lists | samples(), compressions)
    def test_is_pickled_as_crick_would_without_one_being_made(self, values, compression):
        digest = digest_of(values, compression)
        made = pickled_as_cricks({"A": digest_of([1.0], compression), "B": digest}, compression)
        loaded = pickle.loads(pickle.dumps(made, protocol=4))["B"]
        assert type(loaded) is TDigest
        assert loaded.compression == compression
        assert_equal(from_crick(loaded), digest)
        assert pickle.dumps(loaded) == pickle.dumps(pickle.loads(pickle.dumps(to_crick(digest, compression))))

    @pytest.mark.parametrize("compression", [19.999, 1000.001, 0, -100, math.nan, math.inf])
    def test_refuses_a_compression_that_crick_would_change(self, compression):
        with pytest.raises(DigestError, match="between 20 and 1000"):
            to_crick(digest_of([1.0]), compression)
        with pytest.raises(DigestError, match="between 20 and 1000"):
            check_compression(compression)

    @given(compressions)
    def test_crick_keeps_an_accepted_compression(self, compression):
        check_compression(compression)
        assert TDigest(compression).compression == compression


def test_from_crick_lifts_a_mean_that_rounding_has_pushed_below_its_neighbour():
    lower = np.nextafter(2.0, 0)
    centroids = np.array([(2.0, 1.0), (lower, 2.0)], dtype=[("mean", "<f8"), ("weight", "<f8")])
    crick = TDigest(100)
    crick.__setstate__((centroids, 3.0, 1.0, 3.0))
    assert from_crick(crick).means.tolist() == [2.0, 2.0]


class TestPack:
    @given(value_lists | samples(), compressions)
    def test_round_trip_is_exact(self, values, compression):
        digest = digest_of(values, compression)
        assert_equal(unpack(digest.n, digest.min, digest.max, pack(digest)), digest)

    def test_bytes_that_are_no_pairs_are_refused(self):
        with pytest.raises(DigestError, match="17 bytes"):
            unpack(1, 1.0, 1.0, b"x" * 17)


def packed_row(gene, bundle, digest, sources=(0,)):
    return dict.fromkeys(PACKED_SCHEMA.names) | {
        "gene": gene,
        "bundle": bundle,
        "n": digest.n,
        "min": digest.min,
        "max": digest.max,
        "centroids": pack(digest),
        "sources": np.array(sources, dtype="<i4").tobytes(),
        "moments": Moments(3 * digest.n, 5 * digest.n).pack(),
    }


def merged_rows(rows, batch_rows=2, compression=100.0):
    batches = [
        pa.RecordBatch.from_pylist(rows[begin : begin + batch_rows], schema=PACKED_SCHEMA)
        for begin in range(0, len(rows), batch_rows)
    ]
    found = list(merge_batches(iter(batches), compression))
    assert all(batch.schema == PACKED_SCHEMA for batch in found)
    return [row for batch in found for row in batch.to_pylist()]


def digest_in(row):
    return unpack(row["n"], row["min"], row["max"], row["centroids"])


class TestMergeBatches:
    @pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
    def test_merges_a_gene_wherever_batches_are_cut(self, batch_rows):
        parts = {
            "A": [digest_of([1.0, 5.0])],
            "B": [digest_of(np.arange(1.0, 300 + bundle)) for bundle in range(5)],
            "C": [digest_of([2.0]), digest_of([3.0])],
        }
        rows = [packed_row(gene, bundle, part) for gene, found in parts.items() for bundle, part in enumerate(found)]
        merged = merged_rows(rows, batch_rows)
        assert [row["gene"] for row in merged] == ["A", "B", "C"]
        for row in merged:
            assert_equal(digest_in(row), merge_digests(parts[row["gene"]], 100))
            moments, constant = [Moments(3 * row["n"], 5 * row["n"])], np.array([row["min"] == row["max"]])
            mean, sd = mean_and_sd_of(moments, np.array([row["n"]]), constant)
            assert (row["mean"], row["sd"], row["moments"]) == (mean[0], sd[0], None)

    def test_takes_batches_with_64_bit_offsets(self):
        """As sessions make them that set spark.sql.execution.arrow.useLargeVarTypes."""
        large = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
        schema = pa.schema([each.with_type(large.get(each.type, each.type)) for each in PACKED_SCHEMA])
        rows = [packed_row("A", bundle, digest_of(np.arange(1.0, 300 + bundle))) for bundle in range(3)]
        failed = dict.fromkeys(PACKED_SCHEMA.names) | {"gene": "", "bundle": 3, "error": "part-00000 is gone"}
        batch = pa.RecordBatch.from_pylist([failed, *rows], schema=schema)
        found = list(merge_batches(iter([batch]), 100.0))
        assert all(each.schema == PACKED_SCHEMA for each in found)
        assert [row for each in found for row in each.to_pylist()] == merged_rows([failed, *rows], 10)

    def test_counts_each_source_once(self):
        one = digest_of([1.0])
        rows = [packed_row("A", 0, one, [0, 2]), packed_row("A", 1, one, [2, 700]), packed_row("B", 0, one, [5])]
        assert [row["n_sources"] for row in merged_rows(rows)] == [3, 1]

    def test_a_merged_digest_claims_no_exact_median(self):
        rows = [
            packed_row("A", bundle, digest_of([1.0, 2.0])) | {"median": 1.5, "rank_error": 0.0} for bundle in (0, 1)
        ]
        assert [(row["median"], row["rank_error"]) for row in merged_rows(rows)] == [(None, None)]

    def test_rows_with_an_error_pass_through(self):
        failed = dict.fromkeys(PACKED_SCHEMA.names) | {"gene": "", "bundle": 3, "error": "part-00000 is gone"}
        merged = merged_rows([failed, packed_row("A", 0, digest_of([1.0])), packed_row("A", 1, digest_of([2.0]))])
        assert [(row["gene"], row["n"], row["error"]) for row in merged] == [
            ("", None, "part-00000 is gone"),
            ("A", 2, None),
        ]

    def test_many_genes_leave_in_several_batches_and_none_is_lost(self):
        genes = [f"GENE{number:05d}" for number in range(4_500)]
        merged = merged_rows([packed_row(gene, 0, digest_of([1.0])) for gene in genes], batch_rows=1_000)
        assert [row["gene"] for row in merged] == genes

    def test_nothing_yields_nothing(self):
        assert merged_rows([]) == []


VALUES = {
    "first": {"A": [3.0, 1.0], "B": [4.0], "C": [5.0, 6.0, 7.0]},
    "second": {"B": [8.0, 2.0], "C": [9.0]},
}


@pytest.fixture
def records(tmp_path):
    """Two sources: one of a part with a row group a gene, one of a single row group."""
    ids = np.array(["cell0", "cell1", "cell2"])
    found = []
    for (source, values), groups in zip(VALUES.items(), (3, 1), strict=True):
        cells = np.concatenate([np.arange(len(of_gene), dtype=np.int32) for of_gene in values.values()])
        location = str(tmp_path / f"source={source}" / "part.parquet")
        rows = 1 if groups > 1 else 100
        part = write_part(location, replace(runs_of(**values), cells=cells), ids, row_group_rows=rows)
        assert len(part.row_groups) == groups
        found.append(record_of(source, parts=[part]))
    return found


@pytest.fixture
def plan(records, tmp_path):
    """One bundle of both parts, in one sweep."""
    made = plan_sweeps(str(tmp_path), records, list("ABC"))
    assert (made.bundles, made.sweeps) == (1, 1)
    return made


@pytest.fixture
def split(records, tmp_path):
    """A bundle of each part, and sweeps of a gene each where a row group begins with it."""
    made = plan_sweeps(str(tmp_path), records, list("ABC"), window_rows=3, sweep_rows=1)
    assert (made.bundles, made.bundle_of_sweep.tolist()) == (2, [0, 0, 0, 1])
    return made


def digested(plan, number=0, exact=True):
    batches = list(digest_sweep(plan, number, 100, exact=exact))
    assert all(batch.schema == PACKED_SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


class TestDigestSweep:
    def test_digests_all_values_of_its_genes(self, plan):
        found = {row["gene"]: digest_in(row) for row in digested(plan)}
        assert {gene: digest.means.tolist() for gene, digest in found.items()} == {
            "A": [1.0, 3.0],
            "B": [2.0, 4.0, 8.0],
            "C": [5.0, 6.0, 7.0, 9.0],
        }
        assert list(found) == sorted(found)
        assert {gene: (digest.n, digest.min, digest.max) for gene, digest in found.items()} == {
            "A": (2, 1.0, 3.0),
            "B": (3, 2.0, 8.0),
            "C": (4, 5.0, 9.0),
        }

    def test_counts_the_sources_of_each_gene_whose_list_would_fill_the_driver(self, plan):
        assert [(row["n_sources"], row["sources"]) for row in digested(plan)] == [(1, None), (2, None), (2, None)]

    def test_names_the_sources_of_each_gene_that_has_more_in_other_bundles(self, split):
        found = [row for number in range(split.sweeps) for row in digested(split, number)]
        assert {row["n_sources"] for row in found} == {None}
        numbers = [(row["gene"], np.frombuffer(row["sources"], "<i4").tolist()) for row in found]
        assert numbers == [("A", [0]), ("B", [0]), ("C", [0]), ("B", [1]), ("C", [1])]

    def test_takes_exact_medians_where_it_sees_all_values(self, plan):
        rows = digested(plan)
        assert [(row["gene"], row["median"], row["rank_error"]) for row in rows] == [
            ("A", 2.0, 0.0),
            ("B", 4.0, 0.0),
            ("C", 6.5, 0.0),
        ]

    def test_takes_none_where_none_is_wanted(self, plan):
        assert {(row["median"], row["rank_error"]) for row in digested(plan, exact=False)} == {(None, None)}

    def test_takes_none_where_values_lie_in_other_bundles(self, split):
        rows = [row for number in range(split.sweeps) for row in digested(split, number)]
        assert {(row["median"], row["rank_error"]) for row in rows} == {(None, None)}
        assert [(row["gene"], row["bundle"]) for row in rows] == [("A", 0), ("B", 0), ("C", 0), ("B", 1), ("C", 1)]

    def test_the_rank_error_is_that_of_the_digest_s_median(self, tmp_path):
        values = {"A": [1.0] * 500 + [3.0] * 501, "B": np.random.default_rng(0).lognormal(0, 3, 1_001).tolist()}
        cells = np.concatenate([np.arange(len(found), dtype=np.int32) for found in values.values()])
        ids = np.arange(1_001).astype(np.str_)
        part = write_part(str(tmp_path / "source=a" / "part.parquet"), replace(runs_of(**values), cells=cells), ids)
        rows = digested(plan_sweeps(str(tmp_path), [record_of("a", parts=[part])], list("AB")))
        for row, of_gene in zip(rows, map(np.array, values.values()), strict=True):
            assert row["median"] == np.median(of_gene)
            assert row["rank_error"] == pytest.approx(rank_error_of(median_of(digest_in(row)), of_gene, 0.5))
            assert row["rank_error"] > 0

    def test_bundles_merge_to_digests_of_all_values(self, split):
        rows = sorted(
            (row for number in range(split.sweeps) for row in digested(split, number)),
            key=lambda row: (row["gene"], row["bundle"]),
        )
        merged = {row["gene"]: row for row in merged_rows(rows)}
        assert digest_in(merged["C"]).means.tolist() == [5.0, 6.0, 7.0, 9.0]
        assert {gene: row["n_sources"] for gene, row in merged.items()} == {"A": 1, "B": 2, "C": 2}

    def test_part_that_is_gone_yields_one_row_with_the_error(self, plan):
        missing = replace(plan, parts=(plan.parts[0], "/nowhere/part.parquet"))
        (row,) = digested(missing)
        assert row["gene"] == ""
        assert row["error"].startswith("/nowhere/part.parquet: ")

    def test_part_with_other_rows_than_recorded_yields_one_row_with_the_error(self, plan):
        (row,) = digested(replace(plan, rows=plan.rows + np.array([0, 1, 0, 0])))
        assert "row group 1 has 1 rows where the source's record says 2" in row["error"]


@examples(30)
@given(st.lists(st.lists(samples(200), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 7))
def test_merging_packed_batches_is_merging_digests(values, batch_rows):
    parts = [[digest_of(found, 20) for found in of_gene] for of_gene in values]
    rows = [
        packed_row(f"G{gene}", bundle, part) for gene, found in enumerate(parts) for bundle, part in enumerate(found)
    ]
    for row, found in zip(merged_rows(rows, batch_rows, 20), parts, strict=True):
        assert_equal(digest_in(row), merge_digests(found, 20))
