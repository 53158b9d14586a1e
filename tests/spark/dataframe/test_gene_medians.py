"""The general entrance: medians of any DataFrame, against numpy and against those of an expression table."""

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from growing import AtStep, GrowingRows
from hypothesis import given
from hypothesis import strategies as st
from notes import Notes
from pyspark.sql import functions as F
from tables import digests_of

from examples import examples
from median_spark import gene_medians, table_medians
from median_spark.errors import DigestError, FrameError, UsageError
from median_spark.genes import GeneTable
from median_spark.progress import SilentProgress
from median_spark.results import MEDIANS_SCHEMA
from median_spark.spark.dataframe import gene_medians as frames_module
from median_spark.spark.dataframe.rounds import exact_medians_of_rows
from median_spark.spark.engine.tasks import collect, ddl_of, local_frame

pytestmark = pytest.mark.spark

KNOWN_TO_THE_BIT = ("gene", "median", "n_cells", "n_sources", "min", "max")


@pytest.fixture(scope="module")
def expression(demo_expression):
    return Path(demo_expression)


@pytest.fixture(scope="module")
def of_table(spark, expression):
    """The medians of the same values by the other entrance, detected genes alone."""
    found = table_medians(expression, spark=spark).table
    return found.filter(pc.greater(found["n_cells"], 0))


def frame_of(spark, values, partitions=1, seed=0):
    """Return a DataFrame of {gene: values}, its rows in no order and in so many partitions."""
    gene = np.repeat(list(values), [len(of_gene) for of_gene in values.values()])
    value = np.concatenate([np.asarray(of_gene, dtype=np.float64) for of_gene in values.values()])
    order = np.random.default_rng(seed).permutation(len(gene))
    rows = pd.DataFrame({"gene": gene[order], "value": value[order]})
    return spark.createDataFrame(rows, "gene string, value double").repartition(partitions)


def table_of(found):
    """Return what came back as an Arrow table."""
    return collect(found, pa.schema([MEDIANS_SCHEMA.field(name) for name in found.columns]), "reading")


def rows_of(found):
    return {row["gene"]: row.asDict() for row in found.collect()}


def assert_medians(found, values, *, exact=True):
    """Compare with numpy what is known exactly of every gene, and the rank error of its digest's median."""
    rows = rows_of(found)
    assert list(rows) == sorted(values)
    for gene, row in rows.items():
        of_gene = np.asarray(values[gene], dtype=np.float64)
        assert row["n_cells"] == len(of_gene)
        assert (row["min"], row["max"]) == (of_gene.min(), of_gene.max())
        if exact:
            assert row["median"] == np.median(of_gene)
            below, up_to = np.sum(of_gene < row["digest_median"]), np.sum(of_gene <= row["digest_median"])
            middle = len(of_gene) / 2
            assert row["digest_rank_error"] * len(of_gene) == pytest.approx(max(below - middle, middle - up_to, 0))


@contextmanager
def rounds(monkeypatch):
    """Note the Spark jobs: one for digests, and one for each round of the second pass."""
    jobs = []
    from median_spark.spark.dataframe import rounds

    def collected(frame, schema, what, *more):
        jobs.append(what)
        return collect(frame, schema, what, *more)

    with monkeypatch.context() as patched:
        for module in (frames_module, rounds):
            patched.setattr(module, "collect", collected)
        yield jobs


# The same as from the expression table


def assert_same_bits(found, of_table):
    assert found.column_names == [name for name in MEDIANS_SCHEMA.names if name != "share_detected"]
    for name in KNOWN_TO_THE_BIT:
        assert found[name].equals(of_table[name]), name
    assert found["median"].to_numpy().tobytes() == of_table["median"].to_numpy().tobytes()


