"""Gene medians of an expression table on Spark: digest sweeps, merge by gene in order, and refine to exactness."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.digests import (
    DEFAULT_COMPRESSION,
    PACKED_SCHEMA,
    check_compression,
    check_digest_folder,
    digest_sweep,
    merge_batches,
    unpack_table,
)
from median_spark.errors import EngineError, TableError, UsageError, counted, listed
from median_spark.expression import (
    WINDOW_ROWS,
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    SweepPlan,
    naming_changes,
    open_table,
    plan_sweeps,
    require_uniform,
)
from median_spark.geneformer import GeneformerOptions
from median_spark.genes import GeneMap, GeneTable
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import (
    ExactMedian,
    GeneDigests,
    ResultSummary,
    Stage,
    Stopwatch,
    check_result_target,
    figures_of,
    median_table,
    provenance_of,
    write_result,
)
from median_spark.spark.engine.tasks import collect, run_and_merge, run_tasks
from median_spark.spark.medians.by_source import source_by_source
from median_spark.spark.medians.refine import exact_medians

_PACKED_DDL = (
    "gene string, bundle int, n long, min double, max double, centroids binary, sources binary, "
    "median double, rank_error double, error string"
)


@dataclass(frozen=True)
class CorpusMedians:
    """The medians of a corpus, in memory.

    Attributes
    ----------
    table : pyarrow.Table
        One row a gene of the universe, see `median_spark.results.MEDIANS_SCHEMA`.
    merged : GeneDigests
        The digests that they are read from.
    records : list of SourceRecord
        The sources that went in.
    failures : list of FailureRecord
        Sources whose last conversion failed, and so are missing or of an earlier state.
    stages : tuple of Stage
        What it took.
    """

    table: pa.Table
    merged: GeneDigests
    records: list[SourceRecord]
    failures: list[FailureRecord]
    stages: tuple[Stage, ...] = ()


def table_medians(
    expression: str,
    *,
    spark: SparkSession,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    sources: Sequence[str] | None = None,
    window_rows: int = WINDOW_ROWS,
    progress: ProgressReporter | None = None,
) -> CorpusMedians:
    """Compute every gene's non-zero median over an expression table.

    Parameters
    ----------
    expression : str
        Path or URI of the table.
    spark : SparkSession
        What the work runs on; the answer does not depend on its size.
    compression : float
        Of the digests, 20 to 1000: twice as much halves the error and doubles their size.
    exact : bool
        Whether a second pass refines the digests' medians to exact ones, `numpy.median` of all values bit for bit.
    sources : sequence of str, optional
        The sources to take; by default all.
    window_rows : int
        Values that a worker holds at once, 8 bytes each, beside as many again while it works on them. Exact medians do
        not depend on it; digests do where a corpus is too large for one window, for then each is merged from several.
    progress : ProgressReporter, optional
        Who is told how it goes.

    Returns
    -------
    CorpusMedians
        Values in counts per target sum.

    Raises
    ------
    TableError
        If the table is damaged, empty, of another format version, or its sources cannot be pooled.
    DigestError
        If the compression is out of range.
    EngineError
        If the Spark job fails.
    """
    table = open_table(expression)
    return _medians_of(
        table,
        _chosen(table, sources),
        spark=spark,
        compression=compression,
        exact=exact,
        window_rows=window_rows,
        progress=progress or SilentProgress(),
    )


def _medians_of(
    table: ExpressionTable,
    records: list[SourceRecord],
    *,
    spark: SparkSession,
    compression: float,
    exact: bool,
    window_rows: int,
    progress: ProgressReporter,
) -> CorpusMedians:
    """Do what `table_medians` does, for some sources of a table."""
    check_compression(compression)
    watch = Stopwatch()
    require_uniform(table.location, records)
    universe = table.universe(records)
    plan = plan_sweeps(table.values, records, universe, window_rows=window_rows)
    if not plan.sweeps:
        message = f"{table.location}: the sources hold no value at all: every count of a chosen gene is 0"
        raise TableError(message)
    values = sum(record.values for record in records)
    digesting = progress.working(f"digesting {counted(values, 'value')} in {counted(plan.sweeps, 'sweep')}")
    with naming_changes(table, records), digesting:
        merged, refined, packed_bytes = _digest_all(spark, plan, universe, compression, exact=exact)
    digested = sum(digest.n for digest in merged.digests.values())
    if digested != values:
        message = f"{table.location}: {digested:,} values were digested where the sources' records say {values:,}"
        raise TableError(message)
    watch.lap("digest", tasks=plan.sweeps, bytes_in=_part_bytes(records), bytes_out=packed_bytes)
    if exact and plan.bundles > 1:
        with naming_changes(table, records):
            refined = exact_medians(spark, table.values, records, plan, merged, window_rows, progress, watch)
    found = median_table(merged, refined if exact else None)
    return CorpusMedians(found, merged, records, table.failures(), watch.stages)


def _part_bytes(records: Sequence[SourceRecord]) -> int:
    return sum(part.size for record in records for part in record.parts)


def medians(
    expression: str,
    out: str,
    *,
    spark: SparkSession,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    sources: Sequence[str] | None = None,
    window_rows: int = WINDOW_ROWS,
    failures: Sequence[FailureRecord] | None = None,
    geneformer: GeneformerOptions | None = None,
    gene_table: GeneTable | None = None,
    gene_map: GeneMap | None = None,
    by_source: bool = False,
    digest_pickles: str | None = None,
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    stages: Sequence[Stage] = (),
) -> ResultSummary:
    """Compute every gene's non-zero median over an expression table, and write a result folder.

    Parameters
    ----------
    expression, spark, compression, exact, sources, window_rows, progress
        See `table_medians`.
    out : str
        Path or URI of the result folder.
    failures : sequence of FailureRecord, optional
        Sources that are to be recorded as missing; by default those whose last conversion failed.
    geneformer : GeneformerOptions, optional
        What is chosen about the dictionaries that a tokenizer loads.
    gene_table : GeneTable, optional
        Names of the genes, for these dictionaries; which genes there are is the expression table's.
    gene_map : GeneMap, optional
        By which the matrices' rows were summed, for these dictionaries too.
    by_source : bool
        Whether each source's medians are written, too, and compared with the corpus's; see
        `median_spark.results.stand_apart`.
    digest_pickles : str, optional
        Path or URI of a folder outside the result for each source's digests, in the published procedure's files.
    overwrite : bool
        Whether a result that lies there is replaced, and digest pickles of the same sources.
    stages : sequence of Stage
        What was done before, as ``ConversionSummary.stages`` tells it, for the metrics row.

    Returns
    -------
    ResultSummary
        What ``summary.json`` holds.

    Raises
    ------
    UsageError
        If the gene map is not that of the conversion.
    OutputError
        If the folder holds something else, or a result that may not be replaced, or cannot be written.
    TableError, DigestError, EngineError
        See `table_medians`.
    """
    progress = progress or SilentProgress()
    geneformer = geneformer or GeneformerOptions()
    target = storage.canonical(out)
    check_result_target(target, overwrite=overwrite)
    table = open_table(expression)
    records = _chosen(table, sources)
    if gene_map is not None:
        _check_gene_map(gene_map, records)
    if digest_pickles is not None:
        names = [record.source for record in records]
        digest_pickles = check_digest_folder(digest_pickles, names, target, overwrite=overwrite)
    medians_of = partial(
        _medians_of, table, spark=spark, compression=compression, window_rows=window_rows, progress=progress
    )
    found = medians_of(records, exact=exact)
    watch = Stopwatch([*stages, *found.stages])
    failed = found.failures if failures is None else list(failures)
    provenance = provenance_of(
        table.location,
        found.records,
        failed,
        {"compression": compression, "exact": exact, "geneformer": asdict(geneformer)},
        spark.version,
    )
    compared = source_by_source(
        spark,
        table,
        found,
        medians_of,
        target=target,
        by_source=by_source,
        digest_pickles=digest_pickles,
        exact=exact,
        window_rows=window_rows,
        progress=progress,
        watch=watch,
    )
    with naming_changes(table, records), compared as comparison, progress.working("writing the result"):
        return write_result(
            target,
            found.table,
            found.merged,
            figures_of(found.records, failed),
            provenance,
            geneformer=geneformer,
            gene_table=gene_table,
            gene_map=gene_map,
            comparison=comparison,
            stages=watch.stages,
        )


def _check_gene_map(gene_map: GeneMap, records: Sequence[SourceRecord]) -> None:
    """Refuse a gene map that is not the one by which rows were summed: a tokenizer would sum others."""
    others = [r.source for r in records if r.gene_map != gene_map.fingerprint()]
    if others:
        message = (
            f"{gene_map.path}: this is not the gene map of the expression table: {counted(len(others), 'source')} "
            f"converted with another or with none: {listed(others, 3)}: give the one of the conversion, or none"
        )
        raise UsageError(message)


def _chosen(table: ExpressionTable, sources: Sequence[str] | None) -> list[SourceRecord]:
    records = table.sources()
    if sources is None:
        return records
    missing = sorted(set(sources) - {record.source for record in records})
    if missing:
        message = f"{table.location}: the table has no source {listed(missing)}"
        raise TableError(message)
    return [record for record in records if record.source in set(sources)]


def _digest_all(
    spark: SparkSession, plan: SweepPlan, universe: list[str], compression: float, *, exact: bool
) -> tuple[GeneDigests, dict[str, ExactMedian], int]:
    """Digest in one Spark job; where a gene has digests in several bundles, shuffle by gene and merge in their order.

    Returns the digests, the exact medians if they are wanted and a sweep sees all values of its genes, and the bytes of
    the digests as they came from the workers.
    """

    def digest(number: int) -> Iterator[pa.RecordBatch]:
        yield from digest_sweep(plan, number, compression, exact=exact)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return merge_batches(batches, compression)

    if plan.bundles == 1:
        frame = run_tasks(spark, plan.sweeps, _PACKED_DDL, digest)
    else:
        frame = run_and_merge(spark, plan.sweeps, digest, _PACKED_DDL, ("gene", "bundle"), merge, _PACKED_DDL)
    description = f"digest {counted(int(plan.rows.sum()), 'value')} in {counted(plan.sweeps, 'sweep')}"
    if plan.bundles > 1:
        description += f" of {counted(plan.bundles, 'bundle')}, merge by gene"
    found = collect(frame, PACKED_SCHEMA, "digesting", description)
    for error in found["error"].drop_null().to_pylist():
        raise TableError(error)
    genes = found["gene"].to_pylist()
    if len(set(genes)) < len(genes):
        message = "Spark yielded a gene twice"
        raise EngineError(message)
    digests, n_sources = unpack_table(found)
    medians, errors = found["median"].to_pylist(), found["rank_error"].to_pylist()
    whole = {
        gene: ExactMedian(median, error)
        for gene, median, error in zip(genes, medians, errors, strict=True)
        if median is not None
    }
    merged = GeneDigests(
        tuple(universe), dict(zip(genes, digests, strict=True)), dict(zip(genes, n_sources, strict=True)), compression
    )
    return merged, whole, found.nbytes


assert PACKED_SCHEMA.names == [column.split()[0] for column in _PACKED_DDL.split(", ")]
