"""`median-spark`: parse, call the library once, say what came out, and return the exit status.

What can be refused without Spark is refused before Spark is started.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from median_spark.cli.arguments import build_parser, chosen_types, geneformer_options, read_options
from median_spark.cli.merged_text import merged_text
from median_spark.cli.sources_text import sources_text
from median_spark.cli.text import conversion_text, failures_text, pairs_text, result_text
from median_spark.digests import check_compression
from median_spark.errors import EngineError, MedianSparkError, counted
from median_spark.expression import FailureRecord, check_target, open_table, remove_sources
from median_spark.genes import read_gene_map, read_gene_table
from median_spark.inspection import examine
from median_spark.matrices import ReadOptions, find_sources
from median_spark.results import ResultSummary, read_provenance

if TYPE_CHECKING:  # commands that need no Spark start without it
    from pyspark.sql import SparkSession

    from median_spark.spark.progress import Reporter

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
        input; 130 interrupted.
    """
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
    given = parser.parse_args(arguments)
    try:
        status: int = given.command(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; what is committed stays, and the same command resumes", file=sys.stderr)
        return INTERRUPTED
    except MedianSparkError as error:
        if given.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if given.debug:
            raise
        first = (str(error).splitlines() or [""])[0]
        print(
            f"error: {type(error).__name__}: {first} (this was not foreseen: run it again with --debug and report it)",
            file=sys.stderr,
        )
        return UNUSABLE
    return status


@contextlib.contextmanager
def _engine(given: argparse.Namespace) -> "Iterator[tuple[SparkSession, Reporter]]":
    """Give a Spark session, and someone to tell how it goes."""
    if find_spec("pyspark") is None:
        message = "pyspark is not installed: pip install 'median_spark[spark]', or use a platform that has its own"
        raise EngineError(message)
    from median_spark.spark.progress import reporter
    from median_spark.spark.session import spark_session

    with (
        reporter(quiet=given.quiet) as report,
        spark_session(given.master, debug=given.debug, report=report) as spark,
    ):
        yield spark, report


def _run(given: argparse.Namespace) -> int:
    options = read_options(given)
    check_compression(given.compression)
    find_sources(given.inputs)
    with _engine(given) as (spark, report):
        from median_spark.spark.run import run

        done = run(
            given.inputs,
            given.out,
            spark=spark,
            options=options,
            compression=given.compression,
            exact=given.exact,
            geneformer=geneformer_options(given),
            by_source=given.by_source,
            digest_pickles=given.digest_pickles,
            on_error=given.on_error,
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        print(conversion_text(done.conversion, f"{given.out}/expression"))
        _print_result(done.summary, f"{given.out}/medians", by_source=given.by_source)
    return _status(done.conversion.failures, quiet=given.quiet)


def _convert(given: argparse.Namespace) -> int:
    options = read_options(given)
    find_sources(given.inputs)
    check_target(given.out)
    with _engine(given) as (spark, report):
        from median_spark.spark.convert import convert

        done = convert(
            given.inputs,
            given.out,
            spark=spark,
            options=options,
            on_error=given.on_error,
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        print(conversion_text(done, given.out))
    return _status(done.failures, quiet=given.quiet)


def _status(failures: Sequence[FailureRecord], *, quiet: bool) -> int:
    """Return the exit status; what failed is an error, and is said even when quiet."""
    if quiet and failures:
        print("\n".join(failures_text(failures)), file=sys.stderr)
    return SOME_FAILED if failures else DONE


def _medians(given: argparse.Namespace) -> int:
    check_compression(given.compression)
    gene_table = read_gene_table(given.gene_table) if given.gene_table else None
    gene_map = read_gene_map(given.gene_map) if given.gene_map else None
    open_table(given.expression)
    with _engine(given) as (spark, report):
        from median_spark.spark.medians import medians

        summary = medians(
            given.expression,
            given.out,
            spark=spark,
            compression=given.compression,
            exact=given.exact,
            geneformer=geneformer_options(given),
            gene_table=gene_table,
            gene_map=gene_map,
            by_source=given.by_source,
            digest_pickles=given.digest_pickles,
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        _print_result(summary, given.out, by_source=given.by_source)
    return DONE


def _print_result(summary: ResultSummary, result: str, *, by_source: bool) -> None:
    print("\n".join([*sources_text(summary, result, by_source=by_source), result_text(summary, result)]))


def _merge(given: argparse.Namespace) -> int:
    from median_spark.merging import merge
    from median_spark.spark.progress import reporter

    gene_table = read_gene_table(given.gene_table) if given.gene_table else None
    with reporter(quiet=given.quiet) as report:
        summary = merge(
            given.digests,
            given.out,
            gene_table=gene_table,
            gene_types=chosen_types(given),
            compression=given.compression,
            geneformer=geneformer_options(given),
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        print(merged_text(summary, read_provenance(given.out)))
        print(result_text(summary, given.out))
    return DONE


def _inspect(given: argparse.Namespace) -> int:
    options: ReadOptions = read_options(given)
    found = examine(given.path, options)
    if found.problem is not None and not found.pairs:
        raise found.problem
    print(pairs_text(found.pairs))
    return DONE if found.problem is None else UNUSABLE


def _remove(given: argparse.Namespace) -> int:
    remove_sources(given.expression, given.sources)
    print(f"{counted(len(given.sources), 'source')} removed from {given.expression}")
    return DONE


def _verify(given: argparse.Namespace) -> int:
    from median_spark.verification import verify

    done = verify(
        given.expression,
        given.result,
        genes=given.genes,
        seed=given.seed,
        inputs=given.inputs,
        rows=given.rows,
        gene_map=given.gene_map,
    )
    print(done.text())
    return SOME_FAILED if done.differences else DONE


def _report(given: argparse.Namespace) -> int:
    from median_spark.report import write_report

    page = write_report(
        given.result,
        given.out,
        compare=given.compare,
        gene_table=read_gene_table(given.gene_table) if given.gene_table else None,
    )
    print(f"report: {page}")
    return DONE


def _demo(given: argparse.Namespace) -> int:
    from median_spark.demo import write_demo  # loompy takes seconds to import

    paths = write_demo(given.out)
    print("\n".join(paths))
    print(f"try: median-spark run {given.out} --gene-table {given.out}/gene_info_table.csv --out {given.out}-result")
    return DONE