def test_exact_medians_are_those_of_the_expression_table_to_the_bit(spark, expression):
    of_table = table_medians(expression, spark=spark, sources=["database1/data/study3"]).table
    frame = spark.read.parquet(str(expression / "values")).where("source = 'database1/data/study3'").repartition(3)
    found = table_of(gene_medians(frame, source_col="source"))
    assert_same_bits(found, of_table.filter(pc.greater(of_table["n_cells"], 0)))


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 3, 50])
def test_those_of_a_whole_corpus_are_too(spark, expression, of_table, partitions):
    frame = spark.read.parquet(str(expression / "values")).repartition(partitions)
    assert_same_bits(table_of(gene_medians(frame, source_col="source")), of_table)


@pytest.mark.slow
def test_what_is_read_off_digests_is_close_to_that_of_the_expression_table(spark, expression, of_table):
    frame = spark.read.parquet(str(expression / "values")).repartition(6)
    found = table_of(gene_medians(frame))
    many = of_table["n_cells"].to_numpy() > 1_000
    assert many.sum() > 100
    for name in ("q25", "digest_median", "q75"):
        ratio = found[name].to_numpy()[many] / of_table[name].to_numpy()[many]
        assert np.percentile(np.abs(ratio - 1), 95) < 0.01
    errors = found["digest_rank_error"].to_numpy()
    assert 0 < errors.max() < 0.05


@pytest.mark.slow
def test_the_same_partitions_give_the_same_bytes_whatever_the_order_of_rows_in_them(spark, expression):
    frame = spark.read.parquet(str(expression / "values")).where("source = 'database1/data/study3'")
    frame = frame.repartition(5, "cell")
    other_order = frame.sortWithinPartitions(F.xxhash64("value"))
    found = [table_of(gene_medians(ordered)) for ordered in (frame, frame, other_order)]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_a_table_is_taken_by_its_path_in_any_form(spark, expression, of_table):
    found = table_medians(Path(expression), spark=spark).table
    assert found.filter(pc.greater(found["n_cells"], 0)).equals(of_table)


# Exactness


HARD = {
    "one more than half": np.where(np.arange(3_000) < 1_501, 1.0, 3.0),
    "half and half": np.where(np.arange(3_000) < 1_500, 1.0, 3.0),
    "half and half, odd": np.where(np.arange(2_999) < 1_500, 1.0, 3.0),
    "all alike": np.full(2_000, 0.1),
    "one": np.array([5.0]),
    "two": np.array([2.0, 9.0]),
    "ties": np.random.default_rng(0).integers(1, 6, 4_001) / 1.7,
    "spread": np.random.default_rng(1).lognormal(0, 20, 3_000),
    "neighbours": 1.0 + np.random.default_rng(2).integers(0, 4, 2_000) * 2.0**-52,
    "tiny": np.random.default_rng(3).random(1_000) * 1e-310,
}


@pytest.mark.parametrize(
    "partitions", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(40, marks=pytest.mark.slow)]
)
def test_hard_distributions_come_out_right(spark, partitions):
    assert_medians(gene_medians(frame_of(spark, HARD, partitions), compression=20), HARD)


def test_windows_smaller_than_partitions_change_no_exact_median(spark):
    found = gene_medians(frame_of(spark, HARD, 2), compression=20, window_rows=333)
    assert_medians(found, HARD)


def test_one_gene_that_has_nearly_all_rows_in_all_partitions(spark):
    rng = np.random.default_rng(4)
    values = {"big": rng.lognormal(1, 1, 60_000), **{f"small{n}": rng.random(1 + n) + 0.1 for n in range(100)}}
    assert_medians(gene_medians(frame_of(spark, values, 5)), values)


def test_most_partitions_may_be_empty(spark):
    values = {"A": np.arange(1.0, 1_001.0), "B": [2.0]}
    frame = frame_of(spark, values).repartition(9, "gene")
    assert_medians(gene_medians(frame, compression=20), values)


