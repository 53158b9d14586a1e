"""`median-spark`: parse, call the library once, say what came out, and return the exit status."""

import argparse
import sys
from collections.abc import Sequence

from median_spark.cli.arguments import build_parser, read_options
from median_spark.cli.text import conversion_text, pairs_text, result_text
from median_spark.demo import write_demo
from median_spark.errors import MedianSparkError
from median_spark.inspection import inspect
from median_spark.matrices import ReadOptions

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
        0 done; 1 some sources failed and were reported; 2 unusable arguments or input; 130 interrupted.
    """
    parser = build_parser({"run": _run, "convert": _convert, "medians": _medians, "inspect": _inspect, "demo": _demo})
    given = parser.parse_args(arguments)
    try:
        status: int = given.command(given)
    except KeyboardInterrupt:
        print("interrupted; what is committed stays, and the same command resumes", file=sys.stderr)
        return INTERRUPTED
    except MedianSparkError as error:
        if given.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
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


def _run(given: argparse.Namespace) -> int:
    from median_spark.spark.progress import reporter
    from median_spark.spark.run import run
    from median_spark.spark.session import spark_session

    options = read_options(given)
    with reporter(quiet=given.quiet) as report, spark_session(given.master, debug=given.debug) as spark:
        done = run(
            given.inputs,
            given.out,
            spark=spark,
            options=options,
            compression=given.compression,
            on_error=given.on_error,
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        print(conversion_text(done.conversion, f"{given.out}/expression"))
        print(result_text(done.summary, f"{given.out}/medians"))
    return SOME_FAILED if done.conversion.failures else DONE


def _convert(given: argparse.Namespace) -> int:
    from median_spark.spark.convert import convert
    from median_spark.spark.progress import reporter
    from median_spark.spark.session import spark_session

    options = read_options(given)
    with reporter(quiet=given.quiet) as report, spark_session(given.master, debug=given.debug) as spark:
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
    return SOME_FAILED if done.failures else DONE


def _medians(given: argparse.Namespace) -> int:
    from median_spark.spark.medians import medians
    from median_spark.spark.progress import reporter
    from median_spark.spark.session import spark_session

    with reporter(quiet=given.quiet) as report, spark_session(given.master, debug=given.debug) as spark:
        summary = medians(
            given.expression,
            given.out,
            spark=spark,
            compression=given.compression,
            overwrite=given.overwrite,
            report=report,
        )
    if not given.quiet:
        print(result_text(summary, given.out))
    return DONE


def _inspect(given: argparse.Namespace) -> int:
    options: ReadOptions = read_options(given)
    print(pairs_text(inspect(given.path, options)))
    return DONE


def _demo(given: argparse.Namespace) -> int:
    paths = write_demo(given.out)
    print("\n".join(paths))
    print(f"try: median-spark run {given.out} --gene-table {given.out}/gene_info_table.csv --out {given.out}-result")
    return DONE
