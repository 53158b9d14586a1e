"""Gene medians of any Spark DataFrame of genes and values or counts: digests per partition, merged by gene, made exact.

Uses only what classic sessions and Spark Connect both have. Knows nothing of expression tables.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
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
from median_spark.genes import DEFAULT_GENE_TYPES, GeneTable
from median_spark.matrices.options import DEFAULT_TARGET_SUM
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import GeneDigests, median_table
from median_spark.sizes import items_of
from median_spark.spark.dataframe.columns import FrameColumns, changed, find_columns
from median_spark.spark.dataframe.counts import CountTable, look_at_counts, refuse_changes
from median_spark.spark.dataframe.rounds import exact_medians_of_rows
from median_spark.spark.dataframe.rows import GeneChoice, rows_of_counts, rows_of_values
from median_spark.spark.engine.same_code import for_workers
from median_spark.spark.engine.tasks import collect, ddl_of, local_frame, merge_by_gene

_DIGEST_ORDER = ("gene", "n", "min", "max", "centroids")
"""In which digests of a gene are merged: by what they hold, for the numbers of partitions say nothing."""

_BYTES_PER_ROW = 40

_SOURCES_SCHEMA = pa.schema(
    [("gene", pa.string()), ("n_sources", pa.int64()), ("without", pa.bool_()), ("rows", pa.int64())]
)


def gene_medians(
    frame: DataFrame,
    *,
    gene_col: str = "gene",
    value_col: str = "value",
    source_col: str | None = None,
    cell_col: str | None = None,
    total_col: str | None = None,
    gene_table: GeneTable | None = None,
    gene_types: Sequence[str] = DEFAULT_GENE_TYPES,
    target_sum: float = DEFAULT_TARGET_SUM,
    allow_non_integer: bool = False,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    window_rows: int | str = ROWS_AT_ONCE,
    progress: ProgressReporter | None = None,
) -> DataFrame:
    """Compute every gene's non-zero median over any Spark DataFrame of genes and values, or of genes, cells and counts.

    With `cell_col`, `value_col` holds raw counts: a value is ``count / total * target_sum``, as from a matrix, and all
    that follows is the same. For an expression table that this package wrote, `median_spark.table_medians` is the
    faster way.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        One row per value or count, from whatever Spark reads, such as a table of a catalog or a filtered join, in any
        order and any number of partitions. Zeros are left out and counted; genes that have nothing else are rows of the
        answer without a median. Whole numbers, float32 and decimals become float64.
    gene_col, value_col : str
        Columns of genes, strings; and of values or counts, numbers of at least 0. Names are resolved as Spark does:
        ``a.b`` is a field of a struct.
    source_col : str, optional
        Column of each row's source, a string or an integer, from which ``n_sources`` is counted, in another reading;
        without it, the answer has no such column. With counts it also tells cells of the same name apart.
    cell_col : str, optional
        Column of each row's cell, a string or an integer; it says that `value_col` holds counts. Choose cells
        beforehand, with ``frame.where(…)``. Several rows of one gene and cell are summed.
    total_col : str, optional
        Column of each cell's total over all of its genes, a number above 0, the same in every row of the cell. Without
        it, totals are summed from the rows: `frame` must then have the counts of all genes, also of those not chosen.
    gene_table : GeneTable, optional
        The genes of the answer, detected or not; others are left out, after the totals of cells are summed. Ids that
        differ from the table's in versions, prefixes or capitals are matched as those of a matrix are.
    gene_types : sequence of str
        Gene types to take from the gene table.
    target_sum : float
        Counts that every cell is scaled to.
    allow_non_integer : bool
        Accept counts that are not whole numbers. Sums of these are taken in ascending order.
    compression : float
        Compression of the digests, 20 to 1000: twice as much halves their error and doubles their size.
    exact : bool
        Refine the digests' medians to exact ones, `numpy.median` of all values bit for bit. The DataFrame is then read
        again, and must have the same rows each time.
    window_rows : int or str
        Rows that a worker holds at once, as a number, or as the memory they need (40 bytes each) such as ``"512MB"``.
        Exact medians do not depend on it.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    pyspark.sql.DataFrame
        One row per gene, ascending, with the columns of `median_spark.results.MEDIANS_SCHEMA` but for
        ``share_detected``. All Spark jobs are done when it is returned: its rows lie in its plan, and using it computes
        nothing again. ``gene``, ``median``, ``mean``, ``sd``, ``n_cells``, ``n_sources``, ``min`` and ``max`` are the
        same bits however rows are ordered and partitioned; columns read off digests are the same for the same
        partitions, and close otherwise.

    Raises
    ------
    UsageError
        If `frame` is no Spark DataFrame, or an option needs another one that was not given.
    FrameError
        If a column is missing, ambiguous or of another type; if a gene or value is null, or a value NaN, infinite or
        negative; if there is no value above 0; or if there are different rows on the second pass. Of counts also if one
        is not whole, names no cell, or its cell has no total, one that is not above 0, or several. If the gene table
        has none of the genes.
    GeneTableError
        If the gene table has no gene of the chosen types.
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
    _check_options(cell_col, total_col, gene_table, gene_types, target_sum, allow_non_integer=allow_non_integer)
    progress = progress or SilentProgress()
    columns = find_columns(frame, gene_col, value_col, source_col, cell_col, total_col)

    choice = GeneChoice(gene_table, gene_types)
    counts: CountTable | None = None
    if cell_col is None:
        rows = rows_of_values(frame, columns, choice, progress)
    else:
        with progress.working("looking at the counts of a DataFrame"):
            counts = look_at_counts(frame, columns, target_sum, progress, allow_non_integer=allow_non_integer)
        _note_zeros(counts.zeros, "count", progress)
        rows = rows_of_counts(counts, columns, choice, target_sum, progress)
    with progress.working("digesting the rows of a DataFrame"):
        merged, zeros = _digest(rows.values, columns, compression, rows_at_once)
    if rows.number is not None and rows.number != zeros + sum(digest.n for digest in merged.digests.values()):
        raise FrameError(changed(None))
    _note_zeros(zeros, "value", progress)
    if rows.universe is not None:
        merged = replace(merged, universe=tuple(rows.universe))
    refined = exact_medians_of_rows(rows.values, merged, progress) if exact else None
    without = ["share_detected"]
    if rows.sources is None:
        without.append("n_sources")
    else:
        with progress.working("counting sources"):
            n_sources = _count_sources(rows.sources, columns, merged, each_a_value=counts is None)
        merged = replace(merged, n_sources=n_sources)
    if counts is not None:
        with progress.working("looking for changes of the counts"):
            refuse_changes(counts)
    return local_frame(frame.sparkSession, median_table(merged, refined).drop_columns(without))


