"""Files of records: what comes back, which of several counts, and what tables of version 1 become."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import PARAMETERS, content, record_of, stage_source

from median_spark import storage
from median_spark.errors import TableError
from median_spark.expression import create_table, open_table, remove_sources
from median_spark.expression import table as table_module
from median_spark.expression.record_log import (
    MERGED_AT_ONCE,
    Removal,
    decode_records,
    encode_records,
    level_of,
    merge_records,
    next_name,
)
from median_spark.verification.stored import stored_records

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


class Killed(BaseException):
    """Ends a call as a kill of the process would: nothing that it has not done is done."""


class Kills:
    """Counts what is written and removed in the storage of tables, and ends the call before one of these steps."""

    def __init__(self, monkeypatch, at):
        self.left = at
        for name in ("write_bytes", "remove"):
            monkeypatch.setattr(table_module.storage, name, self.counted(getattr(storage, name)))

    def counted(self, step):
        def run(*args):
            if not self.left:
                raise Killed
            self.left -= 1
            return step(*args)

        return run


def logs(table):
    return [path.name for path in sorted((Path(table.location) / "sources").iterdir())]


def filled(location, commits):
    """Return a table of as many commits of a few sources, and the conversion that each source has then."""
    table = create_table(str(location))
    expected = {}
    for number in range(commits):
        name = f"s{number % 23}"
        if number % 7 == 6:
            table._write_records([Removal(name)])
            expected.pop(name, None)
        else:
            table._write_records([record_of(name, f"c{number}")])
            expected[name] = f"c{number}"
    return table, expected


def held(table):
    """Return the conversion of each source, as the table and as the independent check read it."""
    found = {record.source: record.conversion for record in table.sources()}
    assert {name: record["conversion"] for name, record in stored_records(table.location).items()} == found
    return found


class TestMerging:
    def test_many_commits_become_few_files(self, tmp_path):
        table, expected = filled(tmp_path / "x", MERGED_AT_ONCE**2 + 2 * MERGED_AT_ONCE + 3)
        assert [level_of(name) for name in logs(table)] == [2, 1, 1, 0, 0, 0]
        assert held(table) == expected

    def test_records_that_were_merged_come_back_as_they_were(self, tmp_path):
        records = [record_of(f"s{n}", parameters=PARAMETERS | {"target_sum": n % 3}) for n in range(MERGED_AT_ONCE)]
        files = [(str(n), encode_records([record])) for n, record in enumerate(records)]
        merged = merge_records(files)
        assert list(decode_records("x", merged)) == records
        assert merged.count(b"target_sum") == 3

    @pytest.mark.parametrize("steps", range(MERGED_AT_ONCE + 3))
    def test_killed_at_any_step_the_table_says_the_same_and_takes_more(self, tmp_path, monkeypatch, steps):
        table, expected = filled(tmp_path / "x", MERGED_AT_ONCE - 1)
        with monkeypatch.context() as patched:
            Kills(patched, steps)
            try:
                table._write_records([record_of("new", "n")])
                assert steps == MERGED_AT_ONCE + 2  # two files are written, and all that were merged are removed
            except Killed:
                assert steps < MERGED_AT_ONCE + 2
        if steps:
            expected["new"] = "n"
        assert held(table) == expected
        table._write_records([Removal("s0"), record_of("newer", "m")])
        assert held(table) == {**{name: c for name, c in expected.items() if name != "s0"}, "newer": "m"}
        assert len(logs(table)) <= 2

    def test_killed_twice_while_files_are_removed_no_source_comes_back(self, tmp_path, monkeypatch):
        table, expected = filled(tmp_path / "x", MERGED_AT_ONCE - 1)
        for steps in (5, 4):
            with monkeypatch.context() as patched:
                Kills(patched, steps)
                with pytest.raises(Killed):
                    table._write_records([record_of("new", "n")])
            assert held(table) == {**expected, "new": "n"}

    def test_files_that_are_merged_while_they_are_read_are_listed_again(self, tmp_path, monkeypatch):
        table, expected = filled(tmp_path / "x", MERGED_AT_ONCE - 1)
        read_files, commits = storage.read_files, [record_of("new", "n")]

        def read_late(locations):
            if commits:
                table._write_records([commits.pop()])
            return read_files(locations)

        monkeypatch.setattr(table_module.storage, "read_files", read_late)
        assert {record.source: record.conversion for record in table.sources()} == {**expected, "new": "n"}

    @pytest.mark.parametrize("seen", [0, 1, MERGED_AT_ONCE])
    def test_a_listing_that_lacks_what_files_became_is_not_believed(self, tmp_path, monkeypatch, seen):
        table, expected = filled(tmp_path / "x", MERGED_AT_ONCE - 1)
        old = content(table.location)
        table._write_records([record_of("new", "n")])
        kept = sorted(name for name in old if name.startswith("sources/"))[MERGED_AT_ONCE - 1 - seen :]
        for name in kept:
            (Path(table.location) / name).write_bytes(old[name])
        listings = [[name.removeprefix("sources/") for name in kept]]
        names_in = storage.names_in
        monkeypatch.setattr(
            table_module.storage, "names_in", lambda folder: listings.pop() if listings else names_in(folder)
        )
        assert {record.source: record.conversion for record in table.sources()} == {**expected, "new": "n"}

    def test_a_damaged_file_is_named_and_nothing_is_removed(self, tmp_path):
        table, _ = filled(tmp_path / "x", MERGED_AT_ONCE - 1)
        path = Path(table.location) / "sources" / logs(table)[3]
        path.write_text(path.read_text()[:-9])
        with pytest.raises(TableError, match=f"{path}: this record is damaged"):
            table._write_records([record_of("new")])
        assert len(logs(table)) == MERGED_AT_ONCE
