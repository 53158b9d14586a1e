"""Matrices read by Spark's own reader: the rows of the expression table, whatever was loaded and however it was cut."""

import os
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom, write_looms
from oracle import loom_values

from median_spark import convert, register_formats
from median_spark.errors import EngineError

pytestmark = pytest.mark.spark
needs_spark_4 = pytest.mark.skipif(
    find_spec("pyspark.sql.datasource") is None, reason="this pyspark has no Python data sources"
)
COLUMNS = ["source", "gene", "cell", "value"]


@pytest.fixture(scope="module")
def reader(spark):
    """Return what makes a new reader of a format."""
    register_formats(spark)
    return lambda name="loom": spark.read.format(name)


@pytest.fixture
def corpus(tmp_path):
    """Three small looms in two folders, two of them called study1."""
    return write_looms(tmp_path / "corpus", ("a/study1", "a/study2", "b/study1"), 5, 80, 50)


def rows_of(frame):
    """Return a frame's rows in one order, as Arrow."""
    names = [name for name in COLUMNS if name in frame.columns]
    return frame.select(names).toArrow().sort_by([(name, "ascending") for name in names])


def rows_of_table(spark, inputs, folder, **more):
    """Convert, and return the expression table's rows in the same order."""
    convert(str(inputs), str(folder), spark=spark, **more)
    return rows_in(folder)


def rows_in(folder):
    """Return the rows of an expression table in the same order."""
    source = pa.field("source", pa.string())
    partitioning = ds.partitioning(pa.schema([source]), flavor="hive")
    found = ds.dataset(f"{folder}/values", partitioning=partitioning).to_table(columns=COLUMNS)
    return found.sort_by([(name, "ascending") for name in COLUMNS])


def same(one, other):
    """Say whether two tables hold the same rows, values bit for bit."""
    names = [name for name in one.column_names if name != "value"]
    bits = [table["value"].to_numpy().tobytes() for table in (one, other)]
    return len(one) > 0 and one.select(names).to_pydict() == other.select(names).to_pydict() and bits[0] == bits[1]


@needs_spark_4
@pytest.mark.slow
def test_the_demo_corpus_reads_as_its_expression_table_bit_for_bit(spark, reader, demo, demo_expression):
    genes = str(demo / "gene_info_table.csv")
    expected = rows_in(demo_expression)
    frame = reader().option("gene_table", genes).load(str(demo))
    assert frame.dtypes == [("gene", "string"), ("cell", "string"), ("value", "double"), ("source", "string")]
    assert same(rows_of(frame), expected)


@needs_spark_4
@pytest.mark.parametrize("kind", ["csr", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("csc", "dense"))])
def test_an_h5ad_reads_as_its_expression_table(spark, reader, tmp_path, kind):
    counts = random_counts(np.random.default_rng(3), 90, 70, density=0.3)
    path = write_h5ad(tmp_path / "corpus" / "s.h5ad", counts.astype("f4"), kind)
    assert same(rows_of(reader("h5ad").load(path)), rows_of_table(spark, path, tmp_path / "x"))


@needs_spark_4
@pytest.mark.parametrize("entries", [1, 3_000, 10**9])
def test_tasks_read_ranges_of_cells_and_rows_do_not_depend_on_them(reader, tmp_path, entries):
    counts = random_counts(np.random.default_rng(2), 120, 700)
    path = write_loom(tmp_path / "big.loom", counts, filter_pass=np.arange(700) % 3 > 0)
    frame = reader().option("unit_entries", entries).load(path)
    tasks = frame.selectExpr("spark_partition_id() AS task").distinct().count()
    assert (tasks == 1) == (entries == 10**9)
    found = {}
    for row in rows_of(frame).to_pylist():
        found.setdefault(row["gene"], {})[row["cell"]] = row["value"]
    expected, _ = loom_values(path)
    assert found == {
        gene: {f"cell{cell}": value for cell, value in zip(cells, values, strict=True)}
        for gene, (cells, values) in expected.items()
    }


