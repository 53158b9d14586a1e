"""Writing a median table to a table of a catalog, such as one of Delta or Iceberg, with where it comes from.

Uses only what classic sessions and Spark Connect both have. Replaces nothing that median_spark has not written.
"""

import contextlib
import json
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.errors import OutputError
from median_spark.options import TABLE
from median_spark.results import RESULT_FORMAT_VERSION, Provenance, ResultSummary
from median_spark.spark.engine.job_description import job_description
from median_spark.spark.engine.spark_errors import reason_of
from median_spark.spark.engine.tasks import local_frame
from median_spark.storage import without_secrets

_PREFIX = "median_spark."
_MARK = f"{_PREFIX}format_version"

_PROVIDERS = {
    "org.apache.spark.sql.delta.catalog.DeltaCatalog": "delta",
    "org.apache.iceberg.spark.SparkSessionCatalog": "iceberg",
    "io.unitycatalog.spark.UCSingleCatalog": "delta",
}
"""Catalogs that also have other kinds of tables, and the kind to make there; other catalogs choose by themselves."""


def check_table(spark: SparkSession, name: str) -> None:
    """Refuse a table that could not be written when all is computed; writes nothing.

    Raises
    ------
    OutputError
        If its schema is not there, the name is that of something that median_spark has not written, or the catalog does
        not answer.
    """
    quoted = _quoted(name)
    with _explained(name, "cannot be looked up"):
        schema = spark.catalog.databaseExists(quoted.rpartition(".")[0])
        properties = _properties(spark, quoted) if spark.catalog.tableExists(quoted) else {_MARK: ""}
    if not schema:
        message = f"table {name}: there is no schema '{name.rpartition('.')[0]}': create it, or choose another"
        raise OutputError(message)
    if _MARK not in properties:
        message = f"table {name}: this table was not written by median_spark: name another with {TABLE}"
        raise OutputError(message)


def write_table(spark: SparkSession, name: str, medians: pa.Table, properties: dict[str, str]) -> None:
    """Create or replace a table of a catalog.

    Raises
    ------
    OutputError
        If the catalog does not take it, as Spark's own does, which cannot replace a table as a whole.
    """
    quoted = _quoted(name)
    with (
        _explained(name, "cannot be written, the result folder is complete"),
        job_description(spark, f"write table {name}"),
    ):
        writer = local_frame(spark, medians).writeTo(quoted)
        provider = _PROVIDERS.get(spark.conf.get(f"spark.sql.catalog.{_catalog(spark, name)}", None) or "")
        if provider is not None:
            writer = writer.using(provider)
        for key, value in properties.items():
            writer = writer.tableProperty(key, value)
        writer.createOrReplace()


def table_properties(summary: ResultSummary, provenance: Provenance, result: str) -> dict[str, str]:
    """Return what a table says of where its medians come from; all that there is to say is in the result folder.

    Choices about the dictionaries, which decide nothing in the table, are left out: Spark shows no property in which
    it finds the word token.
    """
    parameters = {name: value for name, value in provenance.parameters.items() if name != "geneformer"}
    found = {
        _MARK: RESULT_FORMAT_VERSION,
        f"{_PREFIX}version": provenance.software.get("median_spark"),
        f"{_PREFIX}written": provenance.written,
        f"{_PREFIX}result": result,
        f"{_PREFIX}expression_table": provenance.expression_table,
        f"{_PREFIX}expression_state": provenance.expression_state,
        f"{_PREFIX}medians_are": summary.medians_are,
        f"{_PREFIX}target_sum": summary.target_sum,
        f"{_PREFIX}sources": summary.sources,
        f"{_PREFIX}failed_sources": len(summary.failed_sources),
        f"{_PREFIX}cells_passed": summary.cells_passed,
        f"{_PREFIX}values": summary.values,
        f"{_PREFIX}parameters": json.dumps(parameters, sort_keys=True),
        f"{_PREFIX}software": json.dumps(provenance.software, sort_keys=True),
    }
    return {key: without_secrets(str(value)) for key, value in found.items() if value is not None}


def _properties(spark: SparkSession, quoted: str) -> dict[str, str]:
    return {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {quoted}").collect()}


def _catalog(spark: SparkSession, name: str) -> str:
    """Return the catalog that a name begins with, or the current one where it names only schema and table."""
    parts = name.split(".")
    return parts[0] if len(parts) > 2 else str(spark.catalog.currentCatalog())


def _quoted(name: str) -> str:
    """Return a name, see `median_spark.ResultOptions`, as Spark's SQL takes it."""
    return ".".join(f"`{part}`" for part in name.split("."))


@contextlib.contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """Turn what Spark or a catalog raises into an OutputError."""
    try:
        yield
    except Exception as error:  # each kind of session and each catalog has classes of its own
        reason = reason_of(error)
        remedy = ""
        if "UNSUPPORTED_FEATURE.TABLE_OPERATION" in str(error):
            remedy = ": it takes a catalog whose tables are replaced as a whole, such as one of Delta or Iceberg"
        message = f"table {name} {what} ({reason}){remedy}"
        raise OutputError(message) from error
