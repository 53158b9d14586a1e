"""Digests: what they keep, how near they come to crick's own, and what is refused before crick sees it."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from crick import TDigest
from hypothesis import given, settings
from hypothesis import strategies as st

from median_spark.digests import (
    PACKED_SCHEMA,
    Digest,
    check_compression,
    cluster_ends,
    count_sources,
    digest_runs,
    digest_task,
    from_crick,
    median_of,
    merge_batches,
    merge_digests,
    pack,
    to_crick,
    unpack,
)
from median_spark.errors import DigestError
from median_spark.expression import DigestPlan, write_part
from median_spark.runs import GeneRuns

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
    return GeneRuns(np.array(list(values)), np.concatenate([[0], np.cumsum(lengths)]), together)


def digest_of(values, compression=100.0):
    return digest_runs(runs_of(GENE=values), compression)[0]


def rank_error(estimate, values, quantile):
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
        ends = cluster_ends(n, compression)
        assert ends[-1] == n
        assert np.all(np.diff(ends, prepend=0) > 0)
        assert len(ends) <= 2 * math.ceil(compression)

    @given(st.integers(2_000, 10**9), st.floats(20, 1000))
    def test_none_reaches_over_more_than_one_on_the_scale_unless_it_is_a_single_value(self, n, compression):
        ends = cluster_ends(n, compression)
        scale = compression * (np.arcsin(2 * (np.concatenate([[0], ends]) / n) - 1) + np.pi / 2) / np.pi
        single = np.diff(ends, prepend=0) == 1
        assert np.all((np.diff(scale) <= 1 + 1e-6) | single)

    def test_near_the_median_are_as_large_as_documented(self):
        assert np.diff(cluster_ends(1_000_000, 100)).max() == pytest.approx(1_000_000 * np.pi / 200, rel=0.01)


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
        assert median_of(digest_of(values), 100) == np.median(values)

    def test_127_values_have_the_exact_median(self):
        values = np.random.default_rng(1).lognormal(size=127)
        assert len(digest_of(values).means) == 127

    @given(st.lists(value_lists, min_size=1, max_size=5), compressions)
    def test_genes_do_not_touch_each_other(self, values, compression):
        genes = {f"GENE{number}": found for number, found in enumerate(values)}
        for digest, found in zip(digest_runs(runs_of(**genes), compression), values, strict=True):
            assert_equal(digest, digest_of(found, compression))

    @given(value_lists | samples(), st.integers(0, 2**32))
    def test_order_of_values_does_not_matter(self, values, seed):
        shuffled = np.random.default_rng(seed).permutation(values)
        assert_equal(digest_of(values), digest_of(shuffled))

    def test_leaves_the_runs_as_they_are(self):
        runs = runs_of(GENE=[3.0, 1.0, 2.0])
        digest_runs(runs, 100)
        assert runs.values.tolist() == [3.0, 1.0, 2.0]

    def test_no_gene_no_digest(self):
        assert digest_runs(GeneRuns(np.array([], dtype=np.str_), np.zeros(1, np.int64), np.array([])), 100) == []

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
            ours += [rank_error(made.quantile(q), values, q) for q in QUANTILES]
            cricks += [rank_error(fed.quantile(q), values, q) for q in QUANTILES]
    assert np.mean(ours) <= factor * np.mean(cricks) + 1e-4


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
        assert median_of(merged, 100) == np.median(values)

    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    @pytest.mark.parametrize("count", [2, 30, 300])
    def test_rank_of_the_median_is_bounded(self, name, count):
        rng = np.random.default_rng(4)
        parts = [DISTRIBUTIONS[name](rng, int(n)) for n in rng.integers(1, 1_000, count)]
        merged = merge_digests([digest_of(part) for part in parts], 100)
        assert rank_error(median_of(merged, 100), np.concatenate(parts), 0.5) < 0.015

    def test_rank_of_the_median_is_bounded_where_parts_do_not_overlap(self):
        parts = np.split(np.sort(np.random.default_rng(5).lognormal(size=50_000)), 50)
        merged = merge_digests([digest_of(part) for part in parts], 100)
        assert rank_error(median_of(merged, 100), np.concatenate(parts), 0.5) < 0.015

    @given(st.lists(samples(300), min_size=1, max_size=8))
    def test_same_digests_in_the_same_order_merge_to_the_same_bits(self, parts):
        digests = [digest_of(part) for part in parts]
        assert_equal(merge_digests(digests, 100), merge_digests(digests, 100))

    def test_does_not_change_what_it_merges(self):
        digests = [digest_of(np.arange(1.0, 500)), digest_of(np.arange(3.0, 700))]
        before = [pack(digest) for digest in digests]
        merge_digests(digests, 100)
        assert [pack(digest) for digest in digests] == before


class TestMedianOf:
    def test_is_the_mean_of_the_two_middle_values(self):
        assert median_of(digest_of([0.1, 0.3, 0.2, 7.0]), 100) == (0.2 + 0.3) / 2

    @given(samples())
    def test_lies_between_min_and_max(self, values):
        assert min(values) <= median_of(digest_of(values), 100) <= max(values)

    def test_of_equal_values_is_that_value(self):
        assert median_of(digest_of(np.full(10_007, 0.1)), 100) == 0.1


def digest_with(means, weights, low=1.0, high=9.0, n=None):
    weights = np.array(weights, dtype=np.float64)
    return Digest(int(weights.sum()) if n is None else n, low, high, np.array(means, dtype=np.float64), weights)


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

    @pytest.mark.parametrize(
        "digest",
        [
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
        ],
    )
    def test_refuses(self, digest):
        with pytest.raises(DigestError, match="means must ascend between min and max"):
            to_crick(digest, 100)

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


def packed_row(gene, task, digest, sources=(0,)):
    return {
        "gene": gene,
        "task": task,
        "n": digest.n,
        "min": digest.min,
        "max": digest.max,
        "centroids": pack(digest),
        "sources": np.array(sources, dtype="<i4").tobytes(),
        "error": None,
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
            "B": [digest_of(np.arange(1.0, 300 + task)) for task in range(5)],
            "C": [digest_of([2.0]), digest_of([3.0])],
        }
        rows = [packed_row(gene, task, part) for gene, found in parts.items() for task, part in enumerate(found)]
        merged = merged_rows(rows, batch_rows)
        assert [row["gene"] for row in merged] == ["A", "B", "C"]
        for row in merged:
            assert_equal(digest_in(row), merge_digests(parts[row["gene"]], 100))

    def test_counts_each_source_once(self):
        one = digest_of([1.0])
        rows = [packed_row("A", 0, one, [0, 2]), packed_row("A", 1, one, [2, 700]), packed_row("B", 0, one, [5])]
        assert [count_sources(row["sources"]) for row in merged_rows(rows)] == [3, 1]

    def test_rows_with_an_error_pass_through(self):
        failed = dict.fromkeys(PACKED_SCHEMA.names) | {"gene": "", "task": 3, "error": "part-00000 is gone"}
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


@pytest.fixture
def plan(tmp_path):
    """Two sources: one of a part with a row group a gene, one of a single row group; the first task reads both."""
    ids = np.array(["cell0", "cell1", "cell2"])
    first = replace(runs_of(A=[3.0, 1.0], B=[4.0], C=[5.0, 6.0, 7.0]), cells=np.array([0, 1, 0, 0, 1, 2], np.int32))
    second = replace(runs_of(B=[8.0, 2.0], C=[9.0]), cells=np.array([0, 2, 1], np.int32))
    parts = (str(tmp_path / "first.parquet"), str(tmp_path / "second.parquet"))
    assert len(write_part(parts[0], first, ids, row_group_rows=1).row_groups) == 3
    assert len(write_part(parts[1], second, ids).row_groups) == 1
    return DigestPlan(
        parts=parts,
        source_of_part=np.array([0, 1], np.int32),
        offsets=np.array([0, 3, 4]),
        part_of_group=np.array([0, 0, 1, 0], np.int32),
        group_in_part=np.array([0, 1, 0, 2], np.int32),
        rows=np.array([2, 1, 3, 3]),
    )


class TestDigestTask:
    def test_digests_all_values_of_its_row_groups_by_gene(self, plan):
        batch = digest_task(plan, 0, 100)
        assert batch.schema == PACKED_SCHEMA
        found = {row["gene"]: digest_in(row).means.tolist() for row in batch.to_pylist()}
        assert found == {"A": [1.0, 3.0], "B": [2.0, 4.0, 8.0], "C": [9.0]}
        assert batch["gene"].to_pylist() == ["A", "B", "C"]
        assert set(batch["task"].to_pylist()) == {0}

    def test_names_the_sources_of_each_gene(self, plan):
        rows = digest_task(plan, 0, 100).to_pylist()
        assert [np.frombuffer(row["sources"], "<i4").tolist() for row in rows] == [[0], [0, 1], [1]]

    def test_tasks_merge_to_digests_of_all_values(self, plan):
        batches = [digest_task(plan, number, 100) for number in range(plan.tasks)]
        rows = sorted(
            (row for batch in batches for row in batch.to_pylist()), key=lambda row: (row["gene"], row["task"])
        )
        merged = {row["gene"]: row for row in merged_rows(rows)}
        assert digest_in(merged["C"]).means.tolist() == [5.0, 6.0, 7.0, 9.0]
        assert {gene: count_sources(row["sources"]) for gene, row in merged.items()} == {"A": 1, "B": 2, "C": 2}

    def test_part_that_is_gone_yields_one_row_with_the_error(self, plan):
        missing = replace(plan, parts=(plan.parts[0], "/nowhere/part.parquet"))
        (row,) = digest_task(missing, 0, 100).to_pylist()
        assert row["gene"] == ""
        assert row["error"].startswith("/nowhere/part.parquet: ")

    def test_part_with_other_rows_than_recorded_yields_one_row_with_the_error(self, plan):
        (row,) = digest_task(replace(plan, rows=np.array([2, 1, 4, 3])), 0, 100).to_pylist()
        assert "have 3 rows where the source's record says 4" in row["error"]


@settings(max_examples=30)
@given(st.lists(st.lists(samples(200), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 7))
def test_merging_packed_batches_is_merging_digests(values, batch_rows):
    parts = [[digest_of(found, 20) for found in of_gene] for of_gene in values]
    rows = [packed_row(f"G{gene}", task, part) for gene, found in enumerate(parts) for task, part in enumerate(found)]
    for row, found in zip(merged_rows(rows, batch_rows, 20), parts, strict=True):
        assert_equal(digest_in(row), merge_digests(found, 20))
