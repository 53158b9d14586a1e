"""How far medians move over subsets of the sources: against numpy, and against corpora that are drawn again."""

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from corpora import GENES, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from median_spark.digests import PACKED_SCHEMA, digest_sweep, merge_batches
from median_spark.digests.stability import (
    FRACTIONS,
    HALVES,
    ORDERS,
    deal_sources,
    merge_sketches,
    number_of,
    sketch_values,
    stability_of,
)
from median_spark.digests.stability import _subsets as subsets_of

BIN = 1 / 64
"""A bin's width, as a fraction of its lower end, at most."""


def sketched(genes):
    """Return the sketches of genes: for each a list of pairs of a bucket and its values."""
    values = [np.concatenate([np.asarray(found, dtype=np.float64) for _, found in gene]) for gene in genes]
    buckets = [np.concatenate([np.full(len(found), bucket, np.uint8) for bucket, found in gene]) for gene in genes]
    offsets = np.append(0, np.cumsum([len(each) for each in values]))
    return sketch_values(np.concatenate(values), offsets, np.concatenate(buckets))


def random_genes(seed, genes=40, buckets=16, most=3_000):
    rng = np.random.default_rng(seed)
    sizes = (10 ** rng.uniform(0, np.log10(most), (genes, buckets))).astype(int)
    sizes[rng.random(sizes.shape) < 0.2] = 0
    sizes[:, 0] = np.maximum(sizes[:, 0], 1)
    return [[(bucket, rng.lognormal(rng.normal(), 1, size)) for bucket, size in enumerate(row)] for row in sizes]


def distance(one, other):
    return max(one / other, other / one) - 1