@pytest.mark.slow
@needs_spark_4
def test_of_many_sources_each_is_a_task(reader, tmp_path):
    for number in range(33):  # of up to 32, each would be cut into units first
        write_loom(tmp_path / "corpus" / f"s{number:02d}.loom", np.full((7, 200), number + 1))
    frame = reader().option("unit_entries", 1).load(str(tmp_path / "corpus"))
    of_task = frame.groupBy("source").agg({"gene": "count"}).toArrow().to_pylist()
    assert {row["source"]: row["count(gene)"] for row in of_task} == {f"s{n:02d}": 1400 for n in range(33)}
    assert frame.selectExpr("spark_partition_id() AS task").distinct().count() == 33


@needs_spark_4
def test_one_file_is_named_by_itself(reader, corpus):
    frame = reader().load(str(corpus / "a" / "study2.loom"))
    assert {row["source"] for row in frame.select("source").distinct().toArrow().to_pylist()} == {"study2"}


@needs_spark_4
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*/study1.loom", {"a/study1", "b/study1"}),
        ("a", {"study1", "study2"}),
        ("[a]", {"a/study1", "a/study2"}),
        ("?/study[2-9].loom", {"a/study2"}),
        ("*", {"a/study1", "a/study2", "b/study1"}),
    ],
)
def test_patterns_name_sources_by_their_path_below_the_first_sign(reader, corpus, pattern, names):
    frame = reader().load(f"{corpus}/{pattern}")
    assert {row["source"] for row in frame.select("source").distinct().toArrow().to_pylist()} == names


@needs_spark_4
def test_several_paths_are_read_as_one(spark, reader, corpus, tmp_path):
    later = write_loom(tmp_path / "later" / "study9.loom", np.ones((80, 50), int))
    expected = rows_of_table(spark, corpus, tmp_path / "x")
    expected = pa.concat_tables([expected, rows_of_table(spark, later, tmp_path / "y")])
    assert same(rows_of(reader().load([str(corpus), later])), expected)


@needs_spark_4
def test_a_folder_of_both_formats_yields_the_one_that_was_asked_for(reader, corpus, tmp_path):
    write_h5ad(corpus / "c" / "study7.h5ad", random_counts(np.random.default_rng(1), 30, 20, density=0.5))
    assert {row.source for row in reader("h5ad").load(str(corpus)).collect()} == {"c/study7"}
    assert reader("loom").load(str(corpus)).where("source = 'c/study7'").count() == 0


@needs_spark_4
@pytest.mark.parametrize("spelled", ["_", "-"])
def test_options_are_those_of_the_command_line(reader, tmp_path, spelled):
    counts = random_counts(np.random.default_rng(3), 40, 30)
    totals = counts.sum(axis=0) + 1.0
    path = write_loom(
        tmp_path / "s.loom",
        counts,
        n_counts=None,
        filter_pass=None,
        ensembl_id=None,
        gene_type=None,
        row_gene=[f"G{number}.1" for number in range(40)],
        row_kind=["lncRNA", "miRNA"] * 20,
        col_total=totals,
        col_barcode=[f"b{number}" for number in range(30)],
    )
    options = {
        "target_sum": 100,
        "gene_types": "lncRNA, snoRNA",
        "no_cell_filter": True,
        "n_counts_attr": "total",
        "gene_id_attr": "gene",
        "gene_type_attr": "kind",
        "cell_id_attr": "barcode",
    }
    frame = reader().options(**{name.replace("_", spelled): value for name, value in options.items()}).load(path)
    row, cell = np.nonzero(counts * (np.arange(40) % 2 == 0)[:, None])
    values = counts[row, cell] / totals[cell] * 100
    expected = {(f"G{r}.1", f"b{c}", value) for r, c, value in zip(row, cell, values, strict=True)}
    assert {(found.gene, found.cell, found.value) for found in frame.collect()} == expected


@needs_spark_4
def test_a_gene_map_sums_the_rows_of_a_gene(reader, tmp_path):
    path = write_loom(tmp_path / "s.loom", np.array([[1, 2], [3, 4], [5, 6]]), ensembl_id=["tp53", "P53", "other"])
    (tmp_path / "map.csv").write_text("name,ensembl_id\nTP53,ENSG1\nP53,ENSG1\n")
    frame = reader().option("gene_map", str(tmp_path / "map.csv")).load(path)
    assert {(row.gene, row.cell, row.value) for row in frame.collect()} == {
        ("ENSG1", "cell0", 4 / 9 * 10_000),
        ("ENSG1", "cell1", 6 / 12 * 10_000),
    }


