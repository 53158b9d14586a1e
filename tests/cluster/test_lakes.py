"""Tables of Delta and Iceberg: medians of what is in them, while others write to them, and medians written to them."""

import json

import pandas as pd
import pytest
from growing import AtStep
from lakes import assert_medians, genes_of, lake_session, stored, values

from median_spark import MedianOptions, ReadOptions, ResultOptions, gene_medians, medians, read_gene_table, run
from median_spark.cli import main
from median_spark.errors import FrameError, OutputError
from median_spark.versions import software_versions

pytestmark = [pytest.mark.cluster, pytest.mark.lake, pytest.mark.slow]

CATALOGS = {"delta": "spark_catalog", "iceberg": "lake"}

each_kind = pytest.mark.parametrize("kind", CATALOGS)


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A session with a catalog of each kind, and a schema ``atlas`` in both."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    extensions = (
        "io.delta.sql.DeltaSparkSessionExtension",
        "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    )
    properties = {
        "spark.sql.extensions": ",".join(extensions),
        "spark.sql.warehouse.dir": str(warehouse / "delta"),
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": str(warehouse / "iceberg"),
    }
    with lake_session(properties) as session:
        for catalog in CATALOGS.values():
            session.sql(f"CREATE SCHEMA {catalog}.atlas")
        yield session


@pytest.fixture(scope="module")
def expression(spark, demo, tmp_path_factory):
    """The expression table of the demo corpus."""
    out = tmp_path_factory.mktemp("expression")
    run(str(demo), str(out / "run"), spark=spark, reading=ReadOptions(gene_table=read_gene_table(genes_of(demo))))
    return str(out / "run" / "expression")


def write(spark, kind, name, rows, *, append=False):
    """Write rows to a table; return the version of the table that then has them."""
    table = f"{CATALOGS[kind]}.atlas.{name}"
    writer = spark.createDataFrame(pd.DataFrame(rows)).writeTo(table)
    writer.append() if append else writer.using(kind).createOrReplace()
    if kind == "delta":
        return spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first()["version"]
    return spark.sql(f"SELECT snapshot_id FROM {table}.refs WHERE name = 'main'").first()["snapshot_id"]


@each_kind
def test_medians_of_a_table_are_exact(spark, kind):
    write(spark, kind, "expression", values(3_000))
    write(spark, kind, "expression", values(3_000, seed=6, source="s2"), append=True)
    both = {name: [*values(3_000)[name], *values(3_000, seed=6, source="s2")[name]] for name in values(1)}
    found = gene_medians(spark.table(f"{CATALOGS[kind]}.atlas.expression"), source_col="source")
    assert_medians(found, both)
    assert {row["n_sources"] for row in found.collect()} == {2}


def test_a_delta_table_is_read_by_its_path(spark, tmp_path):
    rows = values(3_000)
    spark.createDataFrame(pd.DataFrame(rows)).write.format("delta").save(str(tmp_path / "t"))
    assert_medians(gene_medians(spark.read.format("delta").load(str(tmp_path / "t"))), rows)


STEPS = ["digesting", "refining", "counting sources"]


@each_kind
@pytest.mark.parametrize("step", STEPS)
def test_one_version_is_a_snapshot_whoever_appends(spark, kind, step):
    rows = values(3_000)
    version = write(spark, kind, f"snapshot_{step.split()[0]}", rows)
    table = f"{CATALOGS[kind]}.atlas.snapshot_{step.split()[0]}"
    more = values(500, seed=7, source="s2")
    progress = AtStep(step, lambda: write(spark, kind, table.rpartition(".")[2], more, append=True))
    frame = spark.read.option("versionAsOf", version).table(table)
    found = gene_medians(frame, source_col="source", compression=50, progress=progress)
    assert progress.called
    assert spark.table(table).count() == 3_500
    assert_medians(found, rows)
    assert {row["n_sources"] for row in found.collect()} == {1}