class TestDeal:
    @given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
    def test_buckets_are_a_power_of_two_and_hold_about_as_much(self, values):
        buckets = deal_sources([f"s{number}" for number in range(len(values))], values)
        number = number_of(buckets)
        assert number <= min(16, len(values))
        assert number == 16 or number > len(values) / 2
        assert sorted(set(buckets.tolist())) == list(range(number))
        assert number.bit_count() == 1
        held = np.bincount(buckets, values)
        assert held.max() - held.min() <= max(values)

    @given(st.permutations(range(20)))
    def test_does_not_depend_on_the_order_of_sources(self, order):
        names, values = [f"s{number}" for number in range(20)], [100 + number // 3 for number in range(20)]
        wanted = dict(zip(names, deal_sources(names, values).tolist(), strict=True))
        found = deal_sources([names[place] for place in order], [values[place] for place in order])
        assert found.tolist() == [wanted[names[place]] for place in order]

    def test_of_one_source_and_of_none(self):
        assert deal_sources(["a"], [5]).tolist() == [0]
        assert deal_sources([], []).tolist() == []

    def test_equal_sources_are_dealt_by_their_names(self):
        together = [deal_sources([f"{prefix}{number}" for number in range(32)], [7] * 32).tolist() for prefix in "ab"]
        assert together[0] != together[1]
        assert all(sorted(each) == sorted([*range(16)] * 2) for each in together)


class TestSubsets:
    @pytest.mark.parametrize("buckets", [2, 4, 8, 16])
    def test_are_all_halves_all_but_one_and_growing(self, buckets):
        subsets = subsets_of(buckets).T
        sizes = [fraction for fraction in FRACTIONS if fraction <= buckets]
        assert len(subsets) == 1 + HALVES + buckets + ORDERS * len(sizes)
        assert subsets[0].all()
        halves = subsets[1 : 1 + HALVES]
        assert (halves.sum(axis=1) == buckets // 2).all()
        assert (halves[::2] + halves[1::2] == 1).all()
        left_out = subsets[1 + HALVES : 1 + HALVES + buckets]
        assert (left_out == 1 - np.eye(buckets)).all()
        growing = subsets[1 + HALVES + buckets :].reshape(ORDERS, len(sizes), buckets)
        assert (growing.sum(axis=2) == [buckets // fraction for fraction in sizes]).all()
        assert (np.diff(growing, axis=1) >= 0).all()  # each has the one before
        assert (np.ptp(growing.sum(axis=0), axis=1) <= 1).all()  # each size has every bucket equally often
        assert np.ptp(halves.sum(axis=0)) == 0

    def test_halves_differ(self):
        halves = subsets_of(16).T[1 : 1 + HALVES]
        assert len({tuple(half) for half in halves.tolist()}) == HALVES
        few = subsets_of(4).T[1 : 1 + HALVES]
        assert len({tuple(half) for half in few.tolist()}) == 6

    def test_are_the_same_for_ever(self):
        content = hashlib.sha256(subsets_of(16).astype("u1").tobytes()).hexdigest()
        assert content[:16] == "bd92d914ce2b6dec"


class TestSketches:
    @given(st.integers(0, 1_000))
    @examples(20)
    def test_of_several_bundles_merge_to_the_same_bytes(self, seed):
        rng = np.random.default_rng(seed)
        genes = random_genes(seed, genes=5, most=200)
        whole = sketched(genes)
        for gene, sketch in zip(genes, whole, strict=True):
            shuffled = [(bucket, part) for bucket, found in gene for part in np.array_split(found, 3) if len(part)]
            cuts = [0, *sorted(rng.integers(0, len(shuffled) + 1, 2).tolist()), len(shuffled)]
            rng.shuffle(shuffled)
            bundles = [shuffled[begin:end] for begin, end in pairwise(cuts) if end > begin]
            assert merge_sketches([sketched([bundle])[0] for bundle in bundles]) == sketch

    def test_are_the_same_by_sorting_and_by_counting(self):
        dense = [(bucket, np.linspace(1, 1.1, 500)) for bucket in range(16)]
        sparse = [(0, [1e-3, 1.0]), (15, [1e6])]
        alone = sketched([dense]) + sketched([sparse])
        assert sketched([dense, sparse]) == alone

    def test_of_nothing(self):
        none = np.zeros(0)
        assert sketch_values(none, np.array([0]), none.astype(np.uint8)) == []
        assert stability_of([], 4).halves.shape == (0,)


class TestStability:
    @pytest.mark.parametrize("buckets", [2, 4, 8, 16])
    def test_is_that_of_numpys_medians(self, buckets):
        genes = random_genes(buckets, buckets=buckets)
        found = stability_of(sketched(genes), buckets)
        subsets = subsets_of(buckets).T.astype(bool)
        sizes = [fraction for fraction in FRACTIONS if fraction <= buckets]
        for number, gene in enumerate(genes):
            held = dict(gene)
            medians = [
                np.median(values)
                if len(values := np.concatenate([held[each] for each in np.flatnonzero(subset)]))
                else np.nan
                for subset in subsets
            ]
            away = np.array([distance(each, medians[0]) for each in medians[1:]])
            away[np.isnan(away)] = np.inf
            growing = away[HALVES + buckets :].reshape(ORDERS, -1)
            wanted = [
                (found.halves[number], np.median(away[:HALVES])),
                (found.left_out[number], away[HALVES : HALVES + buckets].max()),
                *zip(found.distances[number][4 - len(sizes) :], np.median(growing, axis=0), strict=True),
            ]
            for estimate, exact in wanted:
                # Both medians of a ratio may be half a bin off.
                assert estimate == exact or estimate == pytest.approx(exact, abs=1.2 * BIN * (1 + exact))
            assert np.isnan(found.distances[number][: 4 - len(sizes)]).all()

    def test_of_many_values_is_much_finer_than_a_bin(self):
        rng = np.random.default_rng(0)
        gene = [(bucket, rng.lognormal(1, 0.7, 20_000)) for bucket in range(16)]
        found = stability_of(sketched([gene]), 16)
        whole = np.median(np.concatenate([values for _, values in gene]))
        halves = []
        for half in subsets_of(16).T[1 : 1 + HALVES].astype(bool):
            values = np.concatenate([gene[bucket][1] for bucket in np.flatnonzero(half)])
            halves.append(distance(np.median(values), whole))
        assert found.halves[0] == pytest.approx(np.median(halves), abs=0.0005)

    def test_of_equal_sources_is_none(self):
        values = np.random.default_rng(1).lognormal(size=301)
        found = stability_of(sketched([[(bucket, values) for bucket in range(16)]]), 16)
        assert found.halves.tolist() == found.left_out.tolist() == [0.0]
        assert found.ratios.tolist() == [[1.0] * 4]
        assert found.distances.tolist() == [[0.0] * 4]

    def test_of_a_gene_that_most_subsets_lack_is_infinite(self):
        found = stability_of(sketched([[(3, [1.0, 2.0])]]), 16)
        assert np.isinf([found.left_out[0], *found.distances[0, :3]]).all()
        assert np.isnan(found.ratios[0, :3]).all()

    def test_one_odd_source_shows_when_it_is_left_out(self):
        rng = np.random.default_rng(2)
        gene = [(bucket, rng.lognormal(3 if bucket == 5 else 0, 0.1, 3_000)) for bucket in range(16)]
        even = [(bucket, rng.lognormal(0, 0.1, 3_000)) for bucket in range(16)]
        odd, plain = stability_of(sketched([gene, even]), 16).left_out
        assert plain < 0.005 < odd

    def test_genes_do_not_depend_on_their_neighbours(self):
        genes = random_genes(9, genes=30)
        together = stability_of(sketched(genes), 16)
        for number, gene in enumerate(genes):
            alone = stability_of(sketched([gene]), 16)
            for name in ("halves", "left_out", "ratios", "distances"):
                np.testing.assert_array_equal(getattr(together, name)[number], getattr(alone, name)[0])

    def test_says_how_far_medians_would_move_with_as_many_sources_again(self):
        """Sources differ in level; the true move is that of 32 sources against the first 16 of them."""
        rng = np.random.default_rng(0)
        genes = 300
        level = rng.normal(0, 0.3, (genes, 32))
        values = [[rng.lognormal(level[gene, source], 0.5, 400) for source in range(32)] for gene in range(genes)]
        found = stability_of(sketched([list(enumerate(gene[:16])) for gene in values]), 16)
        moved = [distance(np.median(np.concatenate(gene)), np.median(np.concatenate(gene[:16]))) for gene in values]
        assert np.median(found.halves) / np.sqrt(2) == pytest.approx(np.median(moved), rel=0.1)


class TestSweeps:
    """The stability of a table's genes, as its sweeps and merges find it."""

    @pytest.fixture(scope="class")
    def corpus(self, tmp_path_factory):
        rng = np.random.default_rng(5)

        def part():
            return {gene: rng.lognormal(size=rng.integers(1, 40)) for gene in GENES if rng.random() < 0.6}

        sources = {f"s{number:02d}": [part(), part()] for number in range(20)}
        return write_corpus(tmp_path_factory.mktemp("stability") / "x", sources)

    def found(self, corpus, buckets, rows):
        plan = corpus.plan(window_rows=rows)
        batches = [
            batch
            for number in range(plan.sweeps)
            for batch in digest_sweep(plan, number, 200.0, exact=True, buckets=buckets)
        ]
        table = pa.Table.from_batches(batches, PACKED_SCHEMA)
        if plan.bundles > 1:
            assert table["stability"].null_count == len(table)
            ordered = table.sort_by([("gene", "ascending"), ("bundle", "ascending")])
            merged = merge_batches(iter(ordered.to_batches(max_chunksize=7)), 200.0, number_of(buckets))
            table = pa.Table.from_batches(merged, PACKED_SCHEMA)
        assert table["sketch"].null_count == len(table)
        return plan.bundles, dict(zip(table["gene"].to_pylist(), table["stability"].to_pylist(), strict=True))

    def test_is_the_same_bytes_in_one_bundle_and_in_several(self, corpus):
        names, values = zip(*((record.source, record.values) for record in corpus.records), strict=True)
        buckets = deal_sources(names, values)
        one, several = (self.found(corpus, buckets, rows) for rows in (10_000_000, 300))
        assert (one[0], several[0] > 2) == (1, True)
        assert one[1] == several[1]

    def test_is_that_of_the_sources_own_values(self, corpus):
        names, values = zip(*((record.source, record.values) for record in corpus.records), strict=True)
        buckets = deal_sources(names, values)
        _, packed = self.found(corpus, buckets, 10_000_000)
        for gene, figures in packed.items():
            held = [
                (int(bucket), corpus.content[name][gene])
                for name, bucket in zip(names, buckets, strict=True)
                if gene in corpus.content[name]
            ]
            assert stability_of(sketched([held]), 16).pack() == [figures]

    def test_is_not_there_unless_asked_for(self, corpus):
        assert set(self.found(corpus, None, 10_000_000)[1].values()) == {None}
