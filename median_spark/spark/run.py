"""The whole way: matrices in, a result folder out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.errors import counted, listed
from median_spark.expression import open_table
from median_spark.job_options import ConvertOptions, MedianOptions, ResultOptions
from median_spark.matrices import ReadOptions
from median_spark.preparation import MediansPlan, RunPlan, chosen_records, prepare_run
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import ResultSummary
from median_spark.spark.convert.convert import ConversionSummary, execute_conversion
from median_spark.spark.engine.later import LaterSession, started
from median_spark.spark.engine.session import active_session
from median_spark.spark.medians.medians import execute_medians
from median_spark.spark.tables import check_table


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes
    ----------
    conversion : ConversionSummary
        Contents of the expression table.
    summary : ResultSummary
        Figures of the result.
    """

    conversion: ConversionSummary
    summary: ResultSummary


def run(
    inputs: str | Sequence[str],
    out: str,
    *,
    spark: SparkSession | None = None,
    reading: ReadOptions | None = None,
    conversion: ConvertOptions | None = None,
    options: MedianOptions | None = None,
    outputs: ResultOptions | None = None,
    progress: ProgressReporter | None = None,
) -> RunSummary:
    """Convert matrices to ``out/expression`` and write their medians to ``out/medians``.

    The medians are those of the inputs named here, also where the expression table holds other sources of earlier runs.

    Parameters
    ----------
    inputs : str or sequence of str
        Matrices, or folders of them, as paths or URIs.
    out : str
        Folder for everything; a second run into it converts only what is new or changed.
    spark : SparkSession, optional
        Session to work on; by default the active one.
    reading : ReadOptions, optional
        Options that decide the values.
    conversion : ConvertOptions, optional
        Options of the conversion.
    options : MedianOptions, optional
        Options of the computation.
    outputs : ResultOptions, optional
        Files to write besides the medians.
    progress : ProgressReporter, optional
        Progress reporter; by default nothing is said.

    Returns
    -------
    RunSummary
        Sources converted and failed, and the result's figures.

    Raises
    ------
    MedianSparkError
        See `median_spark.convert` and `median_spark.medians`.

    Examples
    --------
    >>> import median_spark
    >>> genes = median_spark.read_gene_table("corpus/gene_info_table.csv")
    >>> done = median_spark.run("corpus", "result", spark=spark, reading=median_spark.ReadOptions(gene_table=genes))
    >>> done.summary.sources
    5
    """
    plan = prepare_run(inputs, out, reading, conversion, options, outputs)
    return execute_run(plan, started(active_session(spark)), progress or SilentProgress())


def execute_run(plan: RunPlan, session: LaterSession, progress: ProgressReporter) -> RunSummary:
    """Do what a plan says; see `run`."""
    if plan.outputs.table is not None:
        check_table(session.get(), plan.outputs.table)
    with storage.locked(plan.location, "median-spark run"):
        conversion = execute_conversion(plan.conversion, session, progress, plan.check_columns)
        table = open_table(plan.conversion.location)
        names = [record.source for record in conversion.records]
        every = table.sources()
        others = sorted({record.source for record in every} - set(names))
        if others:
            progress.note(
                f"note: {table.location} also holds {counted(len(others), 'source')} of earlier runs that these "
                f"medians leave out: {listed(others, 3)}; 'median-spark medians' takes all sources of a table, and "
                "'median-spark remove' takes some out of it"
            )
        records, failures = tuple(chosen_records(table, every, names)), tuple(conversion.failures)
        medians = MediansPlan(table, records, failures, plan.target, plan.options, plan.outputs)
        return RunSummary(conversion, execute_medians(medians, session, progress, conversion.stages))
