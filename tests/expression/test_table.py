"""The folders of an expression table: what a commit does and in what order, what is swept, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import PARAMETERS, files_limited_to, record_of

from median_spark.errors import BusyError, OutputError, TableError
from median_spark.expression import (
    FORMAT_VERSION,
    FailureRecord,
    PartEntry,
    RowGroup,
    UnitRecord,
    check_target,
    committed_name,
    conversion_fingerprint,
    create_table,
    open_table,
    remove_sources,
    require_uniform,
    write_part,
)
from median_spark.runs import GeneRuns
from median_spark.storage import FileStat, locked, write_json


def stage(table, source, conversion, values, units=2):
    """Stage `units` parts of the given values, and return the record that would commit them."""
    runs = GeneRuns(
        np.array(["A"]), np.array([0, len(values)]), np.array(values), np.arange(len(values), dtype=np.int32)
    )
    ids = np.array([f"cell{number}" for number in range(len(values))])
    parts = []
    for unit in range(units):
        location, document = table.staged_unit(conversion, unit)
        part = write_part(location, runs, ids)
        write_json(document, UnitRecord(0, len(values), len(values), part).as_json())
        parts.append(replace(part, name=committed_name(unit, conversion)))
    return record_of(source, conversion, parts)


def commit(table, source, conversion, values, units=2):
    table.commit(stage(table, source, conversion, values, units))


def content(folder):
    """Return {relative path: bytes} of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def visible(table):
    return pq.read_table(table.values)["value"].to_pylist()


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "expression"))


