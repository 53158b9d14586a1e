"""The peers on an expression table: each gene's median by other engines, and the floor: reading the columns alone.

Every function is a context manager that prepares, and gives the function that does the work once.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import cores
from work import Found, Work, figures


@contextlib.contextmanager
def duckdb_median(values: str) -> Iterator[Work]:
    with _duckdb(_parquets(values), "SELECT median(value) FROM rows GROUP BY gene") as work:
        yield work


@contextlib.contextmanager
def duckdb_approximate(values: str) -> Iterator[Work]:
    with _duckdb(_parquets(values), "SELECT approx_quantile(value, 0.5) FROM rows GROUP BY gene") as work:
        yield work


@contextlib.contextmanager
def duckdb_by_assay(table: str) -> Iterator[Work]:
    """Give each group's medians: values are joined with their cells."""
    with _duckdb(_with_cells(table), "SELECT median(value) FROM rows GROUP BY gene, assay") as work:
        yield work


@contextlib.contextmanager
def duckdb_of_cells(table: str) -> Iterator[Work]:
    """Give the medians of half of the cells."""
    with _duckdb(_with_cells(table), "SELECT median(value) FROM rows WHERE is_primary_data GROUP BY gene") as work:
        yield work


def _parquets(folder: str, *, sources: bool = False) -> str:
    return f"read_parquet('{folder}/*/*.parquet', hive_partitioning = {str(sources).lower()})"


def _with_cells(table: str) -> str:
    values, cells = (_parquets(f"{table}/{name}", sources=True) for name in ("values", "cells"))
    return f"{values} AS v JOIN {cells} AS c USING (source, cell)"


@contextlib.contextmanager
def _duckdb(rows: str, query: str) -> Iterator[Work]:
    """Give a query whose rows each have a median."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM {rows}")
        yield lambda: figures(median for (median,) in connection.execute(query).fetchall())


@contextlib.contextmanager
def polars_in_memory(values: str) -> Iterator[Work]:
    yield lambda: _polars(values, "in-memory")


@contextlib.contextmanager
def polars_streaming(values: str) -> Iterator[Work]:
    yield lambda: _polars(values, "streaming")


def _polars(values: str, engine: Any) -> Found:
    import polars as pl

    rows = pl.scan_parquet(f"{values}/*/*.parquet", hive_partitioning=False)
    medians = rows.group_by("gene").agg(pl.col("value").median()).collect(engine=engine)
    return figures(medians["value"].to_list())


@contextlib.contextmanager
def spark_median(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    with _spark(values, warm_up, heap, "median(value)") as work:
        yield work


@contextlib.contextmanager
def spark_approximate(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    with _spark(values, warm_up, heap, "percentile_approx(value, 0.5)") as work:
        yield work


@contextlib.contextmanager
def pandas_udf(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    """Give a digest per gene by a grouped-aggregate pandas UDF that feeds crick each gene's values."""
    import pandas as pd
    from pyspark.sql.functions import pandas_udf as udf

    crick_median = _crick_median()

    def median_of(values: pd.Series) -> float:
        return crick_median(values)

    with notebook_session(heap) as spark:
        median = udf(median_of, "double")

        def work(folder: str = values) -> Found:
            medians = spark.read.parquet(folder).groupBy("gene").agg(median("value").alias("median"))
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


@contextlib.contextmanager
def apply_in_pandas(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    """Give the same by `applyInPandas`."""
    import pandas as pd

    crick_median = _crick_median()

    def of_gene(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"gene": rows["gene"].iloc[:1], "median": [crick_median(rows["value"])]})

    with notebook_session(heap) as spark:

        def work(folder: str = values) -> Found:
            rows = spark.read.parquet(folder).select("gene", "value")
            medians = rows.groupBy("gene").applyInPandas(of_gene, "gene string, median double")
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


def _crick_median() -> Callable[[Any], float]:
    """Return a function for workers, which cannot import this module: one that is not among its names travels whole."""

    def median_of(values: Any) -> float:
        from crick import TDigest

        digest = TDigest(200)
        digest.update(values.to_numpy())
        return float(digest.quantile(0.5))

    return median_of


@contextlib.contextmanager
def _spark(values: str, warm_up: str, heap: int, aggregate: str) -> Iterator[Work]:
    """Give Spark's own aggregate, in a session that has done it once on a small table."""
    from pyspark.sql.functions import expr

    with notebook_session(heap) as spark:

        def work(folder: str = values) -> Found:
            medians = spark.read.parquet(folder).groupBy("gene").agg(expr(aggregate).alias("median"))
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


COUNTS = "ceil(value)"
"""Counts made of the values of an expression table: whole numbers above 0."""


@contextlib.contextmanager
def spark_counts(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    """Give Spark's own formulation of medians of counts: sums by gene and cell, totals by a window, `median`."""
    with notebook_session(heap) as spark:

        def work(folder: str = values) -> Found:
            spark.read.parquet(folder).createOrReplaceTempView("entries")
            medians = spark.sql(
                f"""
                WITH summed AS (
                    SELECT source, cell, gene, sum({COUNTS}) AS n FROM entries GROUP BY source, cell, gene
                ), normalised AS (
                    SELECT gene, n / sum(n) OVER (PARTITION BY source, cell) * 10000D AS value FROM summed
                )
                SELECT gene, median(value) AS median FROM normalised GROUP BY gene
                """
            )
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


@contextlib.contextmanager
def notebook_session(heap: int) -> Iterator[Any]:
    """Give a Spark session as a notebook has it: nothing is set but the memory, and what keeps it to this machine."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", f"{heap >> 20}m")
    builder = builder.config("spark.ui.enabled", "false").config("spark.driver.maxResultSize", "1g")
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    yield spark
    spark.stop()


@contextlib.contextmanager
def numpy_median(values: str) -> Iterator[Work]:
    import numpy as np
    import pyarrow.dataset as ds

    def work() -> Found:
        format_ = ds.ParquetFileFormat(dictionary_columns=["gene"])
        rows = ds.dataset(values, format=format_).to_table(columns=["gene", "value"]).unify_dictionaries()
        codes = np.concatenate([part.indices.to_numpy() for part in rows.column("gene").chunks])
        found = rows.column("value").to_numpy()
        del rows
        order = np.argsort(codes, kind="stable")
        bounds = np.flatnonzero(np.diff(codes[order])) + 1
        return figures(float(np.median(run)) for run in np.split(found[order], bounds))

    yield work


@contextlib.contextmanager
def parquet_read(values: str) -> Iterator[Work]:
    """Give the floor: decoding the two columns that a median needs, on every core, and dropping them."""
    import pyarrow.parquet as pq

    def read(path: Path) -> int:
        with pq.ParquetFile(path, read_dictionary=["gene"], pre_buffer=True) as part:
            numbers = range(part.num_row_groups)
            return sum(
                len(part.read_row_group(number, columns=["gene", "value"], use_threads=False)) for number in numbers
            )

    def work() -> Found:
        with ThreadPoolExecutor(cores()) as readers:
            return {"rows": sum(readers.map(read, sorted(Path(values).rglob("*.parquet"))))}

    yield work
