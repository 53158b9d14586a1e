"""Rows in any order to digests: what is kept of each gene, and what is said of rows that cannot be digested."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from cricks import pack
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from median_spark.digests import (
    PACKED_SCHEMA,
    Oddity,
    digest_rows,
    digest_values,
    medians_of,
    merge_batches,
    sort_values,
    unpack_table,
)
from median_spark.digests import rows as rows_module
from median_spark.gene_values import GeneValues

COMPRESSION = 100.0
SCHEMA = pa.schema([("gene", pa.string()), ("value", pa.float64())])

genes = st.sampled_from(["A", "B", "a", "Ä", "ENSG00000000001", "ENSG00000000001.2", ""])
values = st.floats(1e-300, 1e300) | st.integers(0, 3).map(float)
row_lists = st.lists(st.tuples(genes, values), max_size=200)


def batches_of(rows, size=7):
    table = pa.Table.from_pylist([{"gene": gene, "value": value} for gene, value in rows], schema=SCHEMA)
    return iter(table.to_batches(max_chunksize=size))


def digested(rows, size=7, window_rows=1_000):
    """Return the rows that digests come in, and those that say what is odd, as {oddity: (rows, gene)}."""
    found = pa.Table.from_batches(digest_rows(batches_of(rows, size), COMPRESSION, window_rows), PACKED_SCHEMA)
    all_rows = found.to_pylist()
    odd = {row["error"]: (row["n"], row["gene"]) for row in all_rows if row["error"] is not None}
    return found.filter(pc.is_null(found["error"])), odd


def merged(table):
    """Return the digest of each gene, merged in a fixed order."""
    ordered = table.sort_by([(name, "ascending") for name in ("gene", "n", "min", "max", "centroids")])
    found = pa.Table.from_batches(merge_batches(iter(ordered.to_batches()), COMPRESSION), PACKED_SCHEMA)
    return dict(zip(found["gene"].to_pylist(), unpack_table(found)[0], strict=True))


def above_zero(rows):
    """Return {gene: its values above 0}, also of genes that have none."""
    found = defaultdict(list)
    for gene, value in rows:
        found[gene] += [value] if value > 0 else []
    return found


@examples(200)
@given(row_lists, st.integers(1, 30), st.integers(1, 60))
def test_every_value_above_zero_is_in_the_digest_of_its_gene(rows, size, window_rows):
    digests = merged(digested(rows, size, window_rows)[0])
    expected = above_zero(rows)
    assert digests.keys() == expected.keys()
    for gene, digest in digests.items():
        assert digest.n == len(expected[gene])
        if digest.n:
            assert (digest.min, digest.max) == (min(expected[gene]), max(expected[gene]))
            assert digest.weights.sum() == digest.n


@examples(100)
@given(st.lists(st.tuples(genes, values), max_size=60), st.integers(1, 30), st.integers(1, 60))
def test_few_values_each_keep_a_centroid_of_their_own(rows, size, window_rows):
    digests = {gene: digest for gene, digest in merged(digested(rows, size, window_rows)[0]).items() if digest.n}
    expected = above_zero(rows)
    with np.errstate(over="ignore"):
        for (gene, digest), found in zip(digests.items(), medians_of(list(digests.values())), strict=True):
            assert sorted(digest.means) == sorted(expected[gene])
            assert found == np.median(expected[gene])


@pytest.mark.parametrize("size", [100, 9_999, 100_000])
def test_one_window_is_digested_as_sorted_runs_are(size):
    rng = np.random.default_rng(0)
    names = np.array([f"ENSG{number:011d}" for number in range(300)])
    gene = names[rng.integers(0, 300, 50_000)]
    numbers = rng.lognormal(1.0, 1.0, 50_000)
    order = np.argsort(gene, kind="stable")
    present, counts = np.unique(gene, return_counts=True)
    runs = GeneValues(present, np.concatenate([[0], np.cumsum(counts)]), numbers[order])
    sort_values(runs)
    table, odd = digested(list(zip(gene.tolist(), numbers.tolist(), strict=True)), size, 60_000)
    assert odd == {}
    assert table["gene"].to_pylist() == present.tolist()
    expected = digest_values(runs, COMPRESSION)
    assert table["centroids"].to_pylist() == [pack(digest) for digest in expected]
    assert table["n"].to_pylist() == counts.tolist()


def test_the_order_of_rows_in_a_window_makes_no_difference():
    rng = np.random.default_rng(1)
    rows = [(f"g{number}", float(rng.random() + 1)) for number in rng.integers(0, 9, 5_000)]
    again = [rows[place] for place in rng.permutation(len(rows))]
    assert digested(rows, 100, 10_000)[0].equals(digested(again, 77, 10_000)[0])


def test_more_genes_than_sixteen_bits_count():
    rows = [(f"g{number:06d}", 1.0 + number) for number in range(70_000)]
    table, _ = digested(rows[::-1], 10_000, 100_000)
    assert table["gene"].to_pylist() == [gene for gene, _ in rows]
    assert table["min"].to_pylist() == [value for _, value in rows]


def test_a_window_of_many_values_is_handed_over_in_steps(monkeypatch):
    monkeypatch.setattr(rows_module, "_STEP_ROWS", 100)
    rows = [(f"g{number % 50:02d}", 1.0 + number) for number in range(1_000)]
    found = list(digest_rows(batches_of(rows), COMPRESSION, 5_000))
    assert len([batch for batch in found if batch.num_rows]) == 10
    assert [gene for batch in found for gene in batch["gene"].to_pylist()] == sorted({gene for gene, _ in rows})


def test_a_batch_larger_than_a_window_is_cut():
    rows = [("A", float(number)) for number in range(1, 1_001)]
    table, _ = digested(rows, 1_000, 100)
    assert table["n"].to_pylist() == [100] * 10
    assert table["min"].to_pylist() == [float(first) for first in range(1, 1_001, 100)]


@pytest.mark.parametrize(
    ("gene", "value", "oddity"),
    [
        pytest.param(None, 1.0, Oddity.NULL_GENE, id="null-gene"),
        pytest.param("B", None, Oddity.NULL_VALUE, id="null-value"),
        pytest.param("B", float("nan"), Oddity.NAN, id="nan"),
        pytest.param("B", float("inf"), Oddity.INFINITE, id="inf"),
        pytest.param("B", float("-inf"), Oddity.INFINITE, id="minus-inf"),
        pytest.param("B", -1e-300, Oddity.NEGATIVE, id="negative"),
        pytest.param("B", 0.0, Oddity.ZERO, id="zero"),
        pytest.param("B", -0.0, Oddity.ZERO, id="minus-zero"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_odd_rows_are_counted_by_what_is_odd_and_the_others_digested(gene, value, oddity, size):
    rows = [("A", 1.0), (gene, value), ("C", 2.0), (gene, value), ("A", 3.0)]
    table, odd = digested(rows, size, 4)
    assert odd == {str(oddity): (2, gene)}
    digests = merged(table)
    assert {name: digest.n for name, digest in digests.items() if digest.n} == {"A": 2, "C": 1}
    assert set(digests) == ({"A", "B", "C"} if oddity is Oddity.ZERO else {"A", "C"})


def test_each_oddity_is_told_of_by_itself():
    rows = [("A", None), (None, 1.0), ("B", -1.0), ("C", 0.0), ("D", float("nan")), ("C", 0.0)]
    table, odd = digested(rows)
    assert odd == {
        "null gene": (1, None),
        "null value": (1, "A"),
        "NaN": (1, "D"),
        "negative number": (1, "B"),
        "zero": (2, "C"),
    }
    assert table.select(["gene", "n"]).to_pylist() == [{"gene": "C", "n": 0}]


def test_a_gene_of_zeros_in_one_window_has_its_values_of_another():
    digests = merged(digested([("A", 0.0), ("B", 0.0), ("A", 5.0), ("B", 0.0)], 1, 2)[0])
    assert {gene: (digest.n, digest.means.tolist()) for gene, digest in digests.items()} == {
        "A": (1, [5.0]),
        "B": (0, []),
    }


def test_no_rows_are_no_digests():
    table, odd = digested([])
    assert (table.num_rows, odd) == (0, {})
