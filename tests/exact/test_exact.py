"""The second pass without Spark: brackets, collecting, resolving, against numpy.median."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cricks import merge_digests
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from median_spark.digests import digest_values, medians_of, sort_values
from median_spark.exact import (
    FINDINGS_SCHEMA,
    Findings,
    Queries,
    Query,
    brackets,
    collect_sweep,
    median_ranks,
    merge_findings,
)
from median_spark.expression import plan_sweeps, write_part
from median_spark.gene_values import GeneValues

COMPRESSION = 20.0  # so that small cases have digests that are off


def runs_of(values):
    return GeneValues(np.array(["G"]), np.array([0, len(values)]), np.asarray(values, dtype=np.float64))


def digest_of(values, compression=COMPRESSION):
    runs = runs_of(np.sort(values))
    return digest_values(runs, compression)[0]


def findings_in(values, queries, most_values):
    runs, findings = runs_of(values), Findings(queries, most_values)
    findings.add(runs.offsets, runs.values, *queries.of_genes(runs.genes))
    return findings.taken()


def refine(parts, most_values=10**6, most_merged=10**6, first=None, sent=0):
    """Return the median by the refine pass over parts of one gene's values, and in how many rounds."""
    values = np.concatenate(parts)
    merged = merge_digests([digest_of(part) for part in parts], COMPRESSION)
    queries = brackets({"G": merged}, COMPRESSION, sent) if first is None else Queries([first])
    if not len(queries):
        return float(np.median(merged.means)), 0
    found, rounds = {}, 0
    while len(queries):
        rounds += 1
        assert rounds < 24
        rows = [row for part in parts for row in findings_in(part, queries, most_values).to_pylist()]
        assert all(len(row["values"] or b"") <= 8 * most_values for row in rows)
        assert all((row["values"] is None) == (row["bins"] is not None) for row in rows)
        rows.sort(key=lambda row: row["query"])
        batches = [pa.RecordBatch.from_pylist([row], schema=FINDINGS_SCHEMA) for row in rows]
        left = []
        for batch in merge_findings(iter(batches), queries, most_merged):
            for row in batch.to_pylist():
                ranks = (row["first_rank"], row["last_rank"])
                if row["resolved"]:
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
    digest = digest_of(values, 200.0)
    assert refine(split(np.random.default_rng(0).permutation(values), 4))[0] == np.median(values)
    assert ones == 500 or abs(medians_of([digest])[0] - np.median(values)) > 0.5


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


def test_equal_values_of_a_rare_gene_need_one_round_only():
    """Few values, each in as many cells as a cluster has: where between them the digest sees the median is chance."""
    rng = np.random.default_rng(6)
    rounds = []
    for _ in range(20):
        values = rng.permutation(np.repeat(rng.lognormal(1, 1, 30), 40))
        for sent in (0, 256):
            median, needed = refine(split(values, 3), sent=sent)
            assert median == np.median(values)
            rounds.append((sent, needed))
    assert (0, 2) in rounds
    assert {needed for sent, needed in rounds if sent} == {1}


def test_what_is_sent_for_rare_genes_is_shared_among_them():
    values = np.random.default_rng(0).lognormal(0, 1, 2_000)
    digests = {f"G{number}": digest_of(values, 200.0) for number in range(10)}
    inside = [
        sum(np.sum((values >= low) & (values <= high)) for low, high in zip(found.low, found.high, strict=True))
        for found in (brackets(digests, 200.0, sent) for sent in (0, 1_000, 10**6))
    ]
    assert inside[0] < inside[1] < 1_300 < 2_000 < inside[2] < 3_000


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
    runs = GeneValues(np.array(["A", "B"]), np.array([0, 20, 5020]), np.random.default_rng(0).lognormal(0, 1, 5020))
    sort_values(runs)
    found = dict(zip("AB", digest_values(runs, 200.0), strict=True))
    assert brackets(found, 200.0).genes.tolist() == ["B"]


def test_brackets_are_narrow():
    values = np.random.default_rng(0).lognormal(0, 1, 100_000)
    query = brackets({"G": digest_of(values, 200.0)}, 200.0)[0]
    assert np.mean((values >= query.low) & (values <= query.high)) < 0.02


