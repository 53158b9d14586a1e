"""Gene medians of any Spark DataFrame that has genes and values: digests per partition, merged by gene, made exact.

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
from median_spark.errors import EngineError, FrameError, UsageError, counted
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import GeneDigests, median_table
from median_spark.sizes import items_of
from median_spark.spark.dataframe.columns import FrameColumns, changed, find_columns
from median_spark.spark.dataframe.rounds import exact_medians_of_rows
from median_spark.spark.engine.tasks import collect, ddl_of, local_frame, merge_by_gene

_MERGE_PARTITIONS = 32
"""Into which digests are shuffled: how many partitions a frame has cannot be asked of Spark Connect, and what comes out
does not depend on it."""

_DIGEST_ORDER = ("gene", "n", "min", "max", "centroids")
"""In which digests of a gene are merged: by what they hold, for the numbers of partitions say nothing."""

_BYTES_PER_ROW = 40

_SOURCES_SCHEMA = pa.schema([("gene", pa.string()), ("n_sources", pa.int64()), ("without", pa.bool_())])


def gene_medians(
    frame: DataFrame,
    *,
    gene_col: str = "gene",
    value_col: str = "value",
    source_col: str | None = None,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    window_rows: int | str = ROWS_AT_ONCE,
    progress: ProgressReporter | None = None,
) -> DataFrame:
    """Compute every gene's non-zero median over any Spark DataFrame of genes and values.

    For an expression table that this package wrote, `median_spark.table_medians` is the faster way.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        One row per value, from whatever Spark reads, such as a table of a catalog or a filtered join, in any order and
        any number of partitions. Values of 0 are left out and counted; genes that have no other value are rows of the
        answer without a median. Whole numbers, float32 and decimals become float64.
    gene_col, value_col : str
        Columns of genes, strings; and of values, numbers of at least 0. Names are resolved as Spark does: ``a.b`` is a
        field of a struct.
    source_col : str, optional
        Column of each row's source, a string or an integer, from which ``n_sources`` is counted, in another reading;
        without it, the answer has no such column.
    compression : float
        Compression of the digests, 20 to 1000: twice as much halves their error and doubles their size.
    exact : bool
        Refine the digests' medians to exact ones, `numpy.median` of all values bit for bit. The DataFrame is then read
        twice, and must have the same rows each time.
    window_rows : int or str
        Rows that a worker holds at once, as a number, or as the memory they need (40 bytes each) such as ``"512MB"``.
        Exact medians do not depend on it.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    pyspark.sql.DataFrame
        One row per gene, ascending, with the columns of `median_spark.results.MEDIANS_SCHEMA`. All Spark jobs are done
        when it is returned: its rows lie in its plan, and using it computes nothing again. ``gene``, ``median``,
        ``n_cells``, ``n_sources``, ``min`` and ``max`` are the same bits however rows are ordered and partitioned;
        columns read off digests are the same for the same partitions, and close otherwise.

    Raises
    ------
    UsageError
        If `frame` is no Spark DataFrame.
    FrameError
        If a column is missing, ambiguous or of another type; if a gene or value is null, or a value NaN, infinite or
        negative; if there is no value above 0; or if there are different rows on the second pass.
    DigestError
        If the compression is out of range.
    EngineError
        If a Spark job fails.

    Examples
    --------
    >>> import median_spark
    >>> values = spark.createDataFrame([("A", 1.0), ("A", 2.0), ("A", 0.0), ("B", 4.0)], "gene string, value double")
    >>> medians = median_spark.gene_medians(values)
    >>> [(row.gene, row.median) for row in medians.collect()]
    [('A', 1.5), ('B', 4.0)]
    """
    if not (hasattr(frame, "mapInArrow") and hasattr(frame, "sparkSession")):  # classic's and Connect's classes differ
        kind = type(frame)
        message = (
            f"gene_medians takes a Spark DataFrame, not a {kind.__module__}.{kind.__qualname__}: make it one with "
            "spark.createDataFrame(…); table_medians takes the path of an expression table"
        )
        raise UsageError(message)
    rows_at_once = items_of(window_rows, _BYTES_PER_ROW, "window_rows")
    check_compression(compression)
    progress = progress or SilentProgress()
    columns = find_columns(frame, gene_col, value_col, source_col)
    rows = frame.select(columns.gene.alias("gene"), columns.value.alias("value"))
    with progress.working("digesting the rows of a DataFrame"):
        merged, zeros = _digest(rows, columns, compression, rows_at_once)
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

    digests = rows.mapInArrow(digest, ddl_of(PACKED_SCHEMA))
    merged = merge_by_gene(digests, _MERGE_PARTITIONS, _DIGEST_ORDER, merge, PACKED_SCHEMA)
    packed = collect(merged, PACKED_SCHEMA, "digesting", "digest the rows of a DataFrame")
    zeros = _refuse_mistakes(packed.filter(pc.is_valid(packed["error"])), columns)
    return _merged(packed.filter(pc.is_null(packed["error"])), compression), zeros


def _merged(packed: pa.Table, compression: float) -> GeneDigests:
    genes = packed["gene"].to_pylist()
    if len(set(genes)) < len(genes):
        message = "Spark yielded a gene twice"
        raise EngineError(message)
    if not genes:
        message = "the DataFrame has no rows: there is nothing to take a median of"
        raise FrameError(message)
    digests = {gene: digest for gene, digest in zip(genes, unpack_table(packed)[0], strict=True) if digest.n}
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
    counts = collect(counted_sources, _SOURCES_SCHEMA, "counting sources", "count the sources of each gene")
    without = sorted(counts.filter(counts["without"])["gene"].to_pylist())
    if without:
        raise FrameError(columns.without_source(without[0]))
    sources = dict(zip(counts["gene"].to_pylist(), counts["n_sources"].to_pylist(), strict=True))
    if sources.keys() != merged.digests.keys():
        raise FrameError(changed(min(sources.keys() ^ merged.digests.keys())))
    return sources
