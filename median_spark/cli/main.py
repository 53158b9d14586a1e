"""`median-spark`: parse, call the library once, say what came out, and return the exit status.

What can be refused without Spark is refused before Spark is started.
"""

import argparse
import atexit
import contextlib
import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from median_spark.cli.arguments import build_parser
from median_spark.cli.chosen import (
    chosen_types,
    convert_options,
    geneformer_options,
    median_options,
    read_options,
    result_options,
    table_query,
)
from median_spark.cli.complete import complete
from median_spark.cli.console import (
    complain,
    log_summary,
    prepare_streams,
    say,
    say_summary,
    settle_streams,
    show_traceback,
)
from median_spark.cli.document import document_text, inspection_document, outcome_document, verification_document
from median_spark.cli.log import active_logger, close_log, log, open_log
from median_spark.cli.summary import Summary, aligned
from median_spark.cli.text import (
    comparison_lines,
    conversion_summary,
    failure_lines,
    inspection_text,
    merge_summary,
    result_summary,
    run_summary,
)
from median_spark.display import printable
from median_spark.errors import EngineError, InputError, MedianSparkError, counted
from median_spark.expression import FailureRecord, remove_sources
from median_spark.genes import read_gene_map, read_gene_table
from median_spark.inspection import examine
from median_spark.matrices import ReadOptions
from median_spark.options import MENTION, Style
from median_spark.preparation import prepare_conversion, prepare_medians, prepare_run
from median_spark.results import MergeRecord, ResultSummary, read_provenance
from median_spark.storage import without_secrets

if TYPE_CHECKING:  # commands that need no Spark start without it
    from median_spark.progress import ProgressReporter
    from median_spark.spark.engine.later import LaterSession