@given(st.lists(st.lists(positive, min_size=1, max_size=300), min_size=1, max_size=6), st.sampled_from([20.0, 200.0]))
def test_brackets_lie_within_the_gene_s_values_and_around_the_estimate(values, compression):
    digests = {f"G{number}": digest_of(found, compression) for number, found in enumerate(values)}
    queries = brackets(digests, compression, 0)
    assert set(queries.genes.tolist()) == {gene for gene, digest in digests.items() if len(digest.means) < digest.n}
    for number in range(len(queries)):
        query = queries[number]
        digest = digests[query.gene]
        assert (query.floor, query.ceiling) == (digest.min, digest.max)
        assert (query.first_rank, query.last_rank) == median_ranks(digest.n)
        assert digest.min <= query.low <= query.estimate <= query.high <= digest.max
        assert query.estimate == medians_of([digest])[0]


SOURCES = {
    "one": {"A": [1.0, 2.0], "B": [5.0, 6.0, 7.0], "C": [1.5]},
    "two": {"B": [0.5, 6.0, 8.0], "D": [3.0]},
}


class TestCollectSweep:
    """On two sources, each a bundle of its own."""

    @pytest.fixture
    def plan(self, tmp_path):
        records = []
        for source, values in SOURCES.items():
            lengths = [len(found) for found in values.values()]
            runs = GeneValues(
                np.array(list(values)),
                np.concatenate([[0], np.cumsum(lengths)]),
                np.concatenate(list(values.values())),
                np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
            )
            ids = np.array(["x", "y", "z"])
            part = write_part(f"{tmp_path}/source={source}/part.parquet", runs, ids, row_group_rows=2)
            records.append(record_of(source, parts=[part]))
        made = plan_sweeps(str(tmp_path), records, list("ABCD"), window_rows=5, sweep_rows=1)
        assert made.bundles == 2
        assert made.sweeps > 2
        return made

    def collected(self, plan, queries):
        batches = [batch for number in range(plan.sweeps) for batch in collect_sweep(plan, number, queries)]
        assert all(batch.schema == FINDINGS_SCHEMA for batch in batches)
        return [row for batch in batches for row in batch.to_pylist()]

    def test_answers_each_query_once_a_bundle_from_all_its_values(self, plan):
        queries = Queries([Query("A", 0, 1, 1.0, 2.0, 1.0, 2.0, 1.5), Query("B", 2, 3, 5.5, 7.5, 0.5, 8.0, 6.0)])
        rows = self.collected(plan, queries)
        assert [(row["gene"], row["query"], row["error"]) for row in rows] == [
            ("A", 0, None),
            ("B", 1, None),
            ("B", 1, None),
        ]
        assert [np.frombuffer(row["values"]).tolist() for row in rows] == [[1.0, 2.0], [6.0, 7.0], [6.0]]
        assert [row["below"] for row in rows] == [0, 1, 1]
        assert [(row["estimate_below"], row["estimate_up_to"]) for row in rows] == [(1, 1), (1, 2), (1, 2)]

    def test_findings_of_all_sweeps_merge_to_the_median(self, plan):
        rows = self.collected(plan, Queries([Query("B", 2, 3, 5.5, 7.5, 0.5, 8.0, 6.0)]))
        batches = [pa.RecordBatch.from_pylist([row], schema=FINDINGS_SCHEMA) for row in rows]
        queries = Queries([Query("B", 2, 3, 5.5, 7.5, 0.5, 8.0, 6.0)])
        (outcome,) = [row for batch in merge_findings(iter(batches), queries) for row in batch.to_pylist()]
        assert (outcome["resolved"], outcome["low"], outcome["first_rank"], outcome["last_rank"]) == (True, 6.0, 2, 3)

    def test_a_part_that_is_gone_yields_a_row_with_the_error(self, plan):
        Path(plan.parts[1]).unlink()
        rows = self.collected(plan, Queries([Query("A", 0, 1, 1.0, 2.0, 1.0, 2.0, 1.5)]))
        failed = [row["error"] for row in rows if row["error"] is not None]
        assert failed
        assert all(error.startswith(f"{plan.parts[1]}: this part is listed") for error in failed)
