"""Which groups stand apart: homogeneous corpora hardly ever, a plate-like one among droplet-like ones always."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.errors import TableError
from median_spark.expression import GroupFigures, Grouping
from median_spark.results import (
    GROUPS_SCHEMA,
    GroupComparison,
    GroupRatio,
    MedianChange,
    change_of,
    compare_group,
    group_columns,
    group_runs,
    groups_table,
    read_medians_of_groups,
    stand_apart,
    with_groups,
)

GENES = 300


def ratio_at(log):
    low, middle, high = np.exp([log - 0.1, log, log + 0.1]).tolist()
    return GroupRatio(GENES, GENES, (low, middle, high))


def generated_corpus(seed, sources, odd=(), scale=10.0, spread=0.1):
    """Return the ratios of sources of cells drawn alike, but for `odd` ones, whose values are scaled.

    A value is 10,000 times a gene's count over a cell's total, which differs by `spread` between sources.
    """
    rng = np.random.default_rng(seed)
    rates = rng.lognormal(-1.0, 1.2, GENES)
    content = []
    for source in range(sources):
        cells = int(rng.integers(60, 120))
        counts = rng.poisson(rates[:, None] * rng.gamma(4, 0.25, (GENES, cells)))
        totals = 3_000 * rng.lognormal(0, 0.3, cells) * np.exp(rng.normal(0, spread))
        values = counts / totals * 10_000 * (1 / scale if source in odd else 1)
        content.append([values[gene][counts[gene] > 0] for gene in range(GENES)])
    pooled = [np.concatenate([values[gene] for values in content]) for gene in range(GENES)]
    corpus_cells = np.array([len(values) for values in pooled])
    corpus_medians = np.array([np.median(values) if len(values) else np.nan for values in pooled])
    ratios = []
    for values in content:
        genes = np.array([gene for gene in range(GENES) if len(values[gene])])
        n_cells = np.array([len(values[gene]) for gene in genes])
        medians = np.array([np.median(values[gene]) for gene in genes])
        ratios.append(compare_group(genes, n_cells, medians, corpus_cells, corpus_medians))
    return ratios


class TestCompareGroup:
    def test_takes_the_median_and_quartiles_of_ratios(self):
        rng = np.random.default_rng(0)
        corpus, factors = rng.lognormal(size=100), rng.lognormal(0.5, 0.3, 80)
        genes = np.arange(20, 100)
        cells = np.full(80, 50)
        found = compare_group(genes, cells, corpus[genes] * factors, np.full(100, 500), corpus)
        assert found.quartiles == pytest.approx(np.quantile(factors, [0.25, 0.5, 0.75]), rel=1e-9)
        assert (found.genes_detected, found.genes_compared) == (80, 80)

    def test_leaves_out_genes_with_few_cells(self):
        cells = np.array([9] * 50 + [10] * 40)
        medians = np.concatenate([np.full(50, 100.0), np.full(40, 2.0)])
        found = compare_group(np.arange(90), cells, medians, np.full(90, 99), np.ones(90))
        assert (found.genes_detected, found.genes_compared) == (90, 40)
        assert found.quartiles == (2.0,) * 3

    def test_has_no_ratio_of_fewer_than_thirty_genes(self):
        found = compare_group(np.arange(29), np.full(29, 50), np.ones(29), np.full(29, 99), np.ones(29))
        assert np.isnan(found.quartiles).all()
        assert found.genes_compared == 29

    def test_of_no_gene(self):
        none = np.zeros(0, dtype=np.int64)
        assert compare_group(none, none, np.zeros(0), np.zeros(3, np.int64), np.full(3, np.nan)).genes_detected == 0

    def test_of_the_corpus_itself_is_one(self):
        (found,) = generated_corpus(1, 1)
        assert found.quartiles == (1.0, 1.0, 1.0)


class TestStandApart:
    @pytest.mark.parametrize("seed", range(10))
    @pytest.mark.parametrize("sources", [3, 6, 20])
    def test_a_plate_like_source_is_found_and_no_other(self, seed, sources):
        odd = seed % sources
        verdict = stand_apart(generated_corpus(seed, sources, {odd}))
        assert verdict.judged
        assert np.flatnonzero(verdict.apart).tolist() == [odd]
        assert verdict.distance[odd] == pytest.approx(-np.log(10), abs=0.5)

    @pytest.mark.parametrize("sources", [3, 5, 10, 20])
    def test_homogeneous_corpora_give_hardly_a_warning(self, sources):
        false = sum(stand_apart(generated_corpus(seed, sources)).apart.any() for seed in range(15))
        assert false == 0

    @pytest.mark.parametrize("sources", [3, 4, 5, 8, 12, 20, 50, 200])
    @pytest.mark.parametrize("spread", [0.1, 0.2, 0.3])
    def test_sources_that_differ_by_chance_alone_are_hardly_ever_apart(self, sources, spread):
        rng = np.random.default_rng(sources)
        drawn = rng.normal(0, spread, (400, sources))
        apart = [stand_apart([ratio_at(log) for log in logs]).apart for logs in drawn]
        assert np.mean([flags.any() for flags in apart]) < 0.15
        assert np.mean(np.concatenate(apart)) < 0.03

    @pytest.mark.parametrize("plates", [1, 5, 9, 10])
    def test_of_a_mixture_in_any_parts_something_is_apart(self, plates):
        ratios = generated_corpus(plates, 20, set(range(plates)), spread=0.3)
        apart = np.flatnonzero(stand_apart(ratios).apart)
        assert len(apart) >= 1
        if plates < 8:
            assert apart.tolist() == list(range(plates))

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_fewer_than_three_sources_give_no_verdict(self, number):
        verdict = stand_apart([ratio_at(log) for log in (0.0, 5.0)[:number]])
        assert not verdict.judged
        assert not verdict.apart.any()
        assert verdict.most_apart(5) == []

    def test_sources_without_a_ratio_are_passed_over(self):
        none = GroupRatio(3, 0, (np.nan,) * 3)
        assert not stand_apart([ratio_at(0.0), none, ratio_at(5.0)]).judged
        verdict = stand_apart([ratio_at(0.0), none, ratio_at(5.0), ratio_at(0.1)])
        assert verdict.apart.tolist() == [False, False, True, False]
        assert np.isnan(verdict.distance[1])

    def test_less_than_a_factor_of_one_and_a_half_is_never_apart(self):
        alike = [ratio_at(0.0)] * 20
        assert not stand_apart([*alike, ratio_at(np.log(1.49))]).apart.any()
        assert stand_apart([*alike, ratio_at(-np.log(1.51))]).apart.tolist() == [False] * 20 + [True]

    def test_more_than_a_factor_of_three_is_always_apart(self):
        logs = np.linspace(-1.05, 1.05, 21)
        assert not stand_apart([ratio_at(log) for log in logs]).apart.any()
        verdict = stand_apart([ratio_at(log) for log in [*logs, -1.2, 1.2]])
        assert np.flatnonzero(verdict.apart).tolist() == [21, 22]

    @given(st.lists(st.floats(-4, 4), min_size=3, max_size=30), st.floats(-3, 3))
    def test_it_depends_on_ratios_to_each_other_alone(self, logs, shift):
        logs = np.round(logs, 3)
        one, other = (stand_apart([ratio_at(log) for log in found]) for found in (logs, logs + shift))
        clear = np.abs(np.abs(one.distance) - one.threshold) > 1e-6
        assert (one.apart == other.apart)[clear].all()
        mirrored = stand_apart([ratio_at(-log) for log in logs])
        assert (one.apart == mirrored.apart)[clear].all()

    def test_the_farthest_come_first(self):
        verdict = stand_apart([ratio_at(log) for log in [0, 0.1, -4, 0, 3, 5, 0.05, 0, 0]])
        assert verdict.most_apart(5) == [5, 2, 4]
        assert verdict.most_apart(2) == [5, 2]


class TestChange:
    def table(self, medians):
        names = [f"G{number}" for number in range(len(medians))]
        return pa.table({"gene": names, "median": pa.array(medians, pa.float64())})

    def test_is_counted_over_the_genes_that_both_have(self):
        before = self.table([1.0, 2.0, 4.0, None, 8.0, 5.0])
        after = self.table([1.0, 2.2001, 2.0, None, None, 5.4])
        factors = np.array([1.0, 1.10005, 2.0, 1.08])
        assert change_of(before, after) == MedianChange(
            pytest.approx(np.median(factors) - 1),
            pytest.approx(np.percentile(factors, 95) - 1),
            changed=2,
            lost=1,
        )

    def test_genes_that_are_of_the_lost_universe_only_are_lost(self):
        before = self.table([1.0, 2.0, 3.0])
        assert change_of(before, before.slice(1)) == MedianChange(0.0, 0.0, 0, 1)

    def test_of_nothing_is_none(self):
        assert change_of(self.table([3.0, 1.0]), self.table([3.0, 1.0])) == MedianChange(0.0, 0.0, 0, 0)


class TestTable:
    def table(self, logs, changes=None):
        ratios = [GroupRatio(0, 0, (np.nan,) * 3) if log is None else ratio_at(log) for log in logs]
        figures = tuple(GroupFigures(1, 15, 300, 2_000.0 + number) for number in range(len(logs)))
        groups = tuple((f"s{number}",) for number in range(len(logs)))
        return groups_table(Grouping(("study",), groups, figures, (), {}), ratios, stand_apart(ratios), changes or {})

    def test_tells_depth_detection_and_ratio(self):
        table = self.table([0.0, 0.1, None, -3.0], {3: MedianChange(0.1, 0.2, 3, 4)})
        assert table.schema.equals(with_groups(["study"], GROUPS_SCHEMA))
        assert group_columns(table) == ["study"]
        rows = table.to_pylist()
        assert [row["apart"] for row in rows] == [False, False, None, True]
        assert rows[3]["ratio"] == np.exp(-3.0)
        assert rows[3]["factor_apart"] == pytest.approx(np.exp(3.0))
        assert (rows[3]["ratio_q25"], rows[3]["ratio_q75"]) == (np.exp(-3.1), np.exp(-2.9))
        assert (rows[1]["median_n_counts"], rows[1]["values_per_cell"]) == (2_001.0, 20.0)
        assert [row["without_typical_change"] for row in rows] == [None, None, None, 0.1]
        assert [rows[3][f"without_{name}"] for name in ("p95_change", "genes_changed", "genes_lost")] == [0.2, 3, 4]
        assert rows[2]["ratio"] is rows[2]["factor_apart"] is None
        assert [(row["study"], row["sources"], row["cells"]) for row in rows] == [(f"s{n}", 1, 15) for n in range(4)]

    def test_names_those_apart_or_nothing_where_there_is_no_verdict(self, tmp_path):
        assert GroupComparison(self.table([0.0, 0.1, 3.0, -3.0]), tmp_path).apart == ["s2", "s3"]
        assert GroupComparison(self.table([0.0, 0.1, 0.0]), tmp_path).apart == []
        assert GroupComparison(self.table([0.0, 3.0]), tmp_path).apart is None


class TestMediansOfGroups:
    """Reading some groups from the file of all."""

    BY = ("assay", "sex")
    NAMES = tuple((assay, sex) for assay in ("a", "b", "c", None) for sex in ("f", None))

    @pytest.fixture(scope="class")
    def file(self, tmp_path_factory):
        rows = [
            {"assay": assay, "sex": sex, "gene": f"G{gene}", "n_cells": number, "median": gene + number / 10}
            for number, (assay, sex) in enumerate(self.NAMES)
            for gene in range(number, 7)
        ]
        schema = pa.schema(
            [("assay", pa.string()), ("sex", pa.string()), ("gene", pa.string()), ("n_cells", pa.int64()),
             ("median", pa.float64())]
        )  # fmt: skip
        path = tmp_path_factory.mktemp("groups") / "by_group.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=5)
        return path, rows

    @given(st.sets(st.sampled_from([*NAMES, ("d", "f"), ("(none)", "f")])))
    def test_are_all_rows_of_the_groups_wherever_row_groups_end(self, file, groups):
        path, rows = file
        found = read_medians_of_groups(str(path), self.BY, groups, ["gene", "n_cells", "median"])
        assert found.to_pylist() == [row for row in rows if (row["assay"], row["sex"]) in groups]
        runs = group_runs(found, self.BY)
        assert [name for name, _, _ in runs] == [name for name in self.NAMES[:7] if name in groups]
        assert [end - begin for _, begin, end in runs] == [7 - self.NAMES.index(name) for name, _, _ in runs]

    def test_without_a_column_are_rejected(self, file):
        with pytest.raises(TableError, match="lacks the column 'mean'"):
            read_medians_of_groups(str(file[0]), self.BY, {("a", "f")}, ["gene", "mean"])

    def test_of_a_damaged_file_are_rejected(self, tmp_path):
        (tmp_path / "by_group.parquet").write_bytes(b"PAR1")
        with pytest.raises(TableError, match="this file of a result cannot be read"):
            read_medians_of_groups(str(tmp_path / "by_group.parquet"), self.BY, {("a", "f")}, ["gene"])
