"""Gene medians of any Spark DataFrame that has genes and values: digests a partition, merged by gene, made exact.

Uses only what classic sessions and Spark Connect both have. Knows nothing of expression tables.
"""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from median_spark.digests import (
    DEFAULT_COMPRESSION,
    PACKED_SCHEMA,
    ROWS_AT_ONCE,
    Oddity,
    check_compression,
    digest_rows,
    merge_batches,
    unpack_table,
)
from median_spark.errors import EngineError, FrameError, counted
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import GeneDigests, median_table
from median_spark.spark.dataframe.columns import FrameColumns, changed, find_columns
from median_spark.spark.dataframe.rounds import exact_medians_of_rows
from median_spark.spark.engine.tasks import collect, ddl_of, local_frame

_MERGE_PARTITIONS = 32
"""Into which digests are shuffled: how many partitions a frame has cannot be asked of Spark Connect, and what comes out
does not depend on it."""

_DIGEST_ORDER = ("gene", "n", "min", "max", "centroids")
"""In which digests of a gene are merged: by what they hold, for the numbers of partitions say nothing."""

_SOURCES_SCHEMA = pa.schema([("gene", pa.string()), ("n_sources", pa.int64()), ("without", pa.bool_())])


def frame_medians(
    frame: DataFrame,
    *,
    gene_column: str = "gene",
    value_column: str = "value",
    source_column: str | None = None,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    window_rows: int = ROWS_AT_ONCE,
    progress: ProgressReporter | None = None,
) -> DataFrame:
    """Compute every gene's non-zero median over a DataFrame; see `median_spark.gene_medians`."""
    check_compression(compression)
    progress = progress or SilentProgress()
    columns = find_columns(frame, gene_column, value_column, source_column)
    rows = frame.select(columns.gene.alias("gene"), columns.value.alias("value"))
    with progress.working("digesting the rows of a DataFrame"):
        merged, zeros = _digest(rows, columns, compression, window_rows)
    if zeros:
        progress.note(f"{counted(zeros, 'row')} of a value of 0 were left out: a median is that of the values above 0")
    refined = exact_medians_of_rows(rows, merged, progress) if exact else None
    if columns.source is None:
        return local_frame(frame.sparkSession, median_table(merged, refined).drop_columns(["n_sources"]))
    with progress.working("counting sources"):
        merged = replace(merged, n_sources=_count_sources(frame, columns, columns.source, merged))
    return local_frame(frame.sparkSession, median_table(merged, refined))


def _digest(rows: DataFrame, columns: FrameColumns, compression: float, window_rows: int) -> tuple[GeneDigests, int]:
    """Digest in one Spark job; return the digests, and how many values are 0."""

    def digest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return digest_rows(batches, compression, window_rows)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return merge_batches(batches, compression)

    packed = ddl_of(PACKED_SCHEMA)
    digests = rows.mapInArrow(digest, packed).repartition(_MERGE_PARTITIONS, "gene")
    merged = digests.sortWithinPartitions(*_DIGEST_ORDER).mapInArrow(merge, packed)
    found = collect(merged, PACKED_SCHEMA, "digesting", "digest the rows of a DataFrame")
    zeros = _refuse_mistakes(found.filter(pc.is_valid(found["error"])), columns)
    return _merged(found.filter(pc.is_null(found["error"])), compression), zeros


def _merged(found: pa.Table, compression: float) -> GeneDigests:
    genes = found["gene"].to_pylist()
    if len(set(genes)) < len(genes):
        message = "Spark yielded a gene twice"
        raise EngineError(message)
    if not genes:
        message = "the DataFrame has no rows: there is nothing to take a median of"
        raise FrameError(message)
    digests = {gene: digest for gene, digest in zip(genes, unpack_table(found)[0], strict=True) if digest.n}
    if not digests:
        message = f"the DataFrame has no value above 0: all values of its {counted(len(genes), 'gene')} are 0"
        raise FrameError(message)
    return GeneDigests(tuple(sorted(genes)), digests, dict.fromkeys(digests, 0), compression)


def _refuse_mistakes(odd: pa.Table, columns: FrameColumns) -> int:
    """Raise what is wrong with the rows that were not digested; return how many of them only have a value of 0."""
    zeros = 0
    for oddity in Oddity:
        of_kind = odd.filter(pc.equal(odd["error"], str(oddity)))
        rows = sum(of_kind["n"].to_pylist())
        if oddity is Oddity.ZERO:
            zeros = rows
        elif rows:
            genes = sorted(gene for gene in of_kind["gene"].to_pylist() if gene is not None)
            raise FrameError(columns.mistake(oddity, rows, genes[0] if genes else None))
    return zeros


def _count_sources(frame: DataFrame, columns: FrameColumns, source: Column, merged: GeneDigests) -> dict[str, int]:
    """Count the sources that have a value of each gene, in one Spark job that stays in the JVM."""
    counted_sources = (
        frame.where(columns.value > 0)
        .select(columns.gene.alias("gene"), source.alias("source"))
        .distinct()
        .groupBy("gene")
        .agg(F.count("source").alias("n_sources"), F.max(F.col("source").isNull()).alias("without"))
    )
    found = collect(counted_sources, _SOURCES_SCHEMA, "counting sources", "count the sources of each gene")
    without = sorted(found.filter(found["without"])["gene"].to_pylist())
    if without:
        raise FrameError(columns.without_source(without[0]))
    sources = dict(zip(found["gene"].to_pylist(), found["n_sources"].to_pylist(), strict=True))
    if sources.keys() != merged.digests.keys():
        raise FrameError(changed(min(sources.keys() ^ merged.digests.keys())))
    return sources
