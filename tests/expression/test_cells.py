"""The table of cells: what is read of it, what is wrong with it, and that any engine opens it."""

from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from tables import cells_of, content, record_of, stage_source

from median_spark.errors import TableError
from median_spark.expression import committed_name, create_table, read_cells, remove_sources, write_cells
from median_spark.options import Style

TISSUES = ["lung", None, "heart"]


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "x"))


def commit(table, source, conversion, units, **attributes):
    """Commit a source of units without values, each with the cells of some ids."""
    entries = []
    for unit, ids in enumerate(units):
        cells = cells_of(ids, 0, **{name: pa.array(held)[: len(ids)] for name, held in attributes.items()})
        entry = write_cells(table.staging.unit_cells(conversion, unit), cells)
        entries.append(replace(entry, name=committed_name(unit, conversion)))
    columns = tuple((field.name, str(field.type)) for field in cells.schema)
    record = record_of(source, conversion, cells_parts=tuple(entries), cell_columns=columns)
    table.commit(record)
    return record


@pytest.fixture
def record(table):
    return commit(table, "db/a", "c0", [["a", "b", "c"], [], ["d"]], tissue=TISSUES, age=[1, 2, 3])


def test_units_come_in_their_order_with_the_columns_that_are_wanted(table, record):
    read = list(read_cells(table, record, ["age", "absent", "cell", "age"]))
    assert [entry for entry, _ in read] == list(record.cells_parts)
    assert [cells.schema.names for _, cells in read] == [["age", "cell"]] * 3
    assert [cells["cell"].to_pylist() for _, cells in read] == [["a", "b", "c"], [], ["d"]]
    assert [entry.rows for entry, _ in read] == [3, 0, 1]


def test_texts_come_as_dictionaries(table, record):
    _, cells = next(read_cells(table, record, ["tissue"]))
    assert pa.types.is_dictionary(cells.schema.field("tissue").type)
    assert cells["tissue"].to_pylist() == TISSUES


def test_without_columns_the_files_are_checked_all_the_same(table, record):
    assert [cells.num_columns for _, cells in read_cells(table, record, [])] == [0, 0, 0]
    file_of(table, record).unlink()
    with pytest.raises(TableError, match="listed by its source's record but not there"):
        list(read_cells(table, record, []))


def test_the_record_comes_back(table, record):
    assert table.sources() == [record]


def test_a_source_of_an_older_version_is_refused_with_what_to_do(table):
    with pytest.raises(TableError) as refused:
        next(read_cells(table, record_of("db/a"), ["cell"]))
    assert refused.value.worded(Style.FLAGS) == (
        f"{table.location}: source 'db/a' was converted by a version that kept no cells: convert it again, with "
        "--overwrite"
    )


def file_of(table, record, unit=0):
    return Path(table.cells) / "source=db%2Fa" / record.cells_parts[unit].name


class TestDamage:
    def refusal(self, table, record, columns=("age",)):
        with pytest.raises(TableError) as refused:
            list(read_cells(table, record, columns))
        return str(refused.value)

    def test_a_missing_file_is_named(self, table, record):
        file_of(table, record).unlink()
        assert f"{file_of(table, record)}: this file is listed" in self.refusal(table, record)

    @pytest.mark.parametrize("damage", [lambda held: held[:-9], lambda held: b"", lambda held: held[:4] + held[60:]])
    def test_a_damaged_file_is_named(self, table, record, damage):
        path = file_of(table, record)
        path.write_bytes(damage(path.read_bytes()))
        assert f"{path}: this file cannot be read" in self.refusal(table, record)

    def test_another_number_of_cells_is_said(self, table, record):
        pq.write_table(cells_of(["a"], age=[1], tissue=["x"]), file_of(table, record))
        assert "has 1 rows where its source's record says 3" in self.refusal(table, record)

    @pytest.mark.parametrize("held", [{"age": [1.0, 2.0, 3.0]}, {}])
    def test_a_column_of_another_type_or_none_is_said(self, table, record, held):
        pq.write_table(cells_of(["a", "b", "c"], **held), file_of(table, record))
        assert "column 'age' is not int64, as its source's record says" in self.refusal(table, record)


