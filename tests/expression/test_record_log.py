"""Files of records: what comes back, which of several counts, and what tables of version 1 become."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import PARAMETERS, record_of, stage_source

from median_spark.errors import TableError
from median_spark.expression import create_table, open_table, remove_sources
from median_spark.expression.record_log import Removal, decode_records, encode_records, next_name

VERSION_1 = Path(__file__).parents[1] / "data" / "version1" / "table"

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=6))
def test_records_and_removals_come_back_in_their_order(drawn):
    entries = [Removal(name) if removed else record_of(name) for name, removed in drawn]
    assert list(decode_records("x", encode_records(entries))) == entries


def test_records_of_one_file_share_their_parameters_where_these_are_equal():
    records = [record_of(name, parameters=PARAMETERS | {"target_sum": 1.0 + (name == "b")}) for name in "abc"]
    content = encode_records(records)
    assert content.count(b"target_sum") == 2
    first, second, third = decode_records("x", content)
    assert [first, second, third] == records
    assert first.parameters is not second.parameters
    assert first.software is not second.software or first.software == second.software


def test_names_ascend_whatever_else_is_in_the_folder():
    names = ["lock", "a.json"]
    for _ in range(12):
        names.append(next_name(names))
    logs = names[2:]
    assert logs == sorted(logs)
    assert logs[-1].startswith("00000012-")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_the_last_word_on_a_source_counts(tmp_path_factory, drawn):
    table = create_table(str(tmp_path_factory.mktemp("log") / "x"))
    expected = {}
    for number, (name, removed) in enumerate(drawn):
        entry = Removal(name) if removed else record_of(name, f"c{number}")
        table._write_records([entry])
        expected.pop(name, None)
        if not removed:
            expected[name] = f"c{number}"
    assert {record.source: record.conversion for record in table.sources()} == expected


def test_one_commit_of_several_sources_is_one_file(tmp_path):
    table = create_table(str(tmp_path / "x"))
    staged = [table.staged(stage_source(table, name, f"c{name}", [1.0])) for name in "ab"]
    table.commit_all(staged, set())
    assert len(list((tmp_path / "x" / "sources").iterdir())) == 1
    assert [record.source for record in table.sources()] == ["a", "b"]


class TestVersion1:
    @pytest.fixture
    def old(self, tmp_path):
        return str(shutil.copytree(VERSION_1, tmp_path / "old"))

    def version(self, location):
        return json.loads((Path(location) / "format.json").read_text())["format_version"]

    def test_reading_it_changes_nothing(self, old):
        assert [record.source for record in open_table(old).sources()] == ["b", "db/a"]
        assert self.version(old) == 1

    def test_takes_a_source_and_keeps_the_others(self, old):
        table = create_table(old)
        assert self.version(old) == 2
        kept = table.sources()[0]
        table.commit(stage_source(table, "db/a", "c1", [2.0]))
        table.commit(stage_source(table, "new", "c2", [3.0]))
        assert [record.source for record in table.sources()] == ["b", "db/a", "new"]
        assert [record.conversion for record in table.sources()][1:] == ["c1", "c2"]
        assert table.sources()[0] == kept
        assert sorted(path.name for path in (Path(old) / "sources").glob("*.json")) == ["b.json"]

    def test_loses_a_source_that_is_taken_out(self, old):
        remove_sources(old, ["b"])
        assert self.version(old) == 2
        assert [record.source for record in open_table(old).sources()] == ["db/a"]
        assert not list((Path(old) / "values").glob("source=b"))


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace('"source"', '"sauce"')])
def test_a_damaged_file_is_named(tmp_path, damage):
    table = create_table(str(tmp_path / "x"))
    table.commit(replace(record_of("a"), parts=()))
    (path,) = (tmp_path / "x" / "sources").iterdir()
    path.write_text(damage(path.read_text()))
    with pytest.raises(TableError, match=f"{path}: this record is damaged"):
        table.sources()
