"""Plans: every row group in exactly one task, by gene, and nothing but the records decides."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from median_spark.expression import PartEntry, RowGroup, SourceRecord, plan_digests

VALUES = "/expression/values"


def record_with(source, *parts):
    """Return a record of a source whose parts are lists of (rows, first gene)."""
    entries = tuple(
        PartEntry(f"part-{number:05d}-c0.parquet", 100, tuple(RowGroup(rows, gene, gene) for rows, gene in groups))
        for number, groups in enumerate(parts)
    )
    return record_of(source, parts=entries)


row_groups = st.tuples(st.integers(1, 1_000), st.sampled_from("ABCDE"))
drawn_records = st.lists(st.lists(st.lists(row_groups, max_size=5), max_size=4), max_size=5).map(
    lambda sources: [record_with(f"source{number}", *parts) for number, parts in enumerate(sources)]
)


def listed(records):
    """Return (part, source number, row group, rows, first gene) of all row groups, as the records tell them."""
    return [
        (f"{VALUES}/source={record.source}/{part.name}", source, number, group.rows, group.gene_min)
        for source, record in enumerate(records)
        for part in record.parts
        for number, group in enumerate(part.row_groups)
    ]


def planned(plan):
    """Return (part, source number, row group, rows) in the order of the plan."""
    parts = [(plan.parts[part], int(plan.source_of_part[part])) for part in plan.part_of_group]
    groups = zip(plan.group_in_part.tolist(), plan.rows.tolist(), strict=True)
    return [(*part, *group) for part, group in zip(parts, groups, strict=True)]


@given(drawn_records, st.integers(1, 3_000))
def test_every_row_group_is_in_exactly_one_task(records, task_rows):
    plan = plan_digests(VALUES, records, task_rows)
    read = [
        (part, source, group)
        for task in range(plan.tasks)
        for part, source, groups, _ in plan.task(task)
        for group in groups
    ]
    assert sorted(read) == sorted(found[:3] for found in listed(records))


@given(drawn_records, st.integers(1, 3_000))
def test_order_is_by_first_gene_then_source_part_and_row_group(records, task_rows):
    plan = plan_digests(VALUES, records, task_rows)
    by_gene = sorted(listed(records), key=lambda found: (found[4], found[1], found[0], found[2]))
    assert planned(plan) == [found[:4] for found in by_gene]


@given(drawn_records, st.integers(1, 3_000))
def test_tasks_follow_each_other_without_gap_and_none_is_empty(records, task_rows):
    plan = plan_digests(VALUES, records, task_rows)
    assert plan.offsets[0] == 0
    assert plan.offsets[-1] == len(plan.rows)
    assert np.all(np.diff(plan.offsets) > 0)


@given(drawn_records, st.integers(1, 3_000))
def test_task_knows_the_rows_it_must_find(records, task_rows):
    plan = plan_digests(VALUES, records, task_rows)
    rows = {(part, group): rows for part, _, group, rows, _ in listed(records)}
    for task in range(plan.tasks):
        for part, _, groups, expected in plan.task(task):
            assert expected == sum(rows[part, group] for group in groups)


@given(drawn_records, st.integers(1, 3_000))
def test_task_is_about_as_large_as_wanted(records, task_rows):
    plan = plan_digests(VALUES, records, task_rows)
    sizes = [plan.rows[begin:end] for begin, end in pairwise(plan.offsets)]
    assert all(size.sum() < task_rows + size.max() for size in sizes)
    assert plan.tasks <= 1 + plan.rows.sum() // task_rows


@given(drawn_records, st.integers(1, 3_000))
def test_same_records_make_the_same_plan(records, task_rows):
    again = [SourceRecord.from_bytes("", json.dumps(record.as_json()).encode()) for record in records]
    one, other = (plan_digests(VALUES, found, task_rows) for found in (records, again))
    assert one.parts == other.parts
    assert planned(one) == planned(other)
    assert one.offsets.tolist() == other.offsets.tolist()


@given(drawn_records, st.lists(st.sampled_from("ABCDEF"), unique=True).map(sorted))
def test_genes_of_interest_leave_out_row_groups_that_can_have_none(records, genes):
    kept = {found[:4] for found in listed(records) if found[4] in genes}
    assert set(planned(plan_digests(VALUES, records, 100, genes))) == kept


def test_row_group_that_may_hold_a_gene_of_interest_between_its_ends_is_kept():
    part = PartEntry("part-00000-c0.parquet", 100, (RowGroup(9, "A", "C"), RowGroup(9, "D", "F")))
    records = [record_of("a", parts=[part])]
    assert planned(plan_digests(VALUES, records, genes=["E"])) == [(f"{VALUES}/source=a/{part.name}", 0, 1, 9)]


def test_size_of_tasks_does_not_change_the_order():
    records = [record_with("a", [(5, "A"), (5, "C")], [(5, "B")]), record_with("b", [(5, "A"), (5, "B")])]
    assert planned(plan_digests(VALUES, records, 5)) == planned(plan_digests(VALUES, records, 100))


def test_row_groups_larger_than_a_task_get_one_each():
    records = [record_with("a", [(50, "A"), (60, "B"), (70, "C")])]
    assert plan_digests(VALUES, records, 10).tasks == 3


def test_task_names_a_part_once():
    records = [record_with("a", [(1, "A"), (1, "B")], [(1, "A")])]
    (first, second) = plan_digests(VALUES, records).task(0)
    assert first == (f"{VALUES}/source=a/part-00000-c0.parquet", 0, [0, 1], 2)
    assert second == (f"{VALUES}/source=a/part-00001-c0.parquet", 0, [0], 1)


def test_source_names_are_encoded_as_their_folders_are():
    (part,) = plan_digests(VALUES, [record_with("db/study 1", [(1, "A")])]).parts
    assert part == f"{VALUES}/source=db%2Fstudy%201/part-00000-c0.parquet"


@pytest.mark.parametrize("records", [[], [record_with("a")], [record_with("a", []), record_with("b")]])
def test_nothing_to_read_makes_no_task(records):
    assert plan_digests(VALUES, records).tasks == 0


def test_files_that_lie_in_the_folder_do_not_matter(tmp_path):
    records = [record_with("a", [(1, "A")])]
    (tmp_path / "source=a").mkdir()
    for name in ("part-00000-c0.parquet", "part-00001-stray.parquet"):
        (tmp_path / "source=a" / name).touch()
    assert [Path(part).name for part in plan_digests(str(tmp_path), records).parts] == ["part-00000-c0.parquet"]


def test_thirty_thousand_parts_make_a_plan_that_travels():
    genes = [f"ENSG{number:011d}" for number in range(0, 20_000, 1_667)]
    groups = [(1_000_000, gene) for gene in genes]
    records = [record_with(f"database{number % 7}/study{number:05d}", *[groups] * 3) for number in range(10_000)]
    plan = plan_digests(VALUES, records)
    assert len(set(plan.parts)) == 30_000
    pairs = set(zip(plan.part_of_group.tolist(), plan.group_in_part.tolist(), strict=True))
    assert len(pairs) == len(plan.rows) == plan.offsets[-1] == 30_000 * len(genes)
    assert plan.tasks == plan.rows.sum() // 8_000_000
    assert len(pickle.dumps(plan)) < 50_000_000
