"""The arguments of every command, and what they say to someone who asks for help."""

import argparse
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

from median_spark import __version__
from median_spark.cli.argument_groups import (
    add_catalog,
    add_conversion,
    add_debug,
    add_dictionaries,
    add_digests,
    add_factors,
    add_groups,
    add_json,
    add_merging,
    add_reading,
    add_running,
    add_saying,
    add_table_cells,
    at_least_one,
)
from median_spark.display import printable
from median_spark.geneformer import FACTORS
from median_spark.matrices import ENDINGS
from median_spark.options import GENE_TABLE
from median_spark.storage import without_secrets

_ABOUT = """\
Compute the non-zero median of normalised expression per gene over a whole single-cell corpus: the factors that a
Geneformer-style model needs when it is pretrained on that corpus. To use an existing model, take the factors that
were published with it instead.
"""

_STATUS = """\
exit status: 0 done; 1 some sources failed, or a check found differences, and it was reported; 2 the arguments or the
input cannot be used, or standard output cannot be written; 130 interrupted.
"""

_INPUT_HELP = (
    f"a matrix ({', '.join(ENDINGS)}), a folder that is searched at any depth, or a pattern in quotes, such as "
    "'data/*/study?.loom'; a path, or a URI such as s3://…"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are safe to print: they repeat no secret, and nothing that controls a terminal.

    They are short, too: the usage of some commands fills a screen, above which nobody sees what is wrong.
    """

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where all options are explained, and exit."""
        self.exit(
            2,
            f"{self.prog}: error: {printable(without_secrets(message))} ('{self.prog} --help' explains all options)\n",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; reject an option that there is not in the name of the command that lacks it."""
        known, rest = super().parse_known_args(args, namespace)
        wrong = [text.partition("=")[0] for text in rest if text.startswith("--")]
        if wrong:
            options = [option for action in self._actions for option in action.option_strings]
            near = get_close_matches(wrong[0], options, 1)
            self.error(f"there is no option {wrong[0]}{f'; did you mean {near[0]}?' if near else ''}")
        return known, rest


def build_parser(commands: dict[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``command`` to its function."""
    parser = _Parser(
        prog="median-spark",
        description=_ABOUT,
        epilog=_STATUS + "'median-spark COMMAND --help' explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"median_spark {__version__}")
    sub = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for name, (about, add_arguments) in COMMANDS.items():
        command = sub.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=_STATUS)
        command.set_defaults(command=commands[name], name=name)
        add_arguments(command)
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUT_HELP)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for everything; run again to resume or update"
    )
    add_reading(parser)
    add_digests(parser)
    add_groups(parser)
    add_catalog(parser)
    add_factors(add_dictionaries(parser))
    add_conversion(parser)
    add_running(parser)


def _convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUT_HELP)
    parser.add_argument("--out", required=True, metavar="EXPRESSION", help="folder of the expression table")
    add_reading(parser)
    add_conversion(parser)
    add_running(parser)


def _medians(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of an expression table")
    parser.add_argument("--out", required=True, metavar="RESULT", help="folder for the result")
    add_table_cells(parser)
    add_digests(parser)
    add_groups(parser)
    add_catalog(parser)
    dictionaries = add_factors(add_dictionaries(parser))
    dictionaries.add_argument(GENE_TABLE.flag, action="append", metavar=GENE_TABLE.metavar,
                              help="gene table with gene names, for the dictionaries and the report; it changes no "
                              "median; may be given again")  # fmt: skip
    dictionaries.add_argument("--gene-map", metavar="FILE",
                              help="the gene map that the matrices were converted with, for the names in the "
                              "dictionaries")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    add_running(parser)


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("digests", nargs="+", metavar="DIGESTS",
                        help="a result or its digests.parquet, the folder of a run, or the published notebook's "
                        "pickles: *.gene_median_digest_dict.pickle, folders that are searched for them at any depth, "
                        "or total_gene_tdigest_dict.pickle; pickles are read safely")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="RESULT", help="folder for the result")
    add_merging(parser)
    add_dictionaries(parser)
    parser.set_defaults(factor=FACTORS[0], dictionary_of=None)  # digests know neither means nor groups
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    add_saying(parser.add_argument_group("running"))
    add_debug(parser)


def _remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of an expression table")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="names of sources, as 'inspect' lists them")
    add_debug(parser)


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of the expression table")
    parser.add_argument("result", metavar="RESULT", help="folder of the result")
    parser.add_argument("--genes", type=at_least_one, default=100, metavar="N",
                        help="genes to recompute from the table (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: %(default)s)")
    parser.add_argument("--inputs", action="store_true", help="also compare values with the matrices they came from")
    parser.add_argument("--rows", type=at_least_one, default=50, metavar="N",
                        help="with --inputs: rows of a gene in a source to compare (default: %(default)s)")  # fmt: skip
    parser.add_argument("--gene-map", metavar="FILE",
                        help="with --inputs: the gene map that the matrices were converted with")  # fmt: skip
    parser.add_argument("--cell-list", metavar="FILE",
                        help="with --inputs: the list of cells that the matrices were converted with")  # fmt: skip
    add_json(parser)
    add_debug(parser)


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH",
                        help="a matrix, a folder of matrices or a pattern in quotes, an expression table, a result, or "
                        "the folder of a run")  # fmt: skip
    add_reading(parser)
    add_json(parser)
    add_debug(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", metavar="RESULT", help="folder of a result, or of a run")
    parser.add_argument("--compare", nargs="+", action="extend", default=[], metavar="MEDIANS",
                        help="medians to compare with: a pickled dict (.pkl), a .csv with the columns gene and median, "
                        "or another RESULT; may be given again")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="the HTML file (default: report.html in RESULT)")
    parser.add_argument(GENE_TABLE.flag, action="append", metavar=GENE_TABLE.metavar,
                        help="GTF, GFF3, or CSV with gene_name: names to show; may be given again")  # fmt: skip
    add_debug(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_debug(parser)


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "run": ("convert matrices and compute their medians: DIR/expression and DIR/medians", _run),
    "convert": ("convert matrices to an expression table: Parquet of gene, cell, normalised value", _convert),
    "medians": ("compute every gene's non-zero median over an expression table", _medians),
    "merge": ("merge digests of earlier runs, and of the published notebook, into one result", _merge),
    "remove": ("take sources out of an expression table", _remove),
    "verify": ("recompute a random sample of a result with an independent implementation", _verify),
    "inspect": ("show what a matrix, an expression table or a result contains, and whether it can be used", _inspect),
    "report": ("write the page that shows a result: sources, medians, any gene, comparisons", _report),
    "demo": ("write a small corpus of looms to try everything on", _demo),
}
"""Every command, in the order of the help: what it is for, and what adds its arguments."""
