"""What is staged: which units are found done, and their records."""

from pathlib import Path

import pytest
from tables import cells_of, stage_source

from median_spark.expression import CellsEntry, PartEntry, RowGroup, UnitRecord, create_table, write_cells
from median_spark.storage import write_json


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "expression"))


def records_of(table, known=frozenset()):
    """Return the records of c0's staged units."""
    return table.staging.records({"c0": known}).get("c0", {})


def test_records_tell_what_each_unit_yielded(table):
    record = stage_source(table, "a", "c0", [1.0, 2.0])
    found = records_of(table)
    assert [found[unit].part.row_groups for unit in (0, 1)] == [part.row_groups for part in record.parts]
    assert [found[unit].values for unit in (0, 1)] == [2, 2]


def test_records_leave_out_known_units(table):
    stage_source(table, "a", "c0", [1.0])
    assert set(records_of(table, known={0})) == {1}


def test_records_leave_out_a_record_whose_part_is_missing(table):
    stage_source(table, "a", "c0", [1.0])
    Path(table.staging.unit("c0", 1)[0]).unlink()
    assert set(records_of(table)) == {0}


def test_records_leave_out_a_record_whose_cells_are_missing(table):
    stage_source(table, "a", "c0", [1.0])
    Path(table.staging.unit_cells("c0", 0)).unlink()
    assert set(records_of(table)) == {1}


def test_records_leave_out_what_an_older_version_staged_which_kept_no_cells(table):
    record = stage_source(table, "a", "c0", [1.0])
    older = UnitRecord(0, 1, 1, record.parts[0]).as_json()
    del older["cells_part"]
    write_json(table.staging.unit("c0", 0)[1], older)
    assert set(records_of(table)) == {1}


def test_records_leave_out_a_part_whose_record_is_missing(table):
    stage_source(table, "a", "c0", [1.0])
    Path(table.staging.unit("c0", 0)[1]).unlink()
    assert set(records_of(table)) == {1}


def test_records_keep_units_without_a_part(table):
    cells = write_cells(table.staging.unit_cells("c0", 0), cells_of(["a", "b"]))
    empty = UnitRecord(0, 10, 0, None, cells=cells)
    failed = UnitRecord(10, 20, 0, None, "a cell has no n_counts")
    for unit, record in enumerate((empty, failed)):
        write_json(table.staging.unit("c0", unit)[1], record.as_json())
    assert records_of(table) == {0: empty, 1: failed}


def test_records_of_nothing_staged(table):
    assert records_of(table) == {}


def test_unit_record_comes_back_from_json(tmp_path):
    path = str(tmp_path / "unit.json")
    part = PartEntry("part-00000.parquet", 77, (RowGroup(2, "A", "B"), RowGroup(1, "C", "C")))
    record = UnitRecord(5, 9, 3, part, cells=CellsEntry("cells-00000.parquet", 88, 4))
    write_json(path, record.as_json())
    assert UnitRecord.from_bytes(path, Path(path).read_bytes()) == record
