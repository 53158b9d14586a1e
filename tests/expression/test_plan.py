"""Plans of sweeps: every row group is reached, bundles fit a window, and nothing but the records decides."""

import json
import pickle
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from median_spark.expression import PartEntry, RowGroup, SourceRecord, create_table, open_table, plan_sweeps
from median_spark.expression.record_log import encode_records

VALUES = "/expression/values"
GENES = list("ABCDEFGHIJ")


def record_with(source, *parts):
    """Return a record of a source whose parts are lists of (rows, first gene, last gene)."""
    entries = tuple(
        PartEntry(f"part-{number:05d}-c0.parquet", 100, tuple(RowGroup(*group) for group in groups))
        for number, groups in enumerate(parts)
    )
    return record_of(source, parts=entries)


@st.composite
def parts(draw):
    """Draw the row groups of a part, at least one: ranges of genes that ascend and do not overlap."""
    chosen = sorted(draw(st.sets(st.sampled_from(GENES), min_size=1)))
    cuts = [0, *sorted(draw(st.sets(st.integers(1, len(chosen)), max_size=4)) - {len(chosen)}), len(chosen)]
    return [(draw(st.integers(1, 1_000)), chosen[begin], chosen[end - 1]) for begin, end in pairwise(cuts)]


drawn_records = st.lists(st.lists(parts(), max_size=4), max_size=5).map(
    lambda sources: [record_with(f"source{number}", *drawn) for number, drawn in enumerate(sources)]
)
some_rows = st.integers(1, 5_000)


def listed(records):
    """Return (part, source number, row group, rows, first gene, last gene) of all row groups by the records."""
    return [
        (f"{VALUES}/source={record.source}/{part.name}", source, number, group.rows, group.gene_min, group.gene_max)
        for source, record in enumerate(records)
        for part in record.parts
        for number, group in enumerate(part.row_groups)
    ]


def planned(plan):
    """Return the same, as a plan has it."""
    return [
        (
            plan.parts[part],
            int(plan.source_of_part[part]),
            int(plan.number[group]),
            int(plan.rows[group]),
            str(plan.genes[plan.first_gene[group]]),
            str(plan.genes[plan.last_gene[group]]),
        )
        for part, (begin, end) in enumerate(pairwise(plan.groups_of_part.tolist()))
        for group in range(begin, end)
    ]


def groups_of_bundle(plan, bundle):
    """Return one range of row groups for each part of a bundle."""
    first, last = plan.parts_of_bundle[bundle : bundle + 2]
    return [range(*plan.groups_of_part[part : part + 2].tolist()) for part in range(first, last)]


def content(plan):
    """Return all that a plan consists of, to compare it."""
    found = [getattr(plan, field.name) for field in fields(plan)]
    return [(column.dtype.str, column.tolist()) if isinstance(column, np.ndarray) else column for column in found]


@given(drawn_records, some_rows, some_rows)
def test_holds_every_row_group_of_the_records_in_their_order(records, window_rows, sweep_rows):
    assert planned(plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)) == listed(records)


