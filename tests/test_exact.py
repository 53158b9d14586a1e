"""The second pass without Spark: brackets, collecting, resolving, against numpy.median."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.digests import digest_runs, median_of, merge_digests
from median_spark.exact import (
    FINDINGS_SCHEMA,
    Queries,
    Query,
    brackets,
    collect_runs,
    median_ranks,
    merge_findings,
    rank_error,
)
from median_spark.runs import GeneRuns

COMPRESSION = 20.0  # so that small cases have digests that are off


def runs_of(values):
    return GeneRuns(np.array(["G"]), np.array([0, len(values)]), np.asarray(values, dtype=np.float64))


def refine(parts, most_values=10**6, most_merged=10**6, first=None):
    """Return the median by the refine pass over parts of one gene's values, and in how many rounds."""
    values = np.concatenate(parts)
    merged = merge_digests([digest_runs(runs_of(part), COMPRESSION)[0] for part in parts], COMPRESSION)
    queries = brackets({"G": merged}, COMPRESSION) if first is None else Queries([first])
    if not len(queries):
        return float(np.median(merged.means)), 0
    found, rounds = {}, 0
    while len(queries):
        rounds += 1
        assert rounds < 24
        rows = [row for part in parts for row in collect_runs(runs_of(part), queries, most_values)]
        assert all(len(row.get("values", b"")) <= 8 * most_values for row in rows)
        rows.sort(key=lambda row: row["query"])
        batches = [pa.RecordBatch.from_pylist([row], schema=FINDINGS_SCHEMA) for row in rows]
        left = []
        for batch in merge_findings(iter(batches), queries, most_merged):
            for row in batch.to_pylist():
                ranks = (row["first_rank"], row["last_rank"])
                if row["found"]:
                    found |= dict.fromkeys(ranks, row["low"])
                else:
                    left.append(Query("G", *ranks, row["low"], row["high"], values.min(), values.max()))
        queries = Queries(left)
    return float(np.mean([found[rank] for rank in median_ranks(len(values))])), rounds


def split(values, number):
    return [part for part in np.array_split(values, number) if len(part)]


positive = st.floats(min_value=5e-324, max_value=1e300, allow_nan=False)


@given(st.lists(positive, min_size=1, max_size=400), st.integers(1, 7), st.sampled_from([1, 3, 10**6]))
def test_any_values_in_any_number_of_parts(values, number, most_values):
    values = np.array(values)
    assert refine(split(values, number), most_values, most_values)[0] == np.median(values)


@given(st.lists(st.sampled_from([0.5, 1.0, 1.0 + 2**-52, 2.0, 7.0]), min_size=1, max_size=600), st.integers(1, 5))
def test_ties_and_neighbouring_numbers(values, number):
    values = np.array(values)
    assert refine(split(values, number), 1, 1)[0] == np.median(values)


@pytest.mark.parametrize("n", [999, 1000, 40_001, 40_000])
@pytest.mark.parametrize("most_values", [16, 10**6])
def test_continuous_values_odd_and_even(n, most_values):
    values = np.random.default_rng(n).lognormal(0, 2, n)
    assert refine(split(values, 9), most_values, most_values)[0] == np.median(values)


@pytest.mark.parametrize("ones", [500, 499, 501])
def test_two_values_near_half_and_half_where_the_digest_is_badly_wrong(ones):
    values = np.array([1.0] * ones + [3.0] * (1000 - ones))
    digest = digest_runs(runs_of(values), 200.0)[0]
    assert refine(split(np.random.default_rng(0).permutation(values), 4))[0] == np.median(values)
    assert ones == 500 or abs(median_of(digest, 200.0) - np.median(values)) > 0.5


def test_two_dense_clusters_with_the_median_between_them():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.uniform(1, 1.001, 20_000), rng.uniform(1e6, 1.001e6, 20_000)])
    median, rounds = refine(split(rng.permutation(values), 5), most_values=50, most_merged=50)
    assert median == np.median(values)
    assert rounds > 2


def test_a_bracket_of_all_values_is_narrowed_by_counting_and_never_handed_over():
    values = np.random.default_rng(3).lognormal(0, 1, 50_000)
    whole = Query("G", *median_ranks(len(values)), values.min(), values.max(), values.min(), values.max())
    median, rounds = refine(split(values, 10), most_values=100, most_merged=100, first=whole)
    assert median == np.median(values)
    assert rounds >= 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_bracket_that_misses_is_widened(side):
    values = np.random.default_rng(4).lognormal(0, 1, 5_001)
    low, high = (
        (values.min(), np.quantile(values, 0.2)) if side == "right" else (np.quantile(values, 0.8), values.max())
    )
    wrong = Query("G", *median_ranks(len(values)), low, high, values.min(), values.max())
    median, rounds = refine([values], first=wrong)
    assert (median, rounds) == (np.median(values), 2)


def test_a_bracket_whose_edge_parts_the_two_ranks_of_an_even_count():
    values = np.arange(1.0, 101.0)
    edge = Query("G", 49, 50, 10.0, 50.0, 1.0, 100.0)
    assert refine([values], first=edge) == (50.5, 2)


def test_one_value_needs_no_round():
    assert refine([np.array([7.0])]) == (7.0, 0)


def test_genes_that_a_digest_knows_exactly_are_not_asked_for():
    runs = GeneRuns(np.array(["A", "B"]), np.array([0, 20, 5020]), np.random.default_rng(0).lognormal(0, 1, 5020))
    found = dict(zip("AB", digest_runs(runs, 200.0), strict=True))
    assert brackets(found, 200.0).genes.tolist() == ["B"]


def test_brackets_are_narrow():
    values = np.random.default_rng(0).lognormal(0, 1, 100_000)
    query = brackets({"G": digest_runs(runs_of(values), 200.0)[0]}, 200.0)[0]
    assert np.mean((values >= query.low) & (values <= query.high)) < 0.02


@given(
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=50), st.sampled_from([0.5, 1.0, 2.5, 4.0, 9.0])
)
def test_rank_error_is_the_distance_from_the_middle_rank(values, estimate):
    values = np.sort(values)
    below, up_to, n = np.sum(values < estimate), np.sum(values <= estimate), len(values)
    assert rank_error(int(below), int(up_to), n) == min(
        abs(rank - n / 2) for rank in np.linspace(below, up_to, 2001)
    ) / n or (below <= n / 2 <= up_to and rank_error(int(below), int(up_to), n) == 0)
