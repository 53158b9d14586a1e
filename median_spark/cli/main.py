"""`median-spark`: parse, call the library once, say what came out, and return the exit status.

What can be refused without Spark is refused before Spark is started.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from median_spark.cli.arguments import (
    build_parser,
    chosen_types,
    convert_options,
    geneformer_options,
    median_options,
    read_options,
    result_options,
)
from median_spark.cli.console import complain, prepare_streams, say, settle_streams, show_traceback
from median_spark.cli.text import (
    conversion_text,
    failures_text,
    inspection_text,
    merged_text,
    result_text,
    sources_text,
)
from median_spark.display import printable
from median_spark.errors import EngineError, MedianSparkError, counted
from median_spark.expression import FailureRecord, remove_sources
from median_spark.genes import read_gene_map, read_gene_table
from median_spark.inspection import examine
from median_spark.matrices import ReadOptions
from median_spark.options import Style
from median_spark.preparation import prepare_conversion, prepare_medians, prepare_run
from median_spark.results import MergeRecord, ResultSummary, read_provenance
from median_spark.storage import without_secrets

if TYPE_CHECKING:  # commands that need no Spark start without it
    from pyspark.sql import SparkSession

    from median_spark.progress import ProgressReporter

DONE, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of the command line; by default those of this process.

    Returns
    -------
    int
        0 done; 1 some sources failed, or a check found differences, and it was reported; 2 unusable arguments or
        input, or standard output cannot be written; 130 interrupted.
    """
    prepare_streams()
    try:
        status = _command(arguments)
    except KeyboardInterrupt:
        complain("Interrupted. Finished sources are kept; run the same command to resume.")
        status = INTERRUPTED
    except SystemExit as end:  # argparse's, after a help text or a usage error
        if not settle_streams():
            raise SystemExit(UNUSABLE) from end
        raise
    return status if settle_streams() else UNUSABLE


def _command(arguments: Sequence[str] | None) -> int:
    """Parse the arguments, run the command, and turn what it raises into a message and an exit status."""
    parser = build_parser(
        {
            "run": _run,
            "convert": _convert,
            "medians": _medians,
            "merge": _merge,
            "remove": _remove,
            "verify": _verify,
            "inspect": _inspect,
            "report": _report,
            "demo": _demo,
        }
    )
    args = parser.parse_args(arguments)
    try:
        status: int = args.command(args)
    except Exception as error:
        if args.debug:
            sys.excepthook = show_traceback
            raise
        words = f"error: {error.worded(Style.FLAGS)}" if isinstance(error, MedianSparkError) else _unexpected(error)
        complain(without_secrets(words))
        return UNUSABLE
    return status