@each_kind
@pytest.mark.parametrize("step", STEPS)
def test_a_table_that_grows_meanwhile_is_refused(spark, kind, step):
    """But for what is appended before the first reading, which is then of what is there."""
    name = f"growing_{step.split()[0]}"
    write(spark, kind, name, values(3_000))
    more = values(500, seed=7, source="s2")
    progress = AtStep(step, lambda: write(spark, kind, name, more, append=True))
    frame = spark.table(f"{CATALOGS[kind]}.atlas.{name}")
    if step == "digesting":
        found = gene_medians(frame, source_col="source", compression=50, progress=progress)
        assert_medians(found, {column: [*values(3_000)[column], *more[column]] for column in more})
    else:
        with pytest.raises(FrameError, match=r"read again.*versionAsOf in Delta and Iceberg"):
            gene_medians(frame, source_col="source", compression=50, progress=progress)
    assert progress.called


@each_kind
@pytest.mark.parametrize("step", ["digesting", "looking for changes"])
def test_a_table_of_counts_that_grows_meanwhile_is_refused(spark, kind, step):
    """A new gene has a count: the values of other genes change, and their number does not."""
    counts = {"gene": ["A", "B"] * 300, "cell": [f"c{at // 2}" for at in range(600)], "n": [3.0, 4.0] * 300}
    name = f"counts_{step.split()[0]}"
    version = write(spark, kind, name, counts)
    more = {"gene": ["Z"], "cell": ["c7"], "n": [100.0]}
    table, taken = f"{CATALOGS[kind]}.atlas.{name}", {"value_col": "n", "cell_col": "cell"}
    progress = AtStep(step, lambda: write(spark, kind, name, more, append=True))
    with pytest.raises(FrameError, match="read again"):
        gene_medians(spark.table(table), progress=progress, **taken)
    assert progress.called
    found = gene_medians(spark.read.option("versionAsOf", version).table(table), **taken)
    medians_found = {row["gene"]: row["median"] for row in found.collect()}
    assert medians_found == {"A": 3.0 / 7.0 * 10_000.0, "B": 4.0 / 7.0 * 10_000.0}


@each_kind
def test_medians_are_created_and_replaced_with_their_provenance(spark, kind, expression, tmp_path, capsys):
    table, result = f"{CATALOGS[kind]}.atlas.medians", str(tmp_path / "result")
    assert main(["medians", expression, "--out", result, "--table", table]) == 0
    assert f"table {table}" in capsys.readouterr().out
    first = stored(spark, table, result)
    provenance = json.loads((tmp_path / "result" / "provenance.json").read_text())
    assert (first["result"], first["medians_are"], first["sources"]) == (result, "exact", "5")
    assert first["expression_state"] == provenance["expression_state"]
    assert json.loads(first["parameters"]) == {"compression": 200, "exact": True}
    assert json.loads(first["software"])["median_spark"] == software_versions()["median_spark"]

    options = MedianOptions(compression=100, exact=False)
    medians(expression, result, spark=spark, options=options, outputs=ResultOptions(table=table), overwrite=True)
    second = stored(spark, table, result)
    assert second["medians_are"] == "digest estimates"
    assert json.loads(second["parameters"])["compression"] == 100


@each_kind
def test_a_whole_run_writes_its_table(spark, kind, demo, tmp_path):
    table = f"{CATALOGS[kind]}.atlas.of_run"
    arguments = [str(demo), "--gene-table", genes_of(demo), "--out", str(tmp_path / "run"), "--table", table]
    assert main(["run", *arguments, "--quiet"]) == 0
    assert main(["run", *arguments, "--quiet"]) == 0
    assert stored(spark, table, tmp_path / "run" / "medians")["sources"] == "5"


@each_kind
def test_what_cannot_be_written_is_refused_before_anything_is_computed(spark, kind, expression, tmp_path):
    write(spark, kind, "foreign", values(10))
    catalog = CATALOGS[kind]
    for name, said in {
        f"{catalog}.atlas.foreign": "this table was not written by median_spark",
        f"{catalog}.missing.medians": f"there is no schema '{catalog}.missing'",
        "nowhere.atlas.medians": "nowhere",
    }.items():
        with pytest.raises(OutputError, match=said):
            medians(expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(table=name))
    assert not (tmp_path / "r").exists()
    assert spark.table(f"{catalog}.atlas.foreign").count() == 10