@pytest.mark.parametrize("adaptive", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_spark_may_plan_anew_between_stages(spark, adaptive):
    before = spark.conf.get("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.adaptive.enabled", adaptive)
    try:
        assert_medians(gene_medians(frame_of(spark, HARD, 4), compression=20), HARD)
    finally:
        spark.conf.set("spark.sql.adaptive.enabled", before)


few_distinct = st.lists(st.sampled_from([0.5, 1.0, 1.0 + 2.0**-52, 2.0, 7.25]), min_size=1, max_size=300)
any_values = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=300)


@examples(10)
@given(
    st.dictionaries(st.sampled_from(["A", "B", "C", "ä", "Z.1"]), few_distinct | any_values, min_size=1),
    st.integers(1, 4),
    st.sampled_from([50, 1_000]),
)
def test_any_values_in_any_partitions(spark, values, partitions, window_rows):
    found = gene_medians(frame_of(spark, values, partitions), compression=20, window_rows=window_rows)
    assert_medians(found, values)


@pytest.mark.parametrize("far", [-1.0, 1.0], ids=["below", "above"])
def test_a_bracket_that_misses_is_widened(spark, monkeypatch, far):
    values = {"even": np.arange(1.0, 5_001.0), "odd": np.arange(1.0, 5_000.0), "two": np.repeat([1.0, 9.0], 2_000)}
    merged = digests_of(values)
    wrong = {  # digests whose middle lies where hardly a value is
        gene: replace(digest, means=np.linspace(0, 1, len(digest.means)) ** np.exp(-far * 3) * (digest.max - 1) + 1)
        for gene, digest in merged.digests.items()
    }
    rows = frame_of(spark, values, 3)
    with rounds(monkeypatch) as jobs:
        found = exact_medians_of_rows(rows, replace(merged, digests=wrong), SilentProgress())
    assert len(jobs) == 2
    assert {gene: exact.median for gene, exact in found.items()} == {g: np.median(v) for g, v in values.items()}


def test_middle_values_on_both_sides_of_a_bracket_are_both_found(spark):
    values = {"A": np.concatenate([np.full(500, 1.0), np.full(500, 100.0)])}
    merged = digests_of(values)
    digest = merged.digests["A"]
    middle = replace(digest, means=np.clip(np.linspace(40, 60, len(digest.means)), 1, 100))
    found = exact_medians_of_rows(frame_of(spark, values, 2), replace(merged, digests={"A": middle}), SilentProgress())
    assert found["A"].median == 50.5


def test_without_exactness_the_frame_is_read_once(spark, monkeypatch):
    values = {"A": np.arange(1.0, 2_001.0), "B": [4.0]}
    frame = frame_of(spark, values, 3)
    with rounds(monkeypatch) as jobs:
        found = gene_medians(frame, exact=False)
        assert jobs == ["digesting"]
        gene_medians(frame)
    assert jobs == ["digesting", "digesting", "refining"]
    assert_medians(found, values, exact=False)
    for row in rows_of(found).values():
        assert row["median"] == row["digest_median"]
        assert row["digest_rank_error"] is None


# What comes back


def test_the_answer_is_computed_once_and_does_not_need_the_frame_any_more(spark, tmp_path):
    frame_of(spark, HARD).write.parquet(str(tmp_path / "rows"))
    found = gene_medians(spark.read.parquet(str(tmp_path / "rows")), compression=20)
    shutil.rmtree(tmp_path / "rows")
    assert_medians(found, HARD)
    assert found.where("median > 2").count() == sum(np.median(of_gene) > 2 for of_gene in HARD.values())


def test_the_answer_has_the_columns_of_the_median_table_that_can_be_known(spark):
    found = gene_medians(frame_of(spark, {"A": [1.0]}))
    assert found.columns == [name for name in MEDIANS_SCHEMA.names if name not in {"n_sources", "share_detected"}]
    kinds = {field.name: field.dataType.simpleString() for field in found.schema}
    assert kinds.pop("gene") == "string"
    assert kinds.pop("n_cells") == "bigint"
    assert set(kinds.values()) == {"double"}


