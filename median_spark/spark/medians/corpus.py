"""Medians of a corpus, in memory: digest sweeps, merge by gene in order, and refine to exactness."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.digests import (
    PACKED_SCHEMA,
    GroupWork,
    UInt8s,
    deal_sources,
    digest_sweep,
    gene_and_group,
    group_medians,
    group_works,
    medians_of,
    merge_batches,
    number_of,
    unpack_table,
    write_group_medians,
)
from median_spark.errors import EngineError, TableError, counted
from median_spark.expression import (
    ExpressionTable,
    FailureRecord,
    Grouping,
    SourceRecord,
    SweepPlan,
    group_cells,
    naming_changes,
    open_table,
    plan_sweeps,
)
from median_spark.job_options import MedianOptions
from median_spark.preparation import pooled_records
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import ExactMedian, GeneDigests, Stage, Stopwatch, means_of, median_table, stability_table
from median_spark.spark.engine.session import active_session
from median_spark.spark.engine.tasks import collect_sound, merge_by_gene, merge_partitions, run_tasks
from median_spark.spark.engine.watch import watched_tasks
from median_spark.spark.medians.refine import exact_medians

_DIGESTED_PIECES = 100_000
"""Numbers of files of groups that were digested begin here; those of sweeps are lower."""


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
    pieces : tuple of str
        Files with the medians of groups, see `median_spark.digests.read_group_medians`; empty where there are none.
    stability : pyarrow.Table or None
        Movement of each median with the sources, see `median_spark.results.STABILITY_SCHEMA`; where it was asked for.
    """

    table: pa.Table
    merged: GeneDigests
    records: list[SourceRecord]
    failures: list[FailureRecord]
    stages: tuple[Stage, ...] = ()
    pieces: tuple[str, ...] = ()
    stability: pa.Table | None = None


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
        Options of the computation.
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
    table, options = open_table(expression), options or MedianOptions()
    job = CorpusJob(active_session(spark), table, options, progress or SilentProgress())
    cells = group_cells(table, pooled_records(table, sources), options.cells)
    return job.medians_of(cells, stability=options.stability)


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
        Options of the computation.
    progress : ProgressReporter
        Progress reporter.
    """

    spark: SparkSession
    table: ExpressionTable
    options: MedianOptions
    progress: ProgressReporter

    def plan(
        self,
        cells: Grouping,
        universe: Sequence[str],
        genes: Sequence[str] | None = None,
        *,
        by_group: bool = False,
    ) -> SweepPlan:
        """Cut the parts of some cells into sweeps, over some genes or all; say whether values are needed by group."""
        window = self.options.values_per_window
        return plan_sweeps(
            self.table.values, cells.records, universe, genes, window, cell_groups=cells.cells, by_group=by_group
        )

    def medians_of(self, cells: Grouping, folder: str | None = None, *, stability: bool = False) -> CorpusMedians:
        """Compute the medians of some cells of the table; see `table_medians`.

        With a `folder` that workers write to, the medians of each group are computed, too; with `stability`, how far
        medians move with the sources.
        """
        table, exact = self.table, self.options.exact
        watch = Stopwatch()
        records = list(cells.records)
        universe = table.universe(records)
        plan = self.plan(cells, universe, by_group=folder is not None)
        if not plan.sweeps:
            message = f"{table.location}: the sources hold no value at all: every count of a chosen gene is 0"
            raise TableError(message)
        buckets = _buckets(records) if stability else None
        works = group_works(plan, len(cells.groups), folder) if folder is not None else []
        work = works[0] if works else None
        values = sum(record.values for record in records)
        digesting = self.progress.working(f"digesting {counted(values, 'value')} in {counted(plan.sweeps, 'sweep')}")
        with naming_changes(table, records), digesting:
            found, packed_bytes = self._digest(plan, universe, work, buckets)
        genes, of_groups = found.split()
        digested = sum(digest.n for digest in genes.merged.digests.values())
        if digested != values:
            message = f"{table.location}: {digested:,} values were digested where the sources' records say {values:,}"
            raise TableError(message)
        part_bytes = sum(part.size for record in records for part in record.parts)
        watch.lap("digest", tasks=plan.sweeps, bytes_in=part_bytes, bytes_out=packed_bytes)
        if exact and plan.bundles > 1:
            with naming_changes(table, records):
                genes, of_groups = self._refined(cells, plan, found, work, watch).split()
        rows = median_table(
            genes.merged, genes.exact if exact else None, sum(record.cells_passed for record in records)
        )
        pieces: list[str] = []
        if work is not None:
            pieces += [work.piece(number) for number in range(plan.sweeps)] if work.whole.any() else []
            pieces += [self._write_groups(universe, of_groups, work)] if work.digested.any() else []
            pieces += [self._more_groups(cells, universe, more, watch) for more in works[1:]]
        moves = stability_table(rows, found.stability, number_of(buckets)) if stability else None
        return CorpusMedians(rows, genes.merged, records, table.failures(), watch.stages, tuple(pieces), moves)

    def _more_groups(self, cells: Grouping, universe: list[str], work: GroupWork, watch: Stopwatch) -> str:
        """Digest and refine some groups alone, and write their medians; return the file."""
        some = cells.only(work.digested)
        plan = self.plan(some, universe, by_group=True)
        groups = counted(int(work.digested.sum()), "group")
        with naming_changes(self.table, cells.records):
            with self.progress.working(f"digesting {groups} more"):
                found, packed_bytes = self._digest(plan, universe, work)
            watch.lap("digest", tasks=plan.sweeps, bytes_out=packed_bytes)
            if self.options.exact and plan.bundles > 1:
                found = self._refined(some, plan, found, work, watch)
        return self._write_groups(universe, found.split()[1], work)

    def _write_groups(self, universe: list[str], found: "_Found", work: GroupWork) -> str:
        """Write the medians of groups that were digested; return the file."""
        location = work.piece(_DIGESTED_PIECES + int(np.flatnonzero(work.digested)[0]))
        write_group_medians(location, [found.by_group(universe, exact=self.options.exact)])
        return location

    def _refined(
        self, cells: Grouping, plan: SweepPlan, found: "_Found", work: GroupWork | None, watch: Stopwatch
    ) -> "_Found":
        def plan_for(keys: list[str]) -> SweepPlan:
            genes = sorted({gene_and_group(key)[0] for key in keys})
            return self.plan(cells, plan.genes.tolist(), genes, by_group=work is not None)

        return replace(found, exact=exact_medians(self.spark, plan, found.merged, plan_for, self.progress, watch, work))

    def _digest(
        self, plan: SweepPlan, universe: list[str], work: GroupWork | None, buckets: UInt8s | None = None
    ) -> tuple["_Found", int]:
        """Digest in one Spark job; with several bundles, shuffle by gene and merge in their order.

        Returns what was found, and the bytes of the digests as they came from the workers.
        """
        compression, exact = self.options.compression, self.options.exact

        def digest(number: int) -> Iterator[pa.RecordBatch]:
            yield from digest_sweep(plan, number, compression, exact=exact, work=work, buckets=buckets)

        def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return merge_batches(batches, compression, number_of(buckets))

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
        digests, n_sources, means = (dict(zip(genes, column, strict=True)) for column in unpack_table(packed))
        medians, errors = packed["median"].to_pylist(), packed["rank_error"].to_pylist()
        exact_ones = {
            gene: ExactMedian(median, error)
            for gene, median, error in zip(genes, medians, errors, strict=True)
            if median is not None
        }
        moved = packed["stability"].to_pylist() if buckets is not None else []
        merged = GeneDigests(tuple(universe), digests, n_sources, compression, means)
        return _Found(merged, exact_ones, dict(zip(genes, moved, strict=bool(moved)))), packed.nbytes


def _buckets(records: Sequence[SourceRecord]) -> UInt8s:
    """Return the bucket of each source."""
    return deal_sources([record.source for record in records], [record.values for record in records])


@dataclass(frozen=True)
class _Found:
    """Digests and exact medians of genes and of keys, see `median_spark.digests.key_of`."""

    merged: GeneDigests
    exact: dict[str, ExactMedian]
    stability: dict[str, bytes] = field(default_factory=dict)  # as `Stability.pack` writes it, of genes

    def split(self) -> tuple["_Found", "_Found"]:
        """Return those of genes, and those of keys."""
        every = self.merged
        genes: list[str] = []
        keys: list[str] = []
        for key in every.digests:
            (genes if gene_and_group(key)[1] is None else keys).append(key)
        return self._only(genes), self._only(keys)

    def _only(self, keys: list[str]) -> "_Found":
        if len(keys) == len(self.merged.digests):
            return self
        every, means = self.merged, self.merged.means or {}
        merged = replace(
            every,
            digests={key: every.digests[key] for key in keys},
            n_sources={key: every.n_sources[key] for key in keys},
            means={key: means[key] for key in keys},
        )
        return _Found(merged, {key: self.exact[key] for key in keys if key in self.exact})

    def by_group(self, universe: list[str], *, exact: bool) -> pa.Table:
        """Return the medians of keys as a table by gene and group."""
        keys = sorted(self.merged.digests)
        digests = [self.merged.digests[key] for key in keys]
        pairs = [gene_and_group(key) for key in keys]
        places = {gene: place for place, gene in enumerate(universe)}
        medians = np.array([self.exact[key].median for key in keys]) if exact else medians_of(digests)
        return group_medians(
            np.array([places[gene] for gene, _ in pairs], dtype=np.int64),
            np.array([group for _, group in pairs], dtype=np.int32),
            np.array([digest.n for digest in digests], dtype=np.int64),
            medians,
            *means_of(self.merged, keys),
        )
