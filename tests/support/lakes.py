"""Sessions with the jars of Delta and Iceberg, rows for their tables, and what tables of medians hold."""

import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyspark
import pytest
from emulators import PINNED, lake_jars
from pyspark import SparkContext
from pyspark.sql import SparkSession

from median_spark.spark.engine.session import local_properties
from median_spark.spark.engine.tasks import collect


@contextmanager
def lake_session(properties, jars=()):
    """Run a session with Delta and Iceberg, more properties and more jars; it ends with its JVM."""
    wanted = (PINNED / "lakes.txt").read_text().strip().removeprefix("pyspark==")
    if pyspark.__version__ != wanted:
        pytest.skip(
            f"Delta and Iceberg have no release for Spark {pyspark.__version__}: make test-lakes takes {wanted}"
        )
    chosen = local_properties() | {
        "spark.jars": ",".join([*lake_jars(), *jars]),
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": "3",
        "spark.databricks.delta.snapshotPartitions": "2",
        **properties,
    }
    builder = SparkSession.builder.master("local[2]").appName("lakes")
    for key, value in chosen.items():
        builder = builder.config(key, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate()
        try:
            yield session
        finally:
            session.stop()
            _end_jvm()


def _end_jvm():
    """Let the next session start a JVM of its own: only what one begins with is on its class path."""
    gateway = SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(60)
    SparkContext._gateway = SparkContext._jvm = None


def genes_of(corpus):
    return f"{corpus}/gene_info_table.csv"


def values(number, seed=5, source="s1"):
    rng = np.random.default_rng(seed)
    return {
        "gene": rng.choice(["A", "B", "C"], number),
        "value": rng.gamma(2.0, 1.5, number),
        "cell": [f"{source}-{at % 300}" for at in range(number)],
        "source": [source] * number,
    }


def assert_medians(found, rows):
    of_gene = pd.DataFrame(rows).groupby("gene")
    expected = {gene: (np.median(some["value"]), len(some)) for gene, some in of_gene}
    assert {row["gene"]: (row["median"], row["n_cells"]) for row in found.collect()} == expected


def stored(spark, table, result):
    """Return a result's medians, after a comparison with those of a catalog's table, and the properties of that."""
    expected = pq.read_table(f"{result}/medians.parquet").replace_schema_metadata(None)
    found = collect(spark.table(table).orderBy("gene"), expected.schema, "reading")
    assert found.equals(expected)
    for column in found.column_names:
        if column != "gene":
            assert found[column].combine_chunks().buffers()[1:] == expected[column].combine_chunks().buffers()[1:]
    rows = spark.sql(f"SHOW TBLPROPERTIES {table}").collect()
    return {row["key"].removeprefix("median_spark."): row["value"] for row in rows}