def _check_options(
    cell_col: str | None,
    total_col: str | None,
    gene_table: GeneTable | None,
    gene_types: Sequence[str],
    target_sum: float,
    *,
    allow_non_integer: bool,
) -> None:
    """Refuse options that would be ignored."""
    message = None
    if isinstance(gene_types, str) or not gene_types:
        message = f"gene_types must be a sequence of at least one gene type, not {gene_types!r}"
    elif gene_table is None and tuple(gene_types) != DEFAULT_GENE_TYPES:
        message = "a DataFrame does not say of which type a gene is: choosing gene_types needs a gene_table"
    elif not (math.isfinite(target_sum) and target_sum > 0):
        message = f"target_sum must be a number above 0, not {target_sum}"
    elif cell_col is None and (total_col is not None or allow_non_integer or target_sum != DEFAULT_TARGET_SUM):
        message = (
            "total_col, target_sum and allow_non_integer are for counts, and without cell_col the values are taken as "
            "normalised: name the column of cells with cell_col"
        )
    if message is not None:
        raise UsageError(message)


def _note_zeros(zeros: int, what: str, progress: ProgressReporter) -> None:
    if zeros:
        rows = counted(zeros, "row")
        progress.note(f"{rows} of a {what} of 0 were left out: a median is that of the values above 0")


def _digest(rows: DataFrame, columns: FrameColumns, compression: float, window_rows: int) -> tuple[GeneDigests, int]:
    """Digest in one Spark job; return the digests, and how many values are 0."""

    def digest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return digest_rows(batches, compression, window_rows)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return merge_batches(batches, compression)

    digests = rows.mapInArrow(for_workers(digest), ddl_of(PACKED_SCHEMA))
    merged = merge_by_gene(digests, None, _DIGEST_ORDER, merge, PACKED_SCHEMA)
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
    every, _, every_mean = unpack_table(packed)
    digests = {gene: digest for gene, digest in zip(genes, every, strict=True) if digest.n}
    means = dict(zip(genes, every_mean, strict=True))
    if not digests:
        message = f"the DataFrame has no value above 0: all values of its {counted(len(genes), 'gene')} are 0"
        raise FrameError(message)
    return GeneDigests(tuple(sorted(genes)), digests, dict.fromkeys(digests, 0), compression, means)


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


def _count_sources(
    rows: DataFrame, columns: FrameColumns, merged: GeneDigests, *, each_a_value: bool
) -> dict[str, int]:
    """Count the sources that have a value of each gene, in one Spark job that stays in the JVM.

    FrameError if there are other genes than were digested or, where each row is a value, another number of values.
    """
    counted_sources = (
        rows.where(F.col("value") > 0)
        .groupBy("gene", "source")
        .agg(F.count("*").alias("rows"))
        .groupBy("gene")
        .agg(
            F.count("source").alias("n_sources"),
            F.max(F.col("source").isNull()).alias("without"),
            F.sum("rows").alias("rows"),
        )
    )
    counts = collect(counted_sources, _SOURCES_SCHEMA, "counting sources", "count the sources of each gene")
    without = sorted(counts.filter(counts["without"])["gene"].to_pylist())
    if without:
        raise FrameError(columns.without_source(without[0]))
    found = {row["gene"]: row for row in counts.to_pylist()}
    for gene in sorted(found.keys() | merged.digests.keys()):
        if gene not in found or gene not in merged.digests:
            raise FrameError(changed(gene))
        if each_a_value and found[gene]["rows"] != merged.digests[gene].n:
            raise FrameError(changed(gene))
    return {gene: row["n_sources"] for gene, row in found.items()}
