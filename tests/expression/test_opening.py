"""Opening and making an expression table by its location, and what is refused."""

from pathlib import Path

import pytest
from tables import content, stage_source

from median_spark.errors import BusyError, OutputError, TableError
from median_spark.expression import check_target, create_table, open_table, remove_sources
from median_spark.storage import locked

MARKERS = {
    "newer": ('{"expression_table": true, "format_version": 3}', "has format version 3.*: upgrade median_spark"),
    "older": (
        '{"expression_table": true, "format_version": 0}',
        "has format version 0.*: convert the sources again into a new table",
    ),
    "foreign": ('{"name": "something else"}', "format.json"),
    "a list": ("[1]", "format.json"),
    "cut off": ('{"expression_table": tr', "format.json"),
    "empty": ("", "format.json"),
    "not text": ("\udcff", "format.json"),
}


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "expression"))


def test_new_folder_becomes_a_table(tmp_path):
    made = create_table(str(tmp_path / "new" / "expression"))
    assert open_table(made.location) == made
    assert made.sources() == made.failures() == []


def test_creating_again_changes_nothing(table):
    table.commit(stage_source(table, "a", "c0", [1.0]))
    before = content(table.location)
    assert create_table(table.location) == table
    assert content(table.location) == before


def test_folder_that_holds_only_a_lock_becomes_a_table(tmp_path):
    (tmp_path / "lock").touch()
    create_table(str(tmp_path))
    open_table(str(tmp_path))


def test_checking_a_target_writes_nothing(tmp_path):
    check_target(str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", [check_target, create_table, open_table])
@pytest.mark.parametrize("marker", MARKERS)
def test_table_of_another_kind_is_refused_by_name(table, marker, use):
    text, said = MARKERS[marker]
    (Path(table.location) / "format.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(TableError, match=f"^{table.location}.*{said}"):
        use(table.location)


@pytest.mark.parametrize("use", [check_target, create_table])
def test_foreign_folder_is_refused_and_left_alone(tmp_path, use):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"contains files other than those of an expression table \('thesis.txt'\)"):
        use(str(tmp_path))
    assert content(tmp_path) == {"thesis.txt": b"precious"}


def test_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OutputError, match=f"{path}: this is a file"):
        create_table(str(path))


@pytest.mark.parametrize("name", [".", "missing"])
def test_opening_nothing_is_refused(tmp_path, name):
    with pytest.raises(TableError, match="no such folder, or it is empty"):
        open_table(str(tmp_path / name))


def test_opening_a_run_folder_points_to_the_table_in_it(tmp_path):
    inner = create_table(str(tmp_path / "expression"))
    with pytest.raises(TableError, match=rf"did you mean {inner.location}\?"):
        open_table(str(tmp_path))


def test_removing_sources_by_location(table):
    table.commit(stage_source(table, "a", "c0", [1.0]))
    remove_sources(table.location, ["a"])
    assert table.sources() == []


def test_removing_waits_for_no_other_run(table):
    table.commit(stage_source(table, "a", "c0", [1.0]))
    with locked(table.location, "another run"), pytest.raises(BusyError, match="'another run'"):
        remove_sources(table.location, ["a"])
    assert [record.source for record in table.sources()] == ["a"]


def test_removing_from_no_table_is_refused_and_makes_none(tmp_path):
    with pytest.raises(TableError, match="no expression table"):
        remove_sources(str(tmp_path / "missing"), ["a"])
    assert list(tmp_path.iterdir()) == []
