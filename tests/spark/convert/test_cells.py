"""Conversions keep what is known of each cell, in units and in batches, and engines open it."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from h5ads import categorical, write_h5ad
from looms import random_counts, write_loom

from median_spark import ConvertOptions, convert, inspect
from median_spark.expression import open_table, read_cells

pytestmark = pytest.mark.spark

CELLS = 640
PASSES = np.arange(CELLS) % 5 > 0
TISSUES = [["lung", "heart", "brain"][number // 7 % 3] for number in range(CELLS)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A loom of several units, an h5ad that is read in a batch, and a loom without values."""
    folder = tmp_path_factory.mktemp("corpus")
    counts = random_counts(np.random.default_rng(0), 300, CELLS, density=0.3)
    counts[:, 128:192] = 0  # a unit without a value
    write_loom(folder / "a.loom", counts, filter_pass=PASSES.astype(int), col_tissue=TISSUES, col_n=np.arange(CELLS))
    write_h5ad(folder / "db" / "b.h5ad", counts[:60, :30], obs_tissue=categorical(TISSUES[:30]))
    write_loom(folder / "none.loom", np.zeros((60, 10), int), col_tissue=TISSUES[:10])
    return folder


@pytest.fixture(scope="module")
def table(spark, corpus, tmp_path_factory):
    target = tmp_path_factory.mktemp("table") / "x"
    convert(str(corpus), str(target), spark=spark, options=ConvertOptions(unit_entries=10_000))
    return open_table(str(target))


def read(table, record, columns):
    return [row for _, cells in read_cells(table, record, columns) for row in cells.to_pylist()]


def test_cells_of_every_unit_are_kept(table):
    record = table.sources()[0]
    assert len(record.cells_parts) > 3
    assert all(entry.rows < CELLS for entry in record.cells_parts)
    assert {part.name for part in record.parts} <= {entry.name for entry in record.cells_parts}
    found = read(table, record, ["cell", "tissue", "n"])
    expected = [{"cell": f"cell{n}", "tissue": TISSUES[n], "n": int(n)} for n in np.flatnonzero(PASSES)]
    assert sorted(found, key=lambda row: row["n"]) == expected == found


def test_dictionaries_of_a_part_are_its_file_of_cells(table):
    record = table.sources()[0]
    cells = {entry.name: held["cell"].to_pylist() for entry, held in read_cells(table, record, ["cell"])}
    for part in record.parts:
        path = Path(table.values) / "source=a" / part.name
        with pq.ParquetFile(path, read_dictionary=["cell"]) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, ["cell"]).column(0).combine_chunks()
                column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
                assert column.dictionary.to_pylist() == cells[part.name]


def test_numbers_of_genes_are_those_of_the_values(table):
    for record in table.sources():
        folder = Path(table.values) / f"source={record.source.replace('/', '%2F')}"
        counted = {}
        for part in record.parts:
            for cell in pq.ParquetFile(folder / part.name).read(["cell"])["cell"].to_pylist():
                counted[cell] = counted.get(cell, 0) + 1
        for row in read(table, record, ["cell", "n_genes", "n_values"]):
            assert row["n_genes"] == row["n_values"] == counted.get(row["cell"], 0)


def test_a_source_without_values_has_its_cells(table):
    record = table.sources()[2]
    assert (record.source, record.parts) == ("none", ())
    assert [row["tissue"] for row in read(table, record, ["tissue"])] == TISSUES[:10]


def test_spark_and_duckdb_open_the_bare_folder(spark, table):
    frame = spark.read.option("mergeSchema", "true").parquet(table.cells)
    assert {"cell", "n_counts", "n_genes", "tissue", "n", "source"} <= set(frame.columns)
    by_spark = sorted(
        (row["source"], row["tissue"], row["count"]) for row in frame.groupBy("source", "tissue").count().collect()
    )
    files = f"read_parquet('{table.cells}/*/*.parquet', union_by_name=true)"
    by_duckdb = duckdb.sql(f"select source, tissue, count(*) from {files} group by all order by all").fetchall()
    assert by_spark == by_duckdb
    assert sum(count for *_, count in by_spark) == PASSES.sum() + 30 + 10


def test_values_join_cells_by_source_and_id(table):
    found = duckdb.sql(
        f"""select tissue, count(*) from read_parquet('{table.values}/*/*.parquet') as v
        join read_parquet('{table.cells}/*/*.parquet', union_by_name=true) as c using (source, cell)
        group by tissue order by tissue"""
    ).fetchall()
    assert sum(count for _, count in found) == sum(record.values for record in table.sources())


def test_inspecting_the_table_says_what_is_known_of_cells(table):
    found = dict(inspect(table.location))
    assert found["known of cells"] == (
        "n_counts, n_genes, cell_id (2 of 3 sources), filter_pass, n (1 of 3 sources), tissue"
    )


def test_another_choice_of_columns_brings_them(spark, corpus, tmp_path):
    target, loom = str(tmp_path / "x"), str(corpus / "a.loom")

    def names(columns):
        done = convert(loom, target, spark=spark, options=ConvertOptions(cell_columns=columns))
        return bool(done.converted), [name for name, _ in done.records[0].cell_columns[4:]]

    assert names("all") == (True, ["cell_id", "filter_pass", "n", "tissue"])
    assert names("all") == (False, ["cell_id", "filter_pass", "n", "tissue"])
    assert names("none") == (True, [])
    assert names("none") == (False, [])
    assert names(("tissue", "absent")) == (True, ["tissue"])
    assert names(("tissue", "absent")) == (False, ["tissue"])
    assert pq.read_table(f"{target}/cells").schema.names == [
        "cell",
        "n_counts",
        "n_genes",
        "n_values",
        "tissue",
        "source",
    ]