@pytest.mark.parametrize("source", [["s1", "s2", "s1", "s1", "s2"], [1, 2, 1, 1, 2]], ids=["strings", "integers"])
def test_sources_are_counted_where_a_gene_has_a_value(spark, source):
    gene, value = ["A", "A", "B", "B", "B"], [1.0, 2.0, 3.0, 4.0, 0.0]
    frame = spark.createDataFrame(list(zip(gene, value, source, strict=True)), ["gene", "value", "study"])
    found = rows_of(gene_medians(frame, source_col="study"))
    assert {name: row["n_sources"] for name, row in found.items()} == {"A": 2, "B": 1}


def test_zeros_are_left_out_and_counted(spark):
    values = {"A": [0.0, 1.0, 5.0, -0.0], "B": [0.0], "C": [2.0]}
    notes = Notes()
    found = rows_of(gene_medians(frame_of(spark, values, 3), progress=notes))
    assert {gene: (row["median"], row["n_cells"]) for gene, row in found.items()} == {
        "A": (3.0, 2),
        "B": (None, 0),
        "C": (2.0, 1),
    }
    assert notes.said == ["3 rows of a value of 0 were left out: a median is that of the values above 0"]


# Columns


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("tinyint", [1, 2, 2, 9], id="tinyint"),
        pytest.param("smallint", [1, 2, 2, 9], id="smallint"),
        pytest.param("int", [1, 2, 2, 9], id="int"),
        pytest.param("bigint", [1, 2, 2, 9, 2**60], id="bigint"),
        pytest.param("float", [float(np.float32(number)) for number in (0.1, 0.2, 0.3, 1e30)], id="float"),
        pytest.param("double", [0.1, 0.2, 0.3, 1e300], id="double"),
        pytest.param("decimal(10,3)", [Decimal("0.001"), Decimal("0.1"), Decimal("2.345"), Decimal(9)], id="decimal"),
    ],
)
def test_numbers_of_any_kind_become_float64(spark, kind, values):
    frame = spark.createDataFrame([("A", value) for value in values], f"gene string, value {kind}")
    assert_medians(gene_medians(frame), {"A": [float(value) for value in values]})


def test_columns_are_found_as_spark_finds_them(spark):
    frame = frame_of(spark, {"A": [1.0, 2.0], "B": [4.0]})
    renamed = frame.select(
        F.struct(F.col("gene").alias("id")).alias("row"), F.col("value").alias("CP10k"), F.lit(1).alias("a.b")
    )
    expected = {"A": [1.0, 2.0], "B": [4.0]}
    assert_medians(gene_medians(renamed, gene_col="row.id", value_col="cp10K"), expected)
    assert rows_of(gene_medians(renamed, gene_col="row.id", value_col="a.b"))["A"]["median"] == 1.0
    assert rows_of(gene_medians(renamed, gene_col="row.id", value_col="`a.b`"))["A"]["median"] == 1.0


def test_capitals_matter_where_the_session_says_so(spark):
    frame = frame_of(spark, {"A": [1.0]}).withColumnRenamed("value", "Value")
    assert rows_of(gene_medians(frame))["A"]["median"] == 1.0
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(FrameError, match="no column 'value'; it has 'gene', 'Value'"):
            gene_medians(frame)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_column_that_is_not_there_is_named_with_those_that_are(spark):
    frame = frame_of(spark, {"A": [1.0]}).withColumnRenamed("gene", "ensembl_id")
    with pytest.raises(FrameError, match=r"no column 'gene'; it has 'ensembl_id', 'value': .* with gene_col"):
        gene_medians(frame)
    with pytest.raises(FrameError, match=r"no column 'x'; .* with value_col"):
        gene_medians(frame, gene_col="ensembl_id", value_col="x")
    with pytest.raises(FrameError, match=r"no column 'study'; .* with source_col"):
        gene_medians(frame, gene_col="ensembl_id", source_col="study")


