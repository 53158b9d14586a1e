"""The rows that are digested: values as a DataFrame has them, or counts that are normalised, of the chosen genes."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from median_spark.digests import Oddity
from median_spark.errors import FrameError
from median_spark.genes import GeneTable
from median_spark.progress import ProgressReporter
from median_spark.spark.dataframe.columns import FrameColumns
from median_spark.spark.dataframe.counts import CountTable, values_of_counts, with_ids
from median_spark.spark.dataframe.genes import choose_genes
from median_spark.spark.engine.tasks import collect, local_frame

_GENES_SCHEMA = pa.schema([("gene", pa.string()), ("rows", pa.int64())])


@dataclass(frozen=True)
class PreparedRows:
    """The rows to digest.

    Attributes
    ----------
    values
        ``gene``: string, ``value``: double; those of counts are above 0.
    sources
        ``gene`` and ``source``: string, and ``value``, above 0 where a gene is detected; None without sources.
    universe
        The genes of the answer, ascending; None if they are those of the rows.
    number
        Number of `values`; None if they were not counted.
    """

    values: DataFrame
    sources: DataFrame | None
    universe: list[str] | None
    number: int | None = None


@dataclass(frozen=True)
class GeneChoice:
    """The gene table, if there is one, and the gene types that are chosen from it."""

    table: GeneTable | None
    gene_types: Sequence[str]


def rows_of_values(
    frame: DataFrame, columns: FrameColumns, choice: GeneChoice, progress: ProgressReporter
) -> PreparedRows:
    """Return the rows of a DataFrame of values; with a gene table, in one Spark job that finds the genes."""
    named = {"gene": columns.gene, "value": columns.value, "source": columns.source}
    rows = frame.select(*(column.alias(name) for name, column in named.items() if column is not None))
    universe = number = None
    if choice.table is not None:
        present = rows.groupBy("gene").agg(F.count("*").alias("rows"))
        genes = collect(present, _GENES_SCHEMA, "looking at genes", "find the genes of a DataFrame").to_pylist()
        for gene in genes:
            if gene["gene"] is None:
                raise FrameError(columns.mistake(Oddity.NULL_GENE, gene["rows"], None))
        chosen = choose_genes(
            sorted(gene["gene"] for gene in genes), columns.gene_name, choice.table, tuple(choice.gene_types), progress
        )
        universe = chosen.universe
        names = set(chosen.names)
        number = sum(gene["rows"] for gene in genes if gene["gene"] in names)
        named_rows = with_ids(rows, local_frame(frame.sparkSession, chosen.table())).where(F.col("id").isNotNull())
        rows = named_rows.drop("gene").withColumnRenamed("id", "gene")
    return PreparedRows(rows.select("gene", "value"), rows if columns.source is not None else None, universe, number)


def rows_of_counts(
    counts: CountTable, columns: FrameColumns, choice: GeneChoice, target_sum: float, progress: ProgressReporter
) -> PreparedRows:
    """Return the values of a DataFrame of counts that was looked at; FrameError if no chosen gene has a count."""
    universe, ids = counts.genes, None
    if choice.table is not None:
        chosen = choose_genes(counts.genes, columns.gene_name, choice.table, tuple(choice.gene_types), progress)
        if counts.detected.isdisjoint(chosen.names):
            message = (
                f"the DataFrame has no count above 0 of a gene of one of the types {list(choice.gene_types)} in the "
                f"gene table {choice.table.path}"
            )
            raise FrameError(message)
        universe, ids = chosen.universe, local_frame(counts.rows.sparkSession, chosen.table())
    sources = None
    if columns.source is not None:
        detected = with_ids(counts.rows, ids).where(F.col("id").isNotNull())
        sources = detected.select(F.col("id").alias("gene"), "source", F.col("count").alias("value"))
    return PreparedRows(values_of_counts(counts, ids, target_sum), sources, universe)
