"""Medians of a corpus, in memory: digest sweeps, merge by gene in order, and refine to exactness."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.digests import PACKED_SCHEMA, digest_sweep, merge_batches, unpack_table
from median_spark.errors import EngineError, TableError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    SweepPlan,
    naming_changes,
    open_table,
    plan_sweeps,
)
from median_spark.job_options import MedianOptions
from median_spark.preparation import pooled_records
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import ExactMedian, GeneDigests, Stage, Stopwatch, median_table
from median_spark.spark.engine.session import active_session
from median_spark.spark.engine.tasks import collect_sound, merge_by_gene, merge_partitions, run_tasks
from median_spark.spark.engine.watch import watched_tasks
from median_spark.spark.medians.refine import exact_medians


@dataclass(frozen=True)
class CorpusMedians:
    """The medians of a corpus, in memory.

    Attributes
    ----------
    table : pyarrow.Table
        One row per gene of the universe, see `median_spark.results.MEDIANS_SCHEMA`.
    merged : GeneDigests
        The digests that they are read from.
    records : list of SourceRecord
        The sources that went in.
    failures : list of FailureRecord
        Sources whose last conversion failed, and so are missing or of an earlier state.
    stages : tuple of Stage
        Time and figures of each stage.
    """

    table: pa.Table
    merged: GeneDigests
    records: list[SourceRecord]
    failures: list[FailureRecord]
    stages: tuple[Stage, ...] = ()


def table_medians(
    expression: str,
    *,
    spark: SparkSession | None = None,
    sources: Sequence[str] | None = None,
    options: MedianOptions | None = None,
    progress: ProgressReporter | None = None,
) -> CorpusMedians:
    """Compute every gene's non-zero median over an expression table, and write nothing.

    Parameters
    ----------
    expression : str
        Path or URI of the table.
    spark : SparkSession, optional
        Session to work on, by default the active one; the answer does not depend on its size.
    sources : sequence of str, optional
        Names of the sources to take; by default all.
    options : MedianOptions, optional
        How medians are computed.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    CorpusMedians
        Values in counts per target sum.

    Raises
    ------
    TableError
        If the table is damaged, empty, of another format version, or its sources cannot be pooled.
    EngineError
        If there is no Spark session, or the Spark job fails.

    Examples
    --------
    >>> import median_spark
    >>> corpus = median_spark.table_medians("result/expression", spark=spark)
    >>> corpus.table.column_names[:3]
    ['gene', 'median', 'n_cells']
    """
    table = open_table(expression)
    job = CorpusJob(active_session(spark), table, options or MedianOptions(), progress or SilentProgress())
    return job.medians_of(pooled_records(table, sources))


@dataclass(frozen=True)
class CorpusJob:
    """Computes medians of sources of one table with the same options.

    Attributes
    ----------
    spark : SparkSession
        Session to work on.
    table : ExpressionTable
        The table.
    options : MedianOptions
        How medians are computed.
    progress : ProgressReporter
        Progress reporter.
    """

    spark: SparkSession
    table: ExpressionTable
    options: MedianOptions
    progress: ProgressReporter

    def exactly(self) -> "CorpusJob":
        """Return the same job with exact medians."""
        return replace(self, options=replace(self.options, exact=True))

    def plan(
        self, records: Sequence[SourceRecord], universe: Sequence[str], genes: Sequence[str] | None = None
    ) -> SweepPlan:
        """Cut the parts of some sources into sweeps, over some genes or all."""
        return plan_sweeps(self.table.values, records, universe, genes, self.options.values_per_window)

    def medians_of(self, records: list[SourceRecord]) -> CorpusMedians:
        """Compute the medians of some sources of the table; see `table_medians`."""
        table, exact = self.table, self.options.exact
        watch = Stopwatch()
        universe = table.universe(records)
        plan = self.plan(records, universe)
        if not plan.sweeps:
            message = f"{table.location}: the sources hold no value at all: every count of a chosen gene is 0"
            raise TableError(message)
        values = sum(record.values for record in records)
        digesting = self.progress.working(f"digesting {counted(values, 'value')} in {counted(plan.sweeps, 'sweep')}")
        with naming_changes(table, records), digesting:
            merged, medians, packed_bytes = self._digest(plan, universe)
        digested = sum(digest.n for digest in merged.digests.values())
        if digested != values:
            message = f"{table.location}: {digested:,} values were digested where the sources' records say {values:,}"
            raise TableError(message)
        part_bytes = sum(part.size for record in records for part in record.parts)
        watch.lap("digest", tasks=plan.sweeps, bytes_in=part_bytes, bytes_out=packed_bytes)
        if exact and plan.bundles > 1:
            with naming_changes(table, records):
                medians = self._refined(records, plan, merged, watch)
        rows = median_table(merged, medians if exact else None)
        return CorpusMedians(rows, merged, records, table.failures(), watch.stages)

    def _refined(
        self, records: list[SourceRecord], plan: SweepPlan, merged: GeneDigests, watch: Stopwatch
    ) -> dict[str, ExactMedian]:
        def plan_for(genes: list[str]) -> SweepPlan:
            return self.plan(records, merged.universe, genes)

        return exact_medians(self.spark, plan, merged, plan_for, self.progress, watch)

    def _digest(self, plan: SweepPlan, universe: list[str]) -> tuple[GeneDigests, dict[str, ExactMedian], int]:
        """Digest in one Spark job; with several bundles, shuffle by gene and merge in their order.

        Returns the digests, the exact medians where they are wanted and a sweep sees all values of its genes, and the
        bytes of the digests as they came from the workers.
        """
        compression, exact = self.options.compression, self.options.exact

        def digest(number: int) -> Iterator[pa.RecordBatch]:
            yield from digest_sweep(plan, number, compression, exact=exact)

        def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return merge_batches(batches, compression)

        frame = run_tasks(self.spark, plan.sweeps, PACKED_SCHEMA, digest)
        description = f"digest {counted(int(plan.rows.sum()), 'value')} in {counted(plan.sweeps, 'sweep')}"
        tasks = plan.sweeps
        if plan.bundles > 1:
            merges = merge_partitions(plan.sweeps)
            tasks += merges
            frame = merge_by_gene(frame, merges, ("gene", "bundle"), merge, PACKED_SCHEMA)
            description += f" of {counted(plan.bundles, 'bundle')}, merge by gene"
        with watched_tasks(self.spark, self.progress, tasks):
            packed = collect_sound(frame, PACKED_SCHEMA, "digesting", description)
        genes = packed["gene"].to_pylist()
        if len(set(genes)) < len(genes):
            message = "Spark yielded a gene twice"
            raise EngineError(message)
        digests, n_sources = unpack_table(packed)
        medians, errors = packed["median"].to_pylist(), packed["rank_error"].to_pylist()
        exact_ones = {
            gene: ExactMedian(median, error)
            for gene, median, error in zip(genes, medians, errors, strict=True)
            if median is not None
        }
        by_gene = dict(zip(genes, digests, strict=True))
        merged = GeneDigests(tuple(universe), by_gene, dict(zip(genes, n_sources, strict=True)), compression)
        return merged, exact_ones, packed.nbytes