def test_columns_of_one_name_are_refused(spark):
    frame = frame_of(spark, {"A": [1.0]})
    with pytest.raises(FrameError, match="several columns 'value'"):
        gene_medians(frame.select("gene", "value", F.col("value").alias("value")))


@pytest.mark.parametrize(
    ("column", "kind", "cast", "wanted"),
    [
        ("gene", "bigint", "bigint", "genes are strings: name another with gene_col"),
        ("gene", "binary", "binary", "genes are strings"),
        ("value", "string", "string", "values are numbers: name another with value_col"),
        ("value", "boolean", "boolean", "values are numbers"),
        ("value", "array<double>", "array", "values are numbers"),
        ("study", "double", "double", "sources are strings or integers: name another with source_col"),
    ],
)
def test_columns_of_another_type_are_refused(spark, column, kind, cast, wanted):
    changed = {"gene": F.lit("1"), "value": F.lit(1.0), "study": F.lit("s")}
    changed[column] = F.array(F.lit(1.0)) if cast == "array" else F.lit("1").cast(cast)
    frame = spark.range(3).select(*(found.alias(name) for name, found in changed.items()))
    with pytest.raises(FrameError, match=rf"column '{column}' holds {kind}.*{wanted}"):
        gene_medians(frame, source_col="study")


# Rows


@pytest.mark.parametrize(
    ("gene", "value", "said"),
    [
        pytest.param(None, 1.0, "column 'id' is null in 2 rows: every row must name its gene", id="null-gene"),
        pytest.param("B", None, "column 'cp10k' is null in 2 rows, one of them of gene 'B'", id="null-value"),
        pytest.param("B", float("nan"), "column 'cp10k' holds NaN in 2 rows, one of them of gene 'B'", id="nan"),
        pytest.param("B", float("inf"), "holds an infinite number in 2 rows, one of them of gene 'B'", id="inf"),
        pytest.param("B", -0.5, "holds a negative number in 2 rows, one of them of gene 'B'", id="negative"),
    ],
)
def test_rows_that_have_no_place_in_a_median_are_refused(spark, gene, value, said):
    rows = [("A", 1.0), (gene, value), ("C", 2.0), ("C", 0.0), (gene, value)]
    frame = spark.createDataFrame(rows, "id string, cp10k double").repartition(3)
    with pytest.raises(FrameError, match=said):
        gene_medians(frame, gene_col="id", value_col="cp10k")


def test_a_row_without_a_source_is_refused_only_if_it_counts(spark):
    rows = [("A", 1.0, "s"), ("A", 0.0, None)]
    frame = spark.createDataFrame(rows, "gene string, value double, study string")
    assert rows_of(gene_medians(frame, source_col="study"))["A"]["n_sources"] == 1
    with pytest.raises(FrameError, match="column 'study' is null in rows of gene 'A'"):
        gene_medians(frame.withColumn("value", F.lit(1.0)), source_col="study")


def test_a_frame_without_rows_or_without_values_is_refused(spark):
    empty = spark.createDataFrame([], "gene string, value double")
    with pytest.raises(FrameError, match="has no rows"):
        gene_medians(empty)
    with pytest.raises(FrameError, match="no value above 0: all values of its 2 genes are 0"):
        gene_medians(frame_of(spark, {"A": [0.0, 0.0], "B": [0.0]}))


def random_rows(draw):
    """Return a function that makes other rows at each reading."""

    def on_worker(batches):
        rng = np.random.default_rng()
        for batch in batches:
            gene, value = draw(rng, batch.num_rows)
            yield pa.RecordBatch.from_pydict({"gene": gene, "value": value})

    return on_worker


