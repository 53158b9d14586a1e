"""Tables and volumes of Unity Catalog's own server: medians of them, and medians written to them."""

import json
import shutil

import pandas as pd
import pytest
from emulators import unity_spark_jars
from lakes import assert_medians, genes_of, lake_session, stored, values
from machines import free_port
from unity_catalog import unity_catalog

from median_spark import MedianOptions, ResultOptions, gene_medians, medians
from median_spark.cli import main
from median_spark.errors import OutputError

pytestmark = [pytest.mark.cluster, pytest.mark.lake, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a catalog ``unity`` and a schema ``atlas``."""
    folder = tmp_path_factory.mktemp("unity")
    with unity_catalog(folder) as running:
        running.create("catalogs", name="unity", storage_root=(folder / "managed").as_uri())
        running.create("schemas", name="atlas", catalog_name="unity")
        yield running


@pytest.fixture(scope="module")
def spark(server):
    properties = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.unity": "io.unitycatalog.spark.UCSingleCatalog",
        "spark.sql.catalog.unity.uri": server.url,
        "spark.sql.catalog.unity.token": "",
        "spark.sql.catalog.gone": "io.unitycatalog.spark.UCSingleCatalog",
        "spark.sql.catalog.gone.uri": f"http://127.0.0.1:{free_port()}",
        "spark.sql.catalog.gone.token": "",
    }
    with lake_session(properties, unity_spark_jars()) as session:
        yield session


@pytest.fixture(scope="module")
def volume(server, demo, tmp_path_factory):
    """The location of an external volume that has the demo corpus, as the server gives it."""
    folder = tmp_path_factory.mktemp("volume")
    shutil.copytree(demo, folder / "corpus")
    named = {"catalog_name": "unity", "schema_name": "atlas", "name": "files"}
    made = server.create("volumes", **named, volume_type="EXTERNAL", storage_location=folder.as_uri())
    assert made["storage_location"] == folder.as_uri()
    return made["storage_location"]


@pytest.fixture(scope="module")
def expression(spark, volume):
    """The expression table of the demo corpus, converted from the volume and to it."""
    corpus, location = f"{volume}/corpus", f"{volume}/expression"
    assert main(["convert", corpus, "--gene-table", genes_of(corpus), "--out", location, "--quiet"]) == 0
    return location


@pytest.mark.parametrize("kind", ["external", "managed"])
def test_medians_of_a_table_are_exact(spark, kind, tmp_path):
    table, rows = f"unity.atlas.{kind}", values(3_000)
    place = f"LOCATION '{(tmp_path / 'table').as_uri()}'" if kind == "external" else ""
    spark.sql(f"CREATE TABLE {table} (gene STRING, value DOUBLE, cell STRING, source STRING) USING delta {place}")
    spark.createDataFrame(pd.DataFrame(rows)).writeTo(table).append()
    assert_medians(gene_medians(spark.table(table), source_col="source"), rows)


def test_one_version_of_a_managed_table_is_read(spark):
    table, rows = "unity.atlas.versions", values(500)
    spark.createDataFrame(pd.DataFrame(rows)).writeTo(table).using("delta").create()
    version = spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first()["version"]
    spark.createDataFrame(pd.DataFrame(values(500, seed=6))).writeTo(table).append()
    assert_medians(gene_medians(spark.read.option("versionAsOf", version).table(table)), rows)


def test_medians_are_created_and_replaced_with_their_provenance(spark, expression, tmp_path, capsys):
    table, result = "unity.atlas.medians", str(tmp_path / "result")
    assert main(["medians", expression, "--out", result, "--table", table]) == 0
    assert f"table {table}" in capsys.readouterr().out
    first = stored(spark, table, result)
    provenance = json.loads((tmp_path / "result" / "provenance.json").read_text())
    assert (first["result"], first["medians_are"], first["sources"]) == (result, "exact", "5")
    assert first["expression_state"] == provenance["expression_state"]

    options = MedianOptions(compression=100, exact=False)
    medians(expression, result, spark=spark, options=options, outputs=ResultOptions(table=table), overwrite=True)
    second = stored(spark, table, result)
    assert second["medians_are"] == "digest estimates"
    assert json.loads(second["parameters"])["compression"] == 100


def test_a_whole_run_from_and_to_a_volume_writes_its_table(spark, volume):
    table, corpus, out = "unity.atlas.of_run", f"{volume}/corpus", f"{volume}/run"
    arguments = [corpus, "--gene-table", genes_of(corpus), "--out", out, "--table", table]
    assert main(["run", *arguments, "--quiet"]) == 0
    assert main(["run", *arguments, "--quiet"]) == 0
    on_disk = out.removeprefix("file://")
    assert stored(spark, table, f"{on_disk}/medians")["sources"] == "5"
    assert main(["verify", f"{out}/expression", f"{out}/medians", "--inputs"]) == 0


def test_what_cannot_be_written_is_refused_before_anything_is_computed(spark, expression, tmp_path):
    spark.createDataFrame(pd.DataFrame(values(10))).writeTo("unity.atlas.foreign").using("delta").create()
    for name, said in {
        "unity.atlas.foreign": "this table was not written by median_spark",
        "unity.missing.medians": r"there is no schema 'unity\.missing'",
        "gone.atlas.medians": r"cannot be looked up \(.*ConnectException",
    }.items():
        with pytest.raises(OutputError, match=said):
            medians(expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(table=name))
    assert not (tmp_path / "r").exists()
    assert spark.table("unity.atlas.foreign").count() == 10
