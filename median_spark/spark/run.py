"""The whole way: matrices in, a result folder out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession

from median_spark import storage
from median_spark.digests import DEFAULT_COMPRESSION, check_compression, check_digest_folder
from median_spark.errors import OutputError, counted, listed
from median_spark.expression import check_target, open_table
from median_spark.geneformer import GeneformerOptions
from median_spark.guard import DEFAULT_LIMITS, Limits
from median_spark.matrices import ReadOptions, find_sources
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import ResultSummary, check_result_target
from median_spark.spark.convert.convert import ConversionSummary, convert
from median_spark.spark.medians.medians import medians


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes
    ----------
    conversion : ConversionSummary
        What is in the expression table.
    summary : ResultSummary
        What the result holds.
    """

    conversion: ConversionSummary
    summary: ResultSummary


def run(
    inputs: str | Sequence[str],
    out: str,
    *,
    spark: SparkSession,
    options: ReadOptions | None = None,
    compression: float = DEFAULT_COMPRESSION,
    exact: bool = True,
    geneformer: GeneformerOptions | None = None,
    by_source: bool = False,
    digest_pickles: str | None = None,
    on_error: str = "fail",
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
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
    spark : SparkSession
        What the work runs on.
    options : ReadOptions, optional
        What decides the values.
    compression : float
        Of the digests.
    exact : bool
        Whether the digests' medians are refined to exact ones.
    geneformer : GeneformerOptions, optional
        What is chosen about the dictionaries that a tokenizer loads.
    by_source, digest_pickles
        See `median_spark.medians`.
    on_error : {"fail", "skip"}
        Whether a source that cannot be converted ends the run, or is reported while the others are finished.
    overwrite : bool
        Whether sources that are up to date are converted again.
    limits : Limits
        See `median_spark.convert`.
    progress : ProgressReporter, optional
        Who is told how it goes.

    Returns
    -------
    RunSummary
        Sources converted and failed, and the result's figures.

    Raises
    ------
    MedianSparkError
        See `median_spark.convert` and `median_spark.medians`.
    """
    progress = progress or SilentProgress()
    check_compression(compression)
    # What is not there is said before anything is made.
    given = find_sources([inputs] if isinstance(inputs, str) else inputs)
    out = storage.canonical(out)
    expression, result = storage.join(out, "expression"), storage.join(out, "medians")
    _check_folder(out)
    check_target(expression)
    check_result_target(result, overwrite=True)
    if digest_pickles is not None:
        check_digest_folder(digest_pickles, [source.name for source in given], out, overwrite=True)
    with storage.locked(out, "median-spark run"):
        conversion = convert(
            inputs,
            expression,
            spark=spark,
            options=options,
            on_error=on_error,
            overwrite=overwrite,
            limits=limits,
            progress=progress,
        )
        names = [record.source for record in conversion.records]
        others = sorted(open_table(expression).source_names() - set(names))
        if others:
            progress.note(
                f"note: {expression} also holds {counted(len(others), 'source')} of earlier runs that these medians "
                f"leave out: {listed(others, 3)}; take them out of it with 'median-spark remove'"
            )
        summary = medians(
            expression,
            result,
            spark=spark,
            compression=compression,
            exact=exact,
            sources=names,
            failures=conversion.failures,
            geneformer=geneformer,
            gene_table=options.gene_table if options else None,
            gene_map=options.gene_map if options else None,
            by_source=by_source,
            digest_pickles=digest_pickles,
            overwrite=True,
            progress=progress,
            stages=conversion.stages,
        )
    return RunSummary(conversion, summary)


def _check_folder(out: str) -> None:
    if storage.kind(out) == "file":
        message = f"{out}: this is a file; the results need a folder"
        raise OutputError(message)
    held = [name for name in storage.names_in(out) if name not in {"expression", "medians", "lock"}]
    others = [name for name in held if not name.startswith(".medians.")]
    if others:
        message = (
            f"{out}: this folder holds something else than an earlier run ({listed(others, 3)}): "
            "choose an empty or new one"
        )
        raise OutputError(message)