@needs_spark_4
@pytest.mark.parametrize("schema", ["value double", "source string, gene string", "value double, cell string"])
def test_a_schema_leaves_columns_out(reader, corpus, schema):
    frame, whole = reader().schema(schema).load(str(corpus)), reader().load(str(corpus))
    assert frame.columns == [column.split()[0] for column in schema.split(", ")]
    assert rows_of(frame).equals(rows_of(whole.select(frame.columns)))


@needs_spark_4
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_count_attr": "x"}, r"the reader's option 'n_count_attr' is unknown; there are 'allow_non_integer', "),
        ({"no_cell_filter": "maybe"}, "the reader's option 'no_cell_filter' must be true or false, not 'maybe'"),
        ({"target_sum": "much"}, "the reader's option 'target_sum' must be a number, not 'much'"),
        ({"target_sum": "-1"}, "the reader's option 'target_sum' must be a number above 0"),
        ({"unit_entries": "0"}, "the reader's option 'unit_entries' must be a whole number above 0, not '0'"),
        ({"gene_table": "/nowhere/genes.csv"}, "/nowhere/genes.csv"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_load(reader, corpus, options, message):
    with pytest.raises(Exception, match=message):
        reader().options(**options).load(str(corpus))


@pytest.mark.slow
@needs_spark_4
def test_paths_that_cannot_be_read_are_refused_by_load(reader, corpus, tmp_path):
    (tmp_path / "note.txt").write_text("dear")
    for path, message in {
        f"{tmp_path}/nothing": "nothing: there is no such file or folder",
        f"{tmp_path}/note.txt": r"note\.txt: this is not a matrix .* must end in \.loom",
        f"{corpus}/z*": r"no \.loom .*file matches; .*corpus holds 'a/study1\.loom'",
        f"{tmp_path}/no/*/x.loom": "there is no folder .*/no in which to look",
    }.items():
        with pytest.raises(Exception, match=message):
            reader().load(path)
    with pytest.raises(Exception, match=r"there is no \.h5ad .*file in this folder"):
        reader("h5ad").load(str(corpus))
    with pytest.raises(Exception, match="no input was given"):
        reader().load()
    with pytest.raises(Exception, match="would both be the source 'study1'"):
        reader().load([str(corpus / "a"), str(corpus / "b")])


@needs_spark_4
def test_a_schema_of_other_columns_is_refused(reader, corpus):
    with pytest.raises(Exception, match=r"some or all of: gene string, .*; it has 'value float', 'tissue string'"):
        reader().schema("gene string, value float, tissue string").load(str(corpus)).collect()


@needs_spark_4
def test_a_matrix_that_cannot_be_used_is_named(reader, corpus):
    write_loom(corpus / "b" / "study3.loom", np.ones((80, 50), int), n_counts=None)
    with pytest.raises(Exception, match=r"study3\.loom: column attribute 'n_counts' is missing") as refused:
        reader().load(str(corpus)).collect()
    assert '.option("n_counts_attr", …), or sum them' in str(refused.value)


@needs_spark_4
def test_a_file_that_changed_under_the_tasks_is_refused(reader, corpus):
    frame = reader().load(str(corpus / "a" / "study1.loom"))
    assert frame.count() == len(frame.collect())
    os.utime(corpus / "a" / "study1.loom", (1, 1))
    with pytest.raises(Exception, match=r"study1\.loom: this file was changed after it was loaded; load it again"):
        frame.collect()


def test_an_older_spark_is_told_what_it_lacks(spark, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql.datasource", None)
    monkeypatch.delitem(sys.modules, "median_spark.spark.datasource.matrices", raising=False)
    with pytest.raises(EngineError, match=r"Spark 4 or newer is needed; on this one, use median_spark\.convert"):
        register_formats(spark)