@pytest.mark.slow
def test_a_frame_that_is_another_at_each_reading_is_refused(spark):
    values = random_rows(lambda rng, rows: (["A"] * rows, rng.random(rows) + 1))
    frame = spark.range(5_000).mapInArrow(values, "gene string, value double")
    with pytest.raises(FrameError, match=r"other rows of gene 'A' when it is read again.*exact=False"):
        gene_medians(frame)
    assert rows_of(gene_medians(frame, exact=False))["A"]["n_cells"] == 5_000


def test_a_frame_that_has_another_number_of_rows_at_each_reading_is_refused(spark):
    ends = [1.0, 3.0]

    def some(rng, _):
        drawn = rng.integers(1, 100_000)
        return ["A"] * (drawn + 2), np.concatenate([ends, np.full(drawn, 2.0)])

    frame = spark.range(1).mapInArrow(random_rows(some), "gene string, value double")
    with pytest.raises(FrameError, match=r"other rows of gene 'A' when it is read again"):
        gene_medians(frame, compression=20)


def test_a_frame_that_has_other_genes_at_each_reading_is_refused(spark):
    genes = random_rows(lambda rng, rows: ([f"g{rng.integers(1 << 60)}"] * rows, np.ones(rows)))
    frame = spark.range(1).mapInArrow(genes, "gene string, value double").withColumn("study", F.lit("s"))
    with pytest.raises(FrameError, match=r"other rows of gene 'g[0-9]+' when it is read again"):
        gene_medians(frame, source_col="study")


@pytest.mark.parametrize(
    ("step", "options"),
    [
        ("refining", {}),
        ("counting sources", {"source_col": "study"}),
        ("counting sources", {"source_col": "study", "exact": False}),
        ("digesting", {"gene_table": GeneTable("/genes.csv", {"A": "protein_coding", "B": "protein_coding"})}),
    ],
)
def test_a_frame_that_grows_between_two_readings_is_refused(spark, tmp_path, step, options):
    """The new row has a gene, a value and a study that were there before, so no other count shows it."""
    rows = [{"gene": gene, "value": float(value), "study": "s"} for gene in "AB" for value in range(1, 200)]
    growing = GrowingRows(tmp_path, rows)
    progress = AtStep(step, lambda: growing.append(rows[:1]))
    with pytest.raises(FrameError, match=r"other rows .*when it is read again.*versionAsOf"):
        gene_medians(
            growing.frame(spark, "gene string, value double, study string"),
            compression=20,
            progress=progress,
            **options,
        )
    assert progress.called


# Arguments


@pytest.mark.parametrize(
    "given", [pd.DataFrame({"gene": ["A"], "value": [1.0]}), None, 7], ids=["pandas", "none", "int"]
)
def test_anything_but_a_dataframe_is_rejected(spark, given):
    with pytest.raises(UsageError, match=r"takes a Spark DataFrame, not a .*table_medians takes the path"):
        gene_medians(given)


def test_an_option_of_the_other_entrance_is_refused(spark, expression):
    with pytest.raises(TypeError, match="sources"):
        gene_medians(frame_of(spark, {"A": [1.0]}), sources=["s"])
    with pytest.raises(TypeError, match="gene_col"):
        table_medians(str(expression), spark=spark, gene_col="gene")


@pytest.mark.parametrize("compression", [19, 1001, float("nan")])
def test_a_compression_that_crick_would_change_is_refused(spark, compression):
    with pytest.raises(DigestError, match="between 20 and 1000"):
        gene_medians(frame_of(spark, {"A": [1.0]}), compression=compression)


def test_a_local_frame_is_the_table_it_was_made_of(spark):
    schema = pa.schema([("a", pa.string()), ("b", pa.float64()), pa.field("c", pa.int64(), False), ("d", pa.int32())])
    table = pa.table([["x", None], [None, 0.1], [1, 2], [3, None]], schema=schema)
    assert ddl_of(schema) == "`a` string, `b` double, `c` long not null, `d` int"
    assert collect(local_frame(spark, table), schema, "reading").equals(table)
    assert Counter(field.nullable for field in local_frame(spark, table).schema) == {True: 3, False: 1}