class TestEngines:
    """Sources of different columns, and names that need encoding."""

    @pytest.fixture
    def sources(self, table, record):
        commit(table, "b", "c1", [["e"]], tissue=["lung"], doublet=[True], age=[2.5])
        return table

    def test_pyarrow_opens_the_bare_folder(self, sources):
        cells = pq.read_table(sources.cells)
        assert sorted(cells["cell"].to_pylist()) == ["a", "b", "c", "d", "e"]
        assert set(cells["source"].to_pylist()) == {"db/a", "b"}

    def test_pyarrow_unifies_the_columns_of_all_sources(self, sources):
        found = ds.dataset(sources.cells, partitioning="hive")
        schemas = [found.schema, *(part.physical_schema for part in found.get_fragments())]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        rows = ds.dataset(sources.cells, schema=schema, partitioning="hive").to_table().sort_by("cell").to_pylist()
        assert [row["doublet"] for row in rows] == [None] * 4 + [True]
        assert [row["age"] for row in rows] == [1, 2, 3, 1, 2.5]

    def test_duckdb_unions_by_name(self, sources):
        query = f"select * from read_parquet('{sources.cells}/**/*.parquet', union_by_name=true) order by cell"
        rows = duckdb.sql(query).fetchall()
        names = [column[0] for column in duckdb.sql(query).description]
        assert set(names) == {"cell", "n_counts", "n_genes", "tissue", "age", "doublet", "source"}
        assert [row[names.index("tissue")] for row in rows] == [*TISSUES, "lung", "lung"]
        assert {row[names.index("source")] for row in rows} == {"db/a", "b"}

    def test_nothing_but_parquet_is_below_the_folder(self, sources):
        assert {Path(name).suffix for name in content(sources.cells)} == {".parquet"}
        for name in content(sources.cells):
            schema = pq.ParquetFile(Path(sources.cells) / name).schema_arrow
            assert not any(map(pa.types.is_dictionary, schema.types))


class TestCommit:
    def test_replacing_a_source_removes_its_old_cells(self, table, record):
        commit(table, "db/a", "c1", [["z"]])
        assert pq.read_table(table.cells)["cell"].to_pylist() == ["z"]

    def test_removing_a_source_removes_its_cells(self, table, record):
        commit(table, "b", "c1", [["z"]])
        remove_sources(table.location, ["db/a"])
        assert pq.read_table(table.cells)["cell"].to_pylist() == ["z"]

    def test_strays_and_half_written_files_go(self, table, record):
        before = content(table.cells)
        for name in ("source=db%2Fa/part-00009-old.parquet", "source=gone/part-00000-c9.parquet.0123456789ab.tmp"):
            stray = Path(table.cells) / name
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(b"stray")
        table.discard_leftovers(keep=set(), records=table.sources())
        assert content(table.cells) == before
        assert not (Path(table.cells) / "source=gone").exists()

    @pytest.mark.parametrize("lost", ["part", "cells"])
    def test_that_dies_before_its_record_leaves_the_old_source_to_readers(self, table, lost):
        table.commit(stage_source(table, "a", "c0", [1.0]))
        old = table.sources()
        before = content(table.location)
        new = stage_source(table, "a", "c1", [2.0])
        Path(table.staging.unit("c1", 1)[0] if lost == "part" else table.staging.unit_cells("c1", 1)).unlink()
        with pytest.raises(FileNotFoundError):
            table.commit(new)
        assert table.sources() == old
        assert [len(cells) for _, cells in read_cells(table, old[0], ["cell"])] == [1, 1]
        table.discard_leftovers(keep=set(), records=table.sources())
        assert content(table.location) == before
