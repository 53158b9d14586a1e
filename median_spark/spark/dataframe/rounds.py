"""The second pass over a DataFrame, in the JVM: what the digests' brackets hold is counted value by value, and ranked.

Values do not leave the JVM, which reads them several times as fast as it hands them to Python. Memory needs no care:
Spark's aggregates and windows spill.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from median_spark.digests import rank_error
from median_spark.errors import FrameError, counted
from median_spark.exact import Queries, Query, resolve
from median_spark.progress import ProgressReporter
from median_spark.results import ExactMedian, GeneDigests
from median_spark.spark.dataframe.columns import changed
from median_spark.spark.engine.tasks import collect, local_frame
from median_spark.spark.medians.refine import Round, exact_in_rounds

_ANSWER_SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("n", pa.int64()),
        ("least", pa.float64()),
        ("most", pa.float64()),
        ("below", pa.int64()),
        ("inside", pa.int64()),
        ("first", pa.float64()),
        ("last", pa.float64()),
        ("estimate_below", pa.int64()),
        ("estimate_up_to", pa.int64()),
    ]
)
"""What a round found for one query: of its gene all values, the smallest and the largest, those below its bracket and
those inside; `first` and `last` are the values at its ranks, -inf or inf where they lie below or above the bracket."""


def exact_medians_of_rows(rows: DataFrame, merged: GeneDigests, progress: ProgressReporter) -> dict[str, ExactMedian]:
    """Return the exact median of every detected gene, and the rank error of its digest's.

    Parameters
    ----------
    rows
        ``gene``: string, ``value``: double, without nulls, NaN, infinities and negative numbers.
    merged
        Digests of all of its values above 0.

    Raises
    ------
    FrameError
        If there are different values than were digested.
    """
    return exact_in_rounds(merged, partial(_refine_once, rows, merged), progress)


def _refine_once(rows: DataFrame, merged: GeneDigests, number: int, queries: Queries) -> Round:
    """Run one Spark job, and read the answer to each query."""
    asked = local_frame(rows.sparkSession, _query_table(queries))
    description = f"refine {counted(len(queries), 'bracket')}, round {number + 1}"
    answers = collect(_answered(_counted(rows, asked), asked), _ANSWER_SCHEMA, "refining", description)
    by_query = {row["query"]: row for row in answers.to_pylist()}
    values: dict[str, dict[int, float]] = {}
    errors: dict[str, float] = {}
    left: list[Query] = []
    for place in range(len(queries)):
        query, row = queries[place], by_query.get(place)
        digest = merged.digests[query.gene]
        if row is None or (row["n"], row["least"], row["most"]) != (digest.n, digest.min, digest.max):
            raise FrameError(changed(query.gene))
        errors[query.gene] = float(rank_error(row["estimate_below"], row["estimate_up_to"], digest.n))
        for rank, value in {query.first_rank: row["first"], query.last_rank: row["last"]}.items():
            if math.isfinite(value):
                values.setdefault(query.gene, {})[rank] = value
            else:
                left += _beside(replace(query, first_rank=rank, last_rank=rank), row)
    return Round(values, errors, left)


def _beside(query: Query, row: dict[str, Any]) -> list[Query]:
    """Return the query of a rank that its bracket does not hold, in the bracket beside it that must hold it."""
    inside = np.array([row["inside"]], dtype=np.int64)
    return [widened for widened, _ in resolve(query, row["below"], inside, [(query.low, query.high)])]


def _query_table(queries: Queries) -> pa.Table:
    ranks = [(query.first_rank, query.last_rank) for query in map(queries.__getitem__, range(len(queries)))]
    return pa.table(
        {
            "query": np.arange(len(queries), dtype=np.int32),
            "gene": pa.array(queries.genes.tolist(), pa.string()),
            "low": queries.low,
            "high": queries.high,
            "estimate": pa.array(queries.estimate, from_pandas=True),  # NaN, which is larger than all in Spark: null
            "first_rank": pa.array([first for first, _ in ranks], pa.int64()),
            "last_rank": pa.array([last for _, last in ranks], pa.int64()),
        }
    )


def _counted(rows: DataFrame, asked: DataFrame) -> DataFrame:
    """Count each value inside a bracket, and all that lie below it and above it, as if these were -inf and inf."""
    value = F.col("value")
    place = F.when(value < F.col("low"), -math.inf).when(value > F.col("high"), math.inf).otherwise(value)
    return (
        rows.where(value > 0)
        .join(asked.select("gene", "query", "low", "high").hint("broadcast"), "gene")
        .select("query", place.alias("place"), "value")
        .groupBy("query", "place")
        .agg(F.count("*").alias("values"), F.min("value").alias("least"), F.max("value").alias("most"))
    )


def _answered(counts: DataFrame, asked: DataFrame) -> DataFrame:
    """Return a row a query, of `_ANSWER_SCHEMA`."""
    place, values, up_to, estimate = (F.col(name) for name in ("place", "values", "up_to", "estimate"))
    running = Window.partitionBy("query").orderBy("place").rowsBetween(Window.unboundedPreceding, Window.currentRow)

    def at(rank: str) -> Column:
        return F.max(F.when((up_to > F.col(rank)) & (up_to - values <= F.col(rank)), place))

    def of(condition: Column) -> Column:
        return F.sum(F.when(condition, values).otherwise(0))

    return (
        counts.withColumn("up_to", F.sum("values").over(running))
        .join(asked.select("query", "estimate", "first_rank", "last_rank").hint("broadcast"), "query")
        .groupBy("query")
        .agg(
            F.sum("values").alias("n"),
            F.min("least").alias("least"),
            F.max("most").alias("most"),
            of(place == -math.inf).alias("below"),
            of((place > -math.inf) & (place < math.inf)).alias("inside"),
            at("first_rank").alias("first"),
            at("last_rank").alias("last"),
            of(place < estimate).alias("estimate_below"),
            of(place <= estimate).alias("estimate_up_to"),
        )
    )
