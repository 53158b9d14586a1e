"""The folders of an expression table: what a commit does and in what order, what is removed, which genes it has."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tables import PARAMETERS, change_record, content, files_limited_to, record_file, record_of, stage_source

from median_spark.errors import OutputError, TableError
from median_spark.expression import (
    FORMAT_VERSION,
    FailureRecord,
    PartEntry,
    check_target,
    committed_name,
    conversion_fingerprint,
    create_table,
    remove_sources,
)
from median_spark.expression.table import FOLDERS
from median_spark.storage import FileStat


def commit(table, source, conversion, values, units=2):
    table.commit(stage_source(table, source, conversion, values, units))


def visible(table):
    return pq.read_table(table.values)["value"].to_pylist()


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "expression"))


class TestCommit:
    def test_makes_the_staged_parts_visible_and_clears_the_staging(self, table):
        commit(table, "db/a", "c0", [1.0, 2.0])
        assert visible(table) == [1.0, 2.0, 1.0, 2.0]
        assert not Path(table.staging.folder("c0")).exists()

    def test_record_comes_back_as_it_was_given(self, table):
        record = stage_source(table, "db/a", "c0", [1.0, 2.0])
        table.commit(record)
        assert table.sources() == [record]

    def test_recorded_parts_are_there_with_their_sizes(self, table):
        commit(table, "db/a", "c0", [1.0, 2.0])
        folder = Path(table.values) / "source=db%2Fa"
        recorded = {part.name: part.size for part in table.sources()[0].parts}
        assert {path.name: path.stat().st_size for path in folder.iterdir()} == recorded

    def test_replaces_what_the_source_held(self, table):
        commit(table, "a", "c0", [1.0], units=3)
        commit(table, "a", "c1", [9.0], units=1)
        assert visible(table) == [9.0]
        assert [record.conversion for record in table.sources()] == ["c1"]

    def test_replacing_a_source_never_touches_another(self, table):
        names = ("a", "a/b", "a b", "b")
        for name in names:
            commit(table, name, f"c-{len(name)}-{name[-1]}", [1.0])
        before = content(table.location)
        commit(table, "a", "new", [2.0])
        after = content(table.location)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        assert {path.rsplit("/", 1)[0] for path in changed} == {"values/source=a", "cells/source=a", "sources"}
        (log,) = [path for path in changed if path.startswith("sources")]
        assert log not in before

    def test_that_dies_before_the_record_leaves_the_old_source_to_readers(self, table):
        commit(table, "a", "c0", [1.0])
        old = table.sources()
        new = stage_source(table, "a", "c1", [2.0])
        Path(table.staging.unit("c1", 1)[0]).unlink()  # so that the second part cannot be moved
        with pytest.raises(FileNotFoundError):
            table.commit(new)
        assert table.sources() == old
        for part in old[0].parts:
            assert pq.read_table(Path(table.values) / "source=a" / part.name)["value"].to_pylist() == [1.0]

    def test_whose_record_finds_no_room_leaves_all_of_the_old_source(self, table):
        commit(table, "a", "c0", [1.0])
        old = table.sources()
        new = stage_source(table, "a", "c1", [2.0])
        with (
            files_limited_to(10),
            pytest.raises(OutputError, match=r"00000002-\w+\.jsonl: this file cannot be written"),
        ):
            table.commit(new)
        assert table.sources() == old
        assert set(content(table.values)) >= {f"source=a/{part.name}" for part in old[0].parts}

    def test_can_be_done_again_after_it_died(self, table):
        commit(table, "a", "c0", [1.0])
        stage_source(table, "a", "c1", [2.0])
        Path(table.staging.unit("c1", 1)[0]).unlink()
        with pytest.raises(FileNotFoundError):
            table.commit(record_of("a", "c1", [PartEntry(committed_name(n, "c1"), 1, ()) for n in range(2)]))
        commit(table, "a", "c1", [2.0])
        assert visible(table) == [2.0, 2.0]

    def test_source_without_values_has_a_record_and_no_folder(self, table):
        commit(table, "a", "c0", [1.0])
        table.commit(record_of("a", "c1"))
        assert [record.values for record in table.sources()] == [0]
        assert content(table.values) == {}

    def test_forgets_an_earlier_failure_of_the_source_only(self, table):
        for name in ("a", "b"):
            table.record_failure(FailureRecord(name, f"/{name}.loom", "is cut off"))
        commit(table, "a", "c0", [1.0])
        assert [failure.source for failure in table.failures()] == ["b"]

    def test_names_differ_between_conversions_and_units(self):
        names = {committed_name(unit, conversion) for unit in (0, 1, 10, 99_999) for conversion in ("c0", "c1")}
        assert len(names) == 8
        assert all(name.endswith(".parquet") for name in names)


class TestReading:
    def test_sources_ascend_by_name(self, table):
        for name in ("b", "a/z", "a b", "Z"):
            commit(table, name, f"c{ord(name[-1])}", [1.0])
        assert [record.source for record in table.sources()] == sorted(["b", "a/z", "a b", "Z"])

    @pytest.mark.parametrize("name", ["db 1/ä%2F", "a=b", "..", "x" * 60, "é/%", "a\\b"])
    def test_any_name_survives(self, table, name):
        commit(table, name, "c0", [1.0])
        assert [record.source for record in table.sources()] == [name]
        assert pq.read_table(table.values)["source"].to_pylist() == [name, name]

    def test_half_written_record_is_not_read(self, table):
        commit(table, "a", "c0", [1.0])
        (Path(table.location) / "sources" / "00000002-01234567.jsonl.0123.tmp").write_text("{")
        assert [record.source for record in table.sources()] == ["a"]

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", "{}", '{"format_version": 2}\n{}', '{"format_version": "x"}']
    )
    def test_damaged_record_is_named(self, table, text):
        commit(table, "a", "c0", [1.0])
        path = record_file(table.location)
        path.write_text(text)
        with pytest.raises(TableError, match=str(path)):
            table.sources()

    def test_record_that_is_not_text_is_named(self, table):
        path = Path(table.location) / "sources" / "00000001-01234567.jsonl"
        path.parent.mkdir()
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(TableError, match=f"{path}: this record is damaged"):
            table.sources()

    @pytest.mark.parametrize("field", ["input", "parts", "shape", "gene_list", "warnings"])
    def test_record_that_lacks_a_field_is_named(self, table, field):
        commit(table, "a", "c0", [1.0])
        path = record_file(table.location)
        change_record(table.location, "a", lambda record: record.pop(field))
        with pytest.raises(TableError, match=f"{path}: this record is damaged .*{field}"):
            table.sources()

    @pytest.mark.parametrize(("version", "advice"), [(FORMAT_VERSION + 1, "upgrade"), (0, "convert the sources again")])
    def test_record_of_another_format_version_is_refused(self, table, version, advice):
        commit(table, "a", "c0", [1.0])
        path = record_file(table.location)
        path.write_text(path.read_text().replace(f'"format_version":{FORMAT_VERSION}', f'"format_version":{version}'))
        with pytest.raises(TableError, match=f"format version {version}.*{advice}"):
            table.sources()


class TestFailures:
    def test_come_back_ascending_by_name(self, table):
        failures = [FailureRecord(name, f"/looms/{name}.loom", "is cut off after 7 bytes") for name in ("a", "b/c")]
        for failure in reversed(failures):
            table.record_failure(failure)
        assert table.failures() == failures

    def test_later_one_replaces_an_earlier_one(self, table):
        table.record_failure(FailureRecord("a", "/a.loom", "first"))
        table.record_failure(FailureRecord("a", "/a.loom", "second"))
        assert [failure.reason for failure in table.failures()] == ["second"]

    def test_does_not_take_back_what_the_source_held(self, table):
        commit(table, "a", "c0", [1.0])
        table.record_failure(FailureRecord("a", "/a.loom", "is cut off"))
        assert [record.source for record in table.sources()] == ["a"]

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"source": "a", "path": "b", "why": "c"}'])
    def test_damaged_record_is_named(self, table, text):
        path = Path(table.location) / "failed" / "a.json"
        path.parent.mkdir()
        path.write_text(text)
        with pytest.raises(TableError, match=f"{path}: this record is damaged"):
            table.failures()


class TestSweep:
    def test_removes_parts_that_no_record_lists(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        stray = Path(table.values) / "source=a" / "part-00007-old.parquet"
        stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set(), records=table.sources())
        assert content(table.location) == before

    def test_removes_folders_of_sources_without_a_record(self, table):
        commit(table, "a", "c0", [1.0])
        stray = Path(table.values) / "source=gone%2Fsource" / "part-00000-c9.parquet"
        stray.parent.mkdir()
        stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set(), records=table.sources())
        assert [path.name for path in Path(table.values).iterdir()] == ["source=a"]

    def test_removes_half_written_parts(self, table):
        commit(table, "a", "c0", [1.0])
        stray = Path(table.values) / "source=a" / "part-00000-c0.parquet.0123456789ab.tmp"
        stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set(), records=table.sources())
        assert not stray.exists()

    def test_removes_stale_staging_and_keeps_what_is_wanted(self, table):
        stage_source(table, "a", "stale", [1.0])
        stage_source(table, "b", "wanted", [1.0])
        table.discard_leftovers(keep={"wanted"}, records=table.sources())
        assert [path.name for path in (Path(table.location) / "staging").iterdir()] == ["wanted"]
        assert set(table.staging.records({"wanted": set()})["wanted"]) == {0, 1}

    def test_of_a_new_table_does_nothing(self, table):
        before = content(table.location)
        table.discard_leftovers(keep=set(), records=table.sources())
        assert content(table.location) == before

    def test_removes_what_a_commit_that_died_left(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        new = stage_source(table, "a", "c1", [2.0])
        Path(table.staging.unit("c1", 1)[0]).unlink()
        with pytest.raises(FileNotFoundError):
            table.commit(new)
        table.discard_leftovers(keep=set(), records=table.sources())
        assert content(table.location) == before


class TestRemove:
    def test_takes_out_the_named_sources_and_touches_no_other(self, table):
        commit(table, "a", "c0", [1.0])
        before, sources = content(table.values), table.sources()
        for name in ("b", "a/b"):
            commit(table, name, f"c-{len(name)}", [2.0])
        table.remove(["b", "a/b"])
        assert content(table.values) == before
        assert table.sources() == sources

    def test_source_that_was_taken_out_can_come_back(self, table):
        commit(table, "a", "c0", [1.0])
        table.remove(["a"])
        assert table.sources() == []
        commit(table, "a", "c1", [3.0])
        assert [record.conversion for record in table.sources()] == ["c1"]
        assert visible(table) == [3.0, 3.0]

    def test_does_nothing_if_one_is_not_there(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        with pytest.raises(TableError, match="the table has no source 'b'; it has 'a'"):
            table.remove(["a", "b"])
        assert content(table.location) == before


class TestUniverse:
    def test_is_the_ascending_union_of_the_sources_lists(self, table):
        lists = [table.store_genes(genes) for genes in (["B", "D"], ["A", "B"])]
        records = [record_of(name, gene_list=lists[number % 2]) for number, name in enumerate("abc")]
        assert table.universe(records) == ["A", "B", "D"]

    def test_takes_the_lists_of_the_given_sources_only(self, table):
        first = table.store_genes(["A"])
        table.store_genes(["B"])
        assert table.universe([record_of("a", gene_list=first)]) == ["A"]

    def test_equal_lists_are_stored_once(self, table):
        assert table.store_genes(["A", "B"]) == table.store_genes(["A", "B"])
        assert len(list((Path(table.location) / "genes").iterdir())) == 1

    def test_other_lists_have_another_name(self, table):
        assert table.store_genes(["A", "B"]) != table.store_genes(["A"])

    @pytest.mark.parametrize("damage", ["missing", "foreign", "truncated"])
    def test_damaged_list_is_named(self, table, damage):
        name = table.store_genes(["A"])
        path = Path(table.location) / "genes" / f"{name}.parquet"
        kept = {"missing": None, "foreign": b"not parquet", "truncated": path.read_bytes()[:-9]}[damage]
        path.unlink() if kept is None else path.write_bytes(kept)
        with pytest.raises(TableError, match=str(path)):
            table.universe([record_of("a", gene_list=name)])


class TestFingerprint:
    FILE = FileStat("/looms/a.loom", 100, 7)

    @pytest.mark.parametrize(
        "other",
        [
            ("a", replace(FILE, size=101), PARAMETERS),
            ("a", replace(FILE, mtime_ns=8), PARAMETERS),
            ("a", FILE, PARAMETERS | {"target_sum": 1e6}),
            ("a", FILE, PARAMETERS | {"gene_types": ["miRNA"]}),
            ("b", FILE, PARAMETERS),
        ],
        ids=["size", "mtime", "target_sum", "gene_types", "name"],
    )
    def test_changes_with(self, other):
        assert conversion_fingerprint(*other) != conversion_fingerprint("a", self.FILE, PARAMETERS)

    def test_does_not_change_with_the_path(self):
        moved = replace(self.FILE, path="s3://bucket/a.loom")
        assert conversion_fingerprint("a", moved, PARAMETERS) == conversion_fingerprint("a", self.FILE, PARAMETERS)

    def test_does_not_change_with_the_order_of_parameters(self):
        turned = dict(reversed(PARAMETERS.items()))
        assert conversion_fingerprint("a", self.FILE, turned) == conversion_fingerprint("a", self.FILE, PARAMETERS)


class TestWhatIsNotOurs:
    """A shared folder may hold links that somebody planted, and a user's own files; neither is followed or deleted."""

    @pytest.fixture
    def outside(self, tmp_path):
        for name in ("thesis.txt", "part-00000-a.parquet", "c9/part-00000.parquet"):
            (tmp_path / "outside" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "outside" / name).write_text(name)
        return tmp_path / "outside"

    @pytest.mark.parametrize("name", FOLDERS)
    def test_a_link_instead_of_a_folder_is_refused(self, table, outside, name):
        commit(table, "a", "c0", [1.0])
        path = Path(table.location) / name
        if path.exists():
            path.rename(path.with_name("moved"))
        path.symlink_to(outside)
        before = content(outside)
        for action in (check_target, create_table, lambda location: remove_sources(location, ["a"])):
            with pytest.raises(OutputError, match=rf"{name}: this folder of an expression table is a symbolic link"):
                action(table.location)
        assert content(outside) == before

    @pytest.mark.parametrize("name", ["source=a", "source=gone", "notes"])
    def test_what_a_link_among_the_values_leads_to_stays(self, table, outside, name):
        (Path(table.values)).mkdir(exist_ok=True)
        (Path(table.values) / name).symlink_to(outside)
        before = content(outside)
        table.discard_leftovers(keep=set(), records=[])
        assert content(outside) == before

    @pytest.mark.parametrize("action", ["discard", "replace", "remove"])
    @pytest.mark.parametrize("name", ["source=a/notes.txt", "source=a/deep/notes.txt", "source=b/x.txt", "notes.txt"])
    def test_a_users_files_among_the_values_stay(self, table, action, name):
        commit(table, "a", "c0", [1.0])
        note = Path(table.values) / name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("mine")
        if action == "remove":
            table.remove(["a"])
        elif action == "replace":
            commit(table, "a", "c1", [2.0])
        table.discard_leftovers(keep=set(), records=table.sources())
        assert note.read_text() == "mine"
        assert len(list(Path(table.values).rglob("part-*"))) == (0 if action == "remove" else 2)

    def test_a_link_in_the_staging_is_removed_and_not_what_it_leads_to(self, table, outside):
        Path(table.staging.location).mkdir()
        Path(table.staging.folder("c9")).symlink_to(outside)
        before = content(outside)
        table.discard_leftovers(keep=set(), records=[])
        assert content(outside) == before
        assert not Path(table.staging.folder("c9")).is_symlink()
