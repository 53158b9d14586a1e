"""From an expression table to a result folder."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.errors import counted, listed
from median_spark.expression import Grouping, group_cells, naming_changes, repeated_cells
from median_spark.geneformer import GeneformerDictionaries, check_group, geneformer_dictionaries
from median_spark.job_options import MedianOptions, ResultOptions
from median_spark.preparation import MediansPlan, prepare_medians
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.report import report_page
from median_spark.results import (
    GroupComparison,
    ResultSummary,
    Stage,
    Stopwatch,
    figures_of,
    provenance_of,
    read_medians_of_groups,
    removal_notes,
    write_result,
)
from median_spark.spark.engine.later import LaterSession, started
from median_spark.spark.engine.session import active_session
from median_spark.spark.medians.corpus import CorpusJob
from median_spark.spark.medians.digest_pickles import write_digest_pickles
from median_spark.spark.medians.groups import compared_groups, staged
from median_spark.spark.tables import check_table, table_properties, write_table

_MOST_SAID = 3
"""Warnings about sources with the same cells on the console."""


def medians(
    expression: str,
    out: str,
    *,
    spark: SparkSession | None = None,
    sources: Sequence[str] | None = None,
    options: MedianOptions | None = None,
    outputs: ResultOptions | None = None,
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
) -> ResultSummary:
    """Compute every gene's non-zero median over an expression table, and write a result folder.

    Parameters
    ----------
    expression : str
        Path or URI of the table.
    out : str
        Path or URI of the result folder.
    spark : SparkSession, optional
        Session to work on, by default the active one; the answer does not depend on its size.
    sources : sequence of str, optional
        Names of the sources to take; by default all.
    options : MedianOptions, optional
        Options of the computation.
    outputs : ResultOptions, optional
        Files to write besides.
    overwrite : bool
        Replace an existing result, and digest pickles of the same sources.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    ResultSummary
        Content of ``summary.json``.

    Raises
    ------
    UsageError
        If the gene map is not that of the conversion.
    OutputError
        If the folder contains something else, or a result that may not be replaced, or cannot be written; or if the
        catalog's table was not written by median_spark, or cannot be written.
    TableError
        If the table is damaged, empty, of another format version, or its sources cannot be pooled.
    EngineError
        If there is no Spark session, or a Spark job fails.

    Examples
    --------
    >>> import median_spark
    >>> summary = median_spark.medians("result/expression", "other-result", spark=spark)
    >>> summary.medians_are
    'exact'
    """
    plan = prepare_medians(expression, out, sources, options, outputs, overwrite=overwrite)
    return execute_medians(plan, started(active_session(spark)), progress or SilentProgress())


def execute_medians(
    plan: MediansPlan, session: LaterSession, progress: ProgressReporter, stages: Sequence[Stage] = ()
) -> ResultSummary:
    """Do what a plan says; see `medians`. `stages` were done before, for the metrics row.

    The cells are looked at before Spark is needed, so that a choice without any cell does not wait for its start.
    """
    outputs = plan.outputs
    if outputs.table is not None:
        check_table(session.get(), outputs.table)
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_changes(plan.table, plan.records))
        with progress.working("looking at the cells") if plan.looks_at_cells else contextlib.nullcontext():
            cells = group_cells(plan.table, plan.records, plan.options.cells, outputs.by, missing=outputs.missing)
        if outputs.geneformer.dictionary_of is not None:
            check_group(outputs.geneformer.dictionary_of, cells.columns, cells.groups)
        repeated = repeated_cells(cells.records)
        removed = removal_notes(plan.target, groups=bool(outputs.by), stability=plan.options.stability)
        spark = session.get()
        job = CorpusJob(spark, plan.table, plan.options, progress)
        for note in (*cells.notes, *_sources_without_cells(plan, cells), *_few(repeated), *removed):
            progress.note(note)
        shared, local = stack.enter_context(staged(plan.target)) if outputs.by else (None, None)
        corpus = job.medians_of(cells, shared, stability=plan.options.stability)
        watch = Stopwatch([*stages, *corpus.stages])
        comparison = compared_groups(job, cells, corpus, local, watch) if local is not None else None
        if outputs.digest_pickles is not None:
            write_digest_pickles(job, cells, corpus, outputs.digest_pickles, watch)
        parameters = {
            "compression": plan.options.compression,
            "exact": plan.options.exact,
            "geneformer": asdict(outputs.geneformer),
        }
        if plan.options.cells is not None:
            parameters["cells"] = plan.options.cells.text
        if outputs.by:
            parameters["by"] = list(outputs.by)
        if plan.options.stability:
            parameters["stability"] = True
        records = list(cells.records)
        provenance = provenance_of(plan.table.location, records, plan.failures, parameters, spark.version, repeated)
        stack.enter_context(progress.working("writing the result"))
        summary = write_result(
            plan.target,
            corpus.table,
            corpus.merged,
            figures_of(records, plan.failures),
            provenance,
            dictionaries=_dictionaries(outputs, corpus.table, comparison),
            comparison=comparison,
            stability=corpus.stability,
            stages=watch.stages,
            report=partial(report_page, gene_table=outputs.gene_table),
        )
        if outputs.table is not None:
            write_table(spark, outputs.table, corpus.table, table_properties(summary, provenance, plan.target))
        return summary


def _sources_without_cells(plan: MediansPlan, cells: Grouping) -> list[str]:
    """Say which sources have none of the chosen cells."""
    left = {record.source for record in cells.records}
    without = [record.source for record in plan.records if record.source not in left]
    if not without:
        return []
    return [f"note: {counted(len(without), 'source')} with none of the chosen cells: {listed(without, 3)}"]


def _few(warnings: Sequence[str]) -> list[str]:
    """Return the first warnings for the console, and how many more there are in the result."""
    more = len(warnings) - _MOST_SAID
    shown = [f"warning: {warning}" for warning in warnings[:_MOST_SAID]]
    return [*shown, f"warning: {more:,} more like these, in provenance.json"] if more > 0 else shown


def _dictionaries(
    outputs: ResultOptions, table: pa.Table, comparison: GroupComparison | None
) -> GeneformerDictionaries:
    """Return the dictionaries of the corpus, whose median table this is, or of one group of its cells."""
    options, others = outputs.geneformer, (outputs.gene_table, outputs.gene_map)
    if options.dictionary_of is None or comparison is None:
        return geneformer_dictionaries(table, options, *others)
    group = tuple(options.dictionary_of[column] for column in outputs.by)
    rows = read_medians_of_groups(str(comparison.by_group), outputs.by, {group}, ["gene", "n_cells", options.factor])
    return geneformer_dictionaries(rows, options, *others)