def _unexpected(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    advice = "run the command again with --debug and report what it shows"
    return f"Unexpected error: {type(error).__name__}: {first} ({advice})"


@contextlib.contextmanager
def _engine(args: argparse.Namespace) -> "Iterator[tuple[SparkSession, ProgressReporter]]":
    """Give a Spark session, and someone to tell how it goes."""
    if find_spec("pyspark") is None:
        message = "pyspark is not installed: pip install 'median_spark[spark]', or use a platform that has its own"
        raise EngineError(message)
    from median_spark.progress import reporter
    from median_spark.spark.engine.session import spark_session

    with (
        reporter(quiet=args.quiet) as progress,
        spark_session(args.master, debug=args.debug, progress=progress) as spark,
    ):
        yield spark, progress


def _run(args: argparse.Namespace) -> int:
    reading = read_options(args)
    outputs = result_options(args, reading.gene_table, reading.gene_map)
    plan = prepare_run(args.inputs, args.out, reading, convert_options(args), median_options(args), outputs)
    with _engine(args) as (spark, progress):
        from median_spark.spark.run import execute_run

        done = execute_run(plan, spark, progress)
    if not args.quiet:
        result = f"{args.out}/medians"
        lines = conversion_text(done.conversion, f"{args.out}/expression")
        say([*lines, *_result_lines(done.summary, result, by_source=args.by_source)], kept=result)
    return _status(done.conversion.failures, quiet=args.quiet)


def _convert(args: argparse.Namespace) -> int:
    plan = prepare_conversion(args.inputs, args.out, read_options(args), convert_options(args))
    with _engine(args) as (spark, progress):
        from median_spark.spark.convert.convert import execute_conversion

        done = execute_conversion(plan, spark, progress)
    if not args.quiet:
        say(conversion_text(done, args.out), kept=args.out)
    return _status(done.failures, quiet=args.quiet)


def _status(failures: Sequence[FailureRecord], *, quiet: bool) -> int:
    """Return the exit status; what failed is an error, and is said even when quiet."""
    if quiet and failures:
        for line in failures_text(failures):
            complain(printable(line))
    return SOME_FAILED if failures else DONE


def _medians(args: argparse.Namespace) -> int:
    gene_table = read_gene_table(args.gene_table) if args.gene_table else None
    gene_map = read_gene_map(args.gene_map) if args.gene_map else None
    outputs = result_options(args, gene_table, gene_map)
    options = median_options(args)
    plan = prepare_medians(args.expression, args.out, options=options, outputs=outputs, overwrite=args.overwrite)
    with _engine(args) as (spark, progress):
        from median_spark.spark.medians.medians import execute_medians

        summary = execute_medians(plan, spark, progress)
    if not args.quiet:
        say(_result_lines(summary, args.out, by_source=args.by_source), kept=args.out)
    return DONE


def _result_lines(summary: ResultSummary, result: str, *, by_source: bool) -> list[str]:
    return [*sources_text(summary, result, by_source=by_source), *result_text(summary, result)]


def _merge(args: argparse.Namespace) -> int:
    from median_spark.merging import merge
    from median_spark.progress import reporter

    gene_table = read_gene_table(args.gene_table) if args.gene_table else None
    with reporter(quiet=args.quiet) as progress:
        summary = merge(
            args.digests,
            args.out,
            gene_table=gene_table,
            gene_types=chosen_types(args),
            compression=args.compression,
            geneformer=geneformer_options(args),
            overwrite=args.overwrite,
            progress=progress,
        )
    if not args.quiet:
        merge_record = read_provenance(args.out).merge or MergeRecord()
        say([*merged_text(summary, merge_record), *result_text(summary, args.out)], kept=args.out)
    return DONE


def _inspect(args: argparse.Namespace) -> int:
    options: ReadOptions = read_options(args)
    inspection = examine(args.path, options)
    if inspection.problem is not None and not inspection.findings:
        raise inspection.problem
    say(inspection_text(inspection))
    return DONE if inspection.problem is None else UNUSABLE


def _remove(args: argparse.Namespace) -> int:
    remove_sources(args.expression, args.sources)
    say([f"{counted(len(args.sources), 'source')} removed from {args.expression}"], kept=args.expression)
    return DONE


def _verify(args: argparse.Namespace) -> int:
    from median_spark.verification import verify

    done = verify(
        args.expression,
        args.result,
        genes=args.genes,
        seed=args.seed,
        inputs=args.inputs,
        rows=args.rows,
        gene_map=args.gene_map,
    )
    say(done.text().split("\n"))
    return SOME_FAILED if done.differences else DONE


def _report(args: argparse.Namespace) -> int:
    from median_spark.report import write_report

    page = write_report(
        args.result,
        args.out,
        compare=args.compare,
        gene_table=read_gene_table(args.gene_table) if args.gene_table else None,
    )
    say([f"report: {page}"], kept=page)
    return DONE


def _demo(args: argparse.Namespace) -> int:
    from median_spark.demo import write_demo  # loompy takes seconds to import

    paths = write_demo(args.out)
    hint = f"try: median-spark run {args.out} --gene-table {args.out}/gene_info_table.csv --out {args.out}-result"
    say([*paths, hint], kept=args.out)
    return DONE
