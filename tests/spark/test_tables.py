"""Tables of a catalog, as far as Spark's own catalog goes; make test-lakes has those of Delta and Iceberg."""

import json

import pytest

from median_spark import ResultOptions, medians
from median_spark.cli import main
from median_spark.errors import OutputError, UsageError
from median_spark.results import read_medians, read_provenance, read_summary
from median_spark.spark.tables import check_table, table_properties

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def schema(spark, tmp_path_factory):
    """A schema with a table and a view that others made."""
    name = "atlas"
    spark.sql(f"CREATE SCHEMA {name} LOCATION '{tmp_path_factory.mktemp('schema')}'")
    spark.sql(f"CREATE TABLE {name}.foreign USING parquet AS SELECT 1 AS number")
    spark.sql(f"CREATE VIEW {name}.view AS SELECT 1 AS number")
    yield name
    spark.sql(f"DROP SCHEMA {name} CASCADE")


@pytest.mark.parametrize("name", ["medians", "", "a..b", ".b", "a.b.", "a.b`; DROP TABLE c", "a.b\nc"])
def test_a_name_has_a_schema_and_nothing_that_would_need_quotes(name):
    with pytest.raises(UsageError, match=r"table must be catalog.schema.name or schema.name, not "):
        ResultOptions(table=name)


@pytest.mark.parametrize("name", ["s.t", "c.s.t", "c.outer.inner.t", "my-catalog.s_1.medians of 2026"])
def test_names_may_have_several_schemas_and_spaces(name):
    assert ResultOptions(table=name).table == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.medians", "table missing.medians: there is no schema 'missing': create it, or choose another"),
        ("spark_catalog.missing.medians", "there is no schema 'spark_catalog.missing'"),
        ("atlas.foreign", "table atlas.foreign: this table was not written by median_spark: name another with"),
        ("atlas.view", "table atlas.view: this table was not written by median_spark"),
        ("spark_catalog.atlas.foreign", "this table was not written by median_spark"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    spark, schema, demo_expression, tmp_path, name, said
):
    assert schema == "atlas"
    with pytest.raises(OutputError, match=said):
        medians(demo_expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(table=name))
    assert not (tmp_path / "r").exists()


def test_a_table_that_median_spark_has_written_may_be_replaced(spark, schema):
    spark.sql(f"CREATE TABLE {schema}.ours TBLPROPERTIES ('median_spark.format_version' = '1') AS SELECT 1 AS gene")
    check_table(spark, f"{schema}.ours")
    check_table(spark, f"{schema}.not_there_yet")


def test_a_catalog_that_cannot_replace_tables_leaves_the_result_complete(
    spark, schema, demo_expression, tmp_path, capsys
):
    result = str(tmp_path / "r")
    assert main(["medians", demo_expression, "--out", result, "--table", f"{schema}.medians", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: table {schema}.medians cannot be written, the result folder is complete ([UNSUPP")
    assert said.rstrip().endswith("such as one of Delta or Iceberg")
    assert read_medians(result).num_rows > 0
    assert not spark.catalog.tableExists(f"{schema}.medians")


def test_properties_say_where_medians_come_from(spark, demo_expression, tmp_path):
    result = str(tmp_path / "r")
    medians(demo_expression, result, spark=spark)
    provenance = read_provenance(result)
    found = table_properties(read_summary(result), provenance, "s3://key:secret@bucket/r")
    assert all(name.startswith("median_spark.") and isinstance(value, str) for name, value in found.items())
    assert found["median_spark.expression_state"] == provenance.expression_state
    assert json.loads(found["median_spark.software"])["spark"] == spark.version
    assert json.loads(found["median_spark.parameters"]) == {"compression": 200, "exact": True}
    assert (found["median_spark.sources"], found["median_spark.medians_are"]) == ("5", "exact")
    assert "secret" not in found["median_spark.result"]