@given(drawn_records, some_rows, some_rows)
def test_every_part_is_in_one_bundle(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    if plan.sweeps:
        assert plan.parts_of_bundle[0] == 0
        assert plan.parts_of_bundle[-1] == len(plan.parts)
        assert np.all(np.diff(plan.parts_of_bundle) > 0)
    else:
        assert not listed(records)


@given(drawn_records, some_rows, some_rows)
def test_sweeps_of_a_bundle_cover_each_gene_once(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    for bundle in range(plan.bundles):
        of_bundle = plan.bundle_of_sweep == bundle
        covered = [
            gene
            for begin, end in zip(plan.begin[of_bundle], plan.end[of_bundle], strict=True)
            for gene in range(begin, end)
        ]
        assert covered == list(range(len(GENES)))
    assert np.all(plan.begin < plan.end)
    assert np.all(np.diff(plan.bundle_of_sweep) >= 0)


@given(drawn_records, some_rows, some_rows)
def test_every_row_group_is_reached_by_a_sweep_of_its_bundle(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    for bundle in range(plan.bundles):
        sweeps = np.flatnonzero(plan.bundle_of_sweep == bundle)
        for groups in groups_of_bundle(plan, bundle):
            for group in groups:
                within = (plan.last_gene[group] >= plan.begin[sweeps]) & (plan.first_gene[group] < plan.end[sweeps])
                assert within.any()


@given(drawn_records, some_rows, some_rows)
def test_sweeps_begin_where_a_row_group_of_their_bundle_does(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    for bundle in range(plan.bundles):
        begun = {int(plan.first_gene[group]) for groups in groups_of_bundle(plan, bundle) for group in groups}
        assert set(plan.begin[plan.bundle_of_sweep == bundle].tolist()) <= {0} | begun


@given(drawn_records, some_rows, some_rows)
def test_a_bundle_s_largest_row_groups_fit_the_window_unless_it_is_a_single_part(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    for bundle in range(plan.bundles):
        largest = [
            max((int(plan.rows[group]) for group in groups), default=0) for groups in groups_of_bundle(plan, bundle)
        ]
        assert sum(largest) <= window_rows or len(largest) == 1


@given(drawn_records, some_rows)
def test_what_fits_one_window_is_one_bundle(records, sweep_rows):
    largest = [max((group.rows for group in part.row_groups), default=0) for record in records for part in record.parts]
    if sum(largest):
        assert plan_sweeps(VALUES, records, GENES, None, sum(largest), sweep_rows).bundles == 1


@given(drawn_records, some_rows, some_rows)
def test_there_are_no_more_bundles_than_twice_what_the_window_needs(records, window_rows, sweep_rows):
    largest = [max((group.rows for group in part.row_groups), default=0) for record in records for part in record.parts]
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    # Two neighbouring bundles hold more than a window, or else they could be one.
    assert plan.bundles <= 2 * -(-sum(largest) // window_rows)


@given(drawn_records, some_rows, some_rows)
def test_sweeps_are_no_more_than_their_rows_ask_for(records, window_rows, sweep_rows):
    plan = plan_sweeps(VALUES, records, GENES, None, window_rows, sweep_rows)
    for bundle in range(plan.bundles):
        rows = sum(int(plan.rows[group]) for groups in groups_of_bundle(plan, bundle) for group in groups)
        assert np.sum(plan.bundle_of_sweep == bundle) <= -(-rows // sweep_rows)


@given(drawn_records, some_rows, some_rows)
def test_same_records_make_the_same_plan(records, window_rows, sweep_rows):
    again = [SourceRecord.from_bytes("", json.dumps(record.as_json()).encode()) for record in records]
    one, other = (plan_sweeps(VALUES, found, GENES, None, window_rows, sweep_rows) for found in (records, again))
    assert content(one) == content(other)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_the_order_in_which_sources_were_committed_does_not_matter(tmp_path, order):
    records = [record_with(name, [(5, "A", "B"), (7, "C", "D")]) for name in ("a", "a/b", "b", "B")]
    table = create_table(str(tmp_path / "expression"))
    for number in order:
        location = Path(table.location) / "sources" / f"{number:08d}-00000000.jsonl"
        location.parent.mkdir(exist_ok=True)
        location.write_bytes(encode_records([records[number]]))
    found = open_table(table.location).sources()
    expected = plan_sweeps(VALUES, sorted(records, key=lambda record: record.source), GENES, None, 15, 5)
    assert content(plan_sweeps(VALUES, found, GENES, None, 15, 5)) == content(expected)
    assert expected.bundles > 1


@given(drawn_records, st.lists(st.sampled_from(GENES), unique=True).map(sorted), some_rows)
def test_genes_of_interest_leave_out_row_groups_that_can_have_none(records, genes, window_rows):
    kept = [found for found in listed(records) if any(found[4] <= gene <= found[5] for gene in genes)]
    plan = plan_sweeps(VALUES, records, GENES, genes, window_rows)
    assert planned(plan) == kept
    assert bool(plan.sweeps) == bool(kept)


def test_row_group_that_may_hold_a_gene_of_interest_between_its_ends_is_kept():
    records = [record_with("a", [(9, "A", "C"), (9, "D", "F")])]
    assert [found[2] for found in planned(plan_sweeps(VALUES, records, GENES, ["E"]))] == [1]


def test_a_large_table_is_cut_into_sweeps_of_the_rows_wanted():
    genes = [f"G{number:03d}" for number in range(100)]
    groups = [(500_000, gene, gene) for gene in genes]
    plan = plan_sweeps(VALUES, [record_with(f"study{n:02d}", groups) for n in range(30)], genes)
    assert (plan.bundles, plan.sweeps) == (1, -(-30 * 100 * 500_000 // 128_000_000))
    rows = [
        int(plan.rows[(plan.first_gene >= begin) & (plan.first_gene < end)].sum())
        for begin, end in zip(plan.begin, plan.end, strict=True)
    ]
    assert sum(rows) == 30 * 100 * 500_000
    assert max(rows) <= 128_000_000 + 30 * 500_000  # cuts lie between genes
    assert min(rows) >= 128_000_000 - 2 * 30 * 500_000


def test_a_sweep_begins_where_few_row_groups_reach_over_the_cut():
    genes = [f"G{number:02d}" for number in range(50)]

    def groups(*begins):
        return [(100_000, genes[begin], genes[end - 1]) for begin, end in pairwise([*begins, 50])]

    records = [record_with("a", groups(0, 10, 20, 30, 40)), record_with("b", groups(0, 8, 20, 28, 40))]
    plan = plan_sweeps(VALUES, records, genes, sweep_rows=500_000)
    assert plan.begin.tolist() == [0, 20]  # not 28 or 30, which are as near to the middle


def test_a_small_table_is_cut_so_that_several_cores_have_work():
    groups = [(500_000, gene, gene) for gene in GENES]
    plan = plan_sweeps(VALUES, [record_with("a", groups), record_with("b", groups)], GENES)
    assert (plan.bundles, plan.sweeps) == (1, 5)


def test_a_tiny_table_is_one_sweep():
    plan = plan_sweeps(VALUES, [record_with("a", [(9, "A", "B"), (9, "D", "E")])], GENES)
    assert (plan.sweeps, plan.begin.tolist(), plan.end.tolist()) == (1, [0], [len(GENES)])


def test_source_names_are_encoded_as_their_folders_are():
    (part,) = plan_sweeps(VALUES, [record_with("db/study 1", [(1, "A", "A")])], GENES).parts
    assert part == f"{VALUES}/source=db%2Fstudy%201/part-00000-c0.parquet"


@pytest.mark.parametrize("records", [[], [record_with("a")], [record_with("a", []), record_with("b")]])
def test_nothing_to_read_makes_no_sweep(records):
    plan = plan_sweeps(VALUES, records, GENES)
    assert (plan.sweeps, plan.bundles) == (0, 0)


def test_files_that_lie_in_the_folder_do_not_matter(tmp_path):
    records = [record_with("a", [(1, "A", "A")])]
    (tmp_path / "source=a").mkdir()
    for name in ("part-00000-c0.parquet", "part-00001-stray.parquet"):
        (tmp_path / "source=a" / name).touch()
    assert [Path(part).name for part in plan_sweeps(str(tmp_path), records, GENES).parts] == ["part-00000-c0.parquet"]


@pytest.mark.slow
def test_thirty_thousand_parts_make_a_plan_that_travels():
    genes = [f"ENSG{number:011d}" for number in range(0, 20_000, 1_000)]
    groups = [(500_000, first, last) for first, last in pairwise(genes)][::2]
    records = [record_with(f"database{number % 7}/study{number:05d}", *[groups] * 3) for number in range(10_000)]
    plan = plan_sweeps(VALUES, records, genes)
    assert len(plan.parts) == len(set(plan.parts)) == 30_000
    assert len(plan.rows) == 30_000 * len(groups)
    assert plan.bundles == pytest.approx(30_000 * 500_000 / 48_000_000, rel=0.02)
    assert len(pickle.dumps(plan)) < 50_000_000