DONE, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command line; by default those of this process.

    Returns
    -------
    int
        0 done; 1 some sources failed, or a check found differences, and it was reported; 2 unusable arguments or
        input, or standard output cannot be written; 130 interrupted.
    """
    if arguments is None:  # the process is for this command
        atexit.register(gc.freeze)  # or Python, at its end, looks for garbage in all that was imported: half a second
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
    finally:
        close_log()
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
    complete(parser)
    args = parser.parse_args(arguments)
    try:
        if getattr(args, "log_file", None):
            open_log(args.log_file)
        status: int = args.command(args)
    except Exception as error:
        if args.debug:
            log(logging.ERROR, printable(without_secrets(f"{type(error).__name__}: {error}")))
            sys.excepthook = show_traceback
            raise
        words = f"error: {error.worded(Style.FLAGS)}" if isinstance(error, MedianSparkError) else _unexpected(error)
        complain(without_secrets(words))
        if isinstance(error, InputError) and args.name in {"run", "convert"} and MENTION in error.text:
            complain("hint: 'median-spark inspect FILE' shows what a file holds and all options that make it usable")
        return UNUSABLE
    return status


def _unexpected(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    advice = "run the command again with --debug and report what it shows"
    return f"Unexpected error: {type(error).__name__}: {first} ({advice})"


@contextlib.contextmanager
def _engine(args: argparse.Namespace) -> "Iterator[tuple[LaterSession, ProgressReporter]]":
    """Give a Spark session, perhaps one to be started, and someone to tell how it goes."""
    if find_spec("pyspark") is None:
        message = "pyspark is not installed: pip install 'median_spark[spark]', or use a platform that has its own"
        raise EngineError(message)
    from median_spark.spark.engine.later import later_session

    with (
        _reporter(args) as progress,
        later_session(args.master, debug=args.debug, progress=progress) as session,
    ):
        yield session, progress


def _reporter(args: argparse.Namespace) -> "AbstractContextManager[ProgressReporter]":
    from median_spark.progress import reporter

    return reporter(quiet=args.quiet, logger=active_logger())


def _silent(args: argparse.Namespace) -> bool:
    """Say whether nobody wants a summary, so that nothing is read for it."""
    return args.quiet and not args.json and active_logger() is None


def _conclude(args: argparse.Namespace, summary: Summary, kept: str, document: dict[str, Any]) -> None:
    """Say what came out: to people or, with --json, to machines; and to the log file."""
    lines = summary.lines()
    log_summary(lines)
    if args.json:
        _say_document(args, document, kept)
    elif not args.quiet:
        say_summary(lines, kept=kept)


def _say_document(args: argparse.Namespace, content: dict[str, Any], kept: str | None = None) -> None:
    say(document_text(args.name, **content).split("\n"), kept=kept)


def _run(args: argparse.Namespace) -> int:
    reading = read_options(args)
    plan = prepare_run(
        args.inputs, args.out, reading, convert_options(args), median_options(args), result_options(args)
    )
    with _engine(args) as (session, progress):
        from median_spark.spark.run import execute_run

        done = execute_run(plan, session, progress)
    if not _silent(args):
        expression, result = f"{args.out}/expression", f"{args.out}/medians"
        medians = result_summary(
            done.summary, result, by=plan.outputs.by, stability=plan.options.stability, table=plan.outputs.table
        )
        summary = run_summary(conversion_summary(done.conversion, expression, result), medians)
        paths = {"expression": expression, "result": result, "report": summary.page}
        document = outcome_document(summary, conversion=done.conversion, result=done.summary, paths=paths)
        _conclude(args, summary, result, document)
    return _status(args, done.conversion.failures)


def _convert(args: argparse.Namespace) -> int:
    plan = prepare_conversion(args.inputs, args.out, read_options(args), convert_options(args))
    with _engine(args) as (session, progress):
        from median_spark.spark.convert.convert import execute_conversion

        done = execute_conversion(plan, session, progress)
    if not _silent(args):
        summary = conversion_summary(done, args.out)
        _conclude(args, summary, args.out, outcome_document(summary, conversion=done, paths={"expression": args.out}))
    return _status(args, done.failures)


def _status(args: argparse.Namespace, failures: Sequence[FailureRecord]) -> int:
    """Return the exit status; what failed is an error, and is said even when quiet."""
    if args.quiet and failures:
        complain("\n".join(aligned(failure_lines(failures))))
    return SOME_FAILED if failures else DONE


def _medians(args: argparse.Namespace) -> int:
    gene_table = read_gene_table(args.gene_table) if args.gene_table else None
    gene_map = read_gene_map(args.gene_map) if args.gene_map else None
    outputs = result_options(args, gene_table, gene_map)
    options = replace(median_options(args), cells=table_query(args))
    plan = prepare_medians(args.expression, args.out, options=options, outputs=outputs, overwrite=args.overwrite)
    with _engine(args) as (session, progress):
        from median_spark.spark.medians.medians import execute_medians

        summary = execute_medians(plan, session, progress)
    if not _silent(args):
        said = result_summary(summary, args.out, by=outputs.by, stability=options.stability, table=outputs.table)
        _conclude(args, said, args.out, _result_document(said, summary, args.out))
    return DONE


def _result_document(said: Summary, summary: ResultSummary, result: str) -> dict[str, Any]:
    return outcome_document(said, result=summary, paths={"result": result, "report": said.page})


def _merge(args: argparse.Namespace) -> int:
    from median_spark.merging import merge

    gene_table = read_gene_table(args.gene_table) if args.gene_table else None
    with _reporter(args) as progress:
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
    if not _silent(args):
        said = merge_summary(summary, read_provenance(args.out).merge or MergeRecord(), args.out)
        _conclude(args, said, args.out, _result_document(said, summary, args.out))
    return DONE


def _inspect(args: argparse.Namespace) -> int:
    options: ReadOptions = read_options(args)
    inspection = examine(args.path, options)
    if inspection.problem is not None and not inspection.findings:
        raise inspection.problem
    if args.json:
        _say_document(args, inspection_document(inspection))
    else:
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
        cell_list=args.cell_list,
    )
    if args.json:
        _say_document(args, verification_document(done))
    else:
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
    say([f"report: {page}", *comparison_lines(args.result, args.compare)], kept=page)
    return DONE


def _demo(args: argparse.Namespace) -> int:
    from median_spark.demo import write_demo  # loompy takes seconds to import

    paths = write_demo(args.out)
    hint = f"try: median-spark run {args.out} --gene-table {args.out}/gene_info_table.csv --out {args.out}-result"
    if not args.quiet:
        say([*paths, hint], kept=args.out)
    return DONE