class TestCommit:
    def test_makes_the_staged_parts_visible_and_clears_the_staging(self, table):
        commit(table, "db/a", "c0", [1.0, 2.0])
        assert visible(table) == [1.0, 2.0, 1.0, 2.0]
        assert not Path(table.staged("c0")).exists()

    def test_record_comes_back_as_it_was_given(self, table):
        record = stage(table, "db/a", "c0", [1.0, 2.0])
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
        assert {path.rsplit("/", 1)[0] for path in changed} == {"values/source=a", "sources"}
        assert [path for path in changed if path.startswith("sources")] == ["sources/a.json"]

    def test_that_dies_before_the_record_leaves_the_old_source_to_readers(self, table):
        commit(table, "a", "c0", [1.0])
        old = table.sources()
        new = stage(table, "a", "c1", [2.0])
        Path(table.staged_unit("c1", 1)[0]).unlink()  # so that the second part cannot be moved
        with pytest.raises(FileNotFoundError):
            table.commit(new)
        assert table.sources() == old
        for part in old[0].parts:
            assert pq.read_table(Path(table.values) / "source=a" / part.name)["value"].to_pylist() == [1.0]

    def test_whose_record_finds_no_room_leaves_all_of_the_old_source(self, table):
        commit(table, "a", "c0", [1.0])
        old = table.sources()
        new = stage(table, "a", "c1", [2.0])
        with files_limited_to(10), pytest.raises(OutputError, match=r"a\.json: this file cannot be written"):
            table.commit(new)
        assert table.sources() == old
        assert set(content(table.values)) >= {f"source=a/{part.name}" for part in old[0].parts}

    def test_can_be_done_again_after_it_died(self, table):
        commit(table, "a", "c0", [1.0])
        stage(table, "a", "c1", [2.0])
        Path(table.staged_unit("c1", 1)[0]).unlink()
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
        (Path(table.location) / "sources" / "b.json.0123.tmp").write_text("{")
        assert [record.source for record in table.sources()] == ["a"]

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format_version": 1}', '{"format_version": "x"}'])
    def test_damaged_record_is_named(self, table, text):
        commit(table, "a", "c0", [1.0])
        path = Path(table.location) / "sources" / "a.json"
        path.write_text(text)
        with pytest.raises(TableError, match=str(path)):
            table.sources()

    def test_record_that_is_not_text_is_named(self, table):
        path = Path(table.location) / "sources" / "a.json"
        path.parent.mkdir()
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(TableError, match=f"{path}: this record is damaged"):
            table.sources()

    @pytest.mark.parametrize("field", ["input", "parts", "shape", "parameters", "gene_list", "warnings"])
    def test_record_that_lacks_a_field_is_named(self, table, field):
        commit(table, "a", "c0", [1.0])
        path = Path(table.location) / "sources" / "a.json"
        found = json.loads(path.read_text())
        del found[field]
        path.write_text(json.dumps(found))
        with pytest.raises(TableError, match=f"{path}: this record is damaged .*{field}"):
            table.sources()

    @pytest.mark.parametrize(("version", "advice"), [(FORMAT_VERSION + 1, "upgrade"), (0, "convert the sources again")])
    def test_record_of_another_format_version_is_refused(self, table, version, advice):
        commit(table, "a", "c0", [1.0])
        path = Path(table.location) / "sources" / "a.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))
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
        table.discard_leftovers(keep=set())
        assert content(table.location) == before

    def test_removes_folders_of_sources_without_a_record(self, table):
        commit(table, "a", "c0", [1.0])
        stray = Path(table.values) / "source=gone%2Fsource" / "part-00000-c9.parquet"
        stray.parent.mkdir()
        stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set())
        assert [path.name for path in Path(table.values).iterdir()] == ["source=a"]

    def test_removes_half_written_parts(self, table):
        commit(table, "a", "c0", [1.0])
        stray = Path(table.values) / "source=a" / "part-00000-c0.parquet.0123456789ab.tmp"
        stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set())
        assert not stray.exists()

    def test_removes_stale_staging_and_keeps_what_is_wanted(self, table):
        stage(table, "a", "stale", [1.0])
        stage(table, "b", "wanted", [1.0])
        table.discard_leftovers(keep={"wanted"})
        assert [path.name for path in (Path(table.location) / "staging").iterdir()] == ["wanted"]
        assert set(table.staged_records("wanted", set())) == {0, 1}

    def test_of_a_new_table_does_nothing(self, table):
        before = content(table.location)
        table.discard_leftovers(keep=set())
        assert content(table.location) == before

    def test_removes_what_a_commit_that_died_left(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        new = stage(table, "a", "c1", [2.0])
        Path(table.staged_unit("c1", 1)[0]).unlink()
        with pytest.raises(FileNotFoundError):
            table.commit(new)
        table.discard_leftovers(keep=set())
        assert content(table.location) == before


class TestRemove:
    def test_takes_out_the_named_sources_and_touches_no_other(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        for name in ("b", "a/b"):
            commit(table, name, f"c-{len(name)}", [2.0])
        table.remove(["b", "a/b"])
        assert content(table.location) == before

    def test_does_nothing_if_one_is_not_there(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        with pytest.raises(TableError, match="the table has no source 'b'; it has 'a'"):
            table.remove(["a", "b"])
        assert content(table.location) == before

    def test_by_location(self, table):
        commit(table, "a", "c0", [1.0])
        remove_sources(table.location, ["a"])
        assert table.sources() == []

    def test_waits_for_no_other_run(self, table):
        commit(table, "a", "c0", [1.0])
        with locked(table.location, "another run"), pytest.raises(BusyError, match="'another run'"):
            remove_sources(table.location, ["a"])
        assert [record.source for record in table.sources()] == ["a"]

    def test_of_no_table_is_refused_and_makes_none(self, tmp_path):
        with pytest.raises(TableError, match="no expression table"):
            remove_sources(str(tmp_path / "missing"), ["a"])
        assert list(tmp_path.iterdir()) == []


class TestStagedRecords:
    def test_tell_what_each_unit_yielded(self, table):
        record = stage(table, "a", "c0", [1.0, 2.0])
        found = table.staged_records("c0", set())
        assert [found[unit].part.row_groups for unit in (0, 1)] == [part.row_groups for part in record.parts]
        assert [found[unit].values for unit in (0, 1)] == [2, 2]

    def test_leave_out_known_units(self, table):
        stage(table, "a", "c0", [1.0])
        assert set(table.staged_records("c0", {0})) == {1}

    def test_leave_out_a_record_whose_part_is_missing(self, table):
        stage(table, "a", "c0", [1.0])
        Path(table.staged_unit("c0", 1)[0]).unlink()
        assert set(table.staged_records("c0", set())) == {0}

    def test_leave_out_a_part_whose_record_is_missing(self, table):
        stage(table, "a", "c0", [1.0])
        Path(table.staged_unit("c0", 0)[1]).unlink()
        assert set(table.staged_records("c0", set())) == {1}

    def test_keep_units_without_a_part(self, table):
        empty, failed = UnitRecord(0, 10, 0, None), UnitRecord(10, 20, 0, None, "a cell has no n_counts")
        for unit, record in enumerate((empty, failed)):
            write_json(table.staged_unit("c0", unit)[1], record.as_json())
        assert table.staged_records("c0", set()) == {0: empty, 1: failed}

    def test_of_nothing_staged(self, table):
        assert table.staged_records("c0", set()) == {}


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


MARKERS = {
    "newer": ('{"expression_table": true, "format_version": 2}', "has format version 2"),
    "older": ('{"expression_table": true, "format_version": 0}', "has format version 0"),
    "foreign": ('{"name": "something else"}', "format.json"),
    "a list": ("[1]", "format.json"),
    "cut off": ('{"expression_table": tr', "format.json"),
    "empty": ("", "format.json"),
    "not text": ("\udcff", "format.json"),
}


class TestOpening:
    def test_new_folder_becomes_a_table(self, tmp_path):
        made = create_table(str(tmp_path / "new" / "expression"))
        assert open_table(made.location) == made
        assert made.sources() == made.failures() == []

    def test_creating_again_changes_nothing(self, table):
        commit(table, "a", "c0", [1.0])
        before = content(table.location)
        assert create_table(table.location) == table
        assert content(table.location) == before

    def test_folder_that_holds_only_a_lock_becomes_a_table(self, tmp_path):
        (tmp_path / "lock").touch()
        create_table(str(tmp_path))
        open_table(str(tmp_path))

    def test_checking_a_target_writes_nothing(self, tmp_path):
        check_target(str(tmp_path / "new"))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("use", [check_target, create_table, open_table])
    @pytest.mark.parametrize("marker", MARKERS)
    def test_table_of_another_kind_is_refused_by_name(self, table, marker, use):
        text, said = MARKERS[marker]
        (Path(table.location) / "format.json").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(TableError, match=f"^{table.location}.*{said}"):
            use(table.location)

    @pytest.mark.parametrize("use", [check_target, create_table])
    def test_foreign_folder_is_refused_and_left_alone(self, tmp_path, use):
        (tmp_path / "thesis.txt").write_text("precious")
        with pytest.raises(OutputError, match=r"holds something else than an expression table \('thesis.txt'\)"):
            use(str(tmp_path))
        assert content(tmp_path) == {"thesis.txt": b"precious"}

    def test_file_is_refused(self, tmp_path):
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(OutputError, match=f"{path}: this is a file"):
            create_table(str(path))

    @pytest.mark.parametrize("name", [".", "missing"])
    def test_opening_nothing_is_refused(self, tmp_path, name):
        with pytest.raises(TableError, match="no such folder, or it is empty"):
            open_table(str(tmp_path / name))

    def test_opening_a_run_folder_points_to_the_table_in_it(self, tmp_path):
        inner = create_table(str(tmp_path / "expression"))
        with pytest.raises(TableError, match=rf"did you mean {inner.location}\?"):
            open_table(str(tmp_path))


class TestRequireUniform:
    def test_accepts_sources_of_the_same_options(self):
        other_names = PARAMETERS | {"cell_filter": False}
        require_uniform("/t", [record_of("a"), record_of("b", parameters=other_names)])

    @pytest.mark.parametrize(
        ("option", "value"), [("target_sum", 1e6), ("gene_types", ["lncRNA"]), ("gene_table", "0123456789abcdef")]
    )
    def test_refuses_values_that_cannot_be_pooled(self, option, value):
        odd = record_of("odd", parameters=PARAMETERS | {option: value})
        with pytest.raises(TableError, match=rf"^/t: .*'{option}': .*2 sources: 'a', 'b'.*1 source: 'odd'"):
            require_uniform("/t", [record_of("a"), record_of("b"), odd])

    def test_refuses_one_file_under_two_names(self):
        twice = [record_of("a"), record_of("b"), record_of("c", input=FileStat("/looms/a.loom", 100, 7))]
        with pytest.raises(TableError, match=r"^/t: /looms/a\.loom stands in the table as 'a', 'c'"):
            require_uniform("/t", twice)

    def test_refuses_a_table_without_sources(self):
        with pytest.raises(TableError, match=r"^/t: .* holds no source"):
            require_uniform("/t", [])


def test_unit_record_comes_back_from_json(tmp_path):
    path = str(tmp_path / "unit.json")
    record = UnitRecord(5, 9, 3, PartEntry("part-00000.parquet", 77, (RowGroup(2, "A", "B"), RowGroup(1, "C", "C"))))
    write_json(path, record.as_json())
    assert UnitRecord.from_bytes(path, Path(path).read_bytes()) == record
