"""The arguments of every command, and what they say to someone who asks for help."""

import argparse
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from median_spark import __version__
from median_spark.digests import DEFAULT_COMPRESSION
from median_spark.display import printable
from median_spark.geneformer import DEFAULT_TOKENS, FACTORS, TOKEN_LAYOUTS, GeneformerOptions, parse_group
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable
from median_spark.job_options import ConvertOptions, MedianOptions, ResultOptions
from median_spark.matrices import ALL_COLUMNS, ENDINGS, NO_COLUMNS, CellQuery, ReadOptions
from median_spark.matrices.known_layouts import LAYOUT_NAMES
from median_spark.matrices.options import read_options_of
from median_spark.options import CELL_COLUMNS, CELLS, DICTIONARY_OF, FACTOR, GENE_TABLE, READING, TABLE, Takes
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

    for name, (about, add_arguments) in _COMMANDS.items():
        command = sub.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=_STATUS)
        command.set_defaults(command=commands[name], name=name)
        add_arguments(command)
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUT_HELP)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for everything; run again to resume or update"
    )
    _add_reading(parser)
    _add_digests(parser)
    _add_groups(parser)
    _add_catalog(parser)
    _add_factors(_add_dictionaries(parser))
    _add_conversion(parser)
    _add_running(parser)


def _convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUT_HELP)
    parser.add_argument("--out", required=True, metavar="EXPRESSION", help="folder of the expression table")
    _add_reading(parser)
    _add_conversion(parser)
    _add_running(parser)


def _medians(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of an expression table")
    parser.add_argument("--out", required=True, metavar="RESULT", help="folder for the result")
    _add_table_cells(parser)
    _add_digests(parser)
    _add_groups(parser)
    _add_catalog(parser)
    dictionaries = _add_factors(_add_dictionaries(parser))
    dictionaries.add_argument(GENE_TABLE.flag, action="append", metavar=GENE_TABLE.metavar,
                              help="gene table with gene names, for the dictionaries and the report; it changes no "
                              "median; may be given again")  # fmt: skip
    dictionaries.add_argument("--gene-map", metavar="FILE",
                              help="the gene map that the matrices were converted with, for the names in the "
                              "dictionaries")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    _add_running(parser)


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("digests", nargs="+", metavar="DIGESTS",
                        help="a result or its digests.parquet, the folder of a run, or the published notebook's "
                        "pickles: *.gene_median_digest_dict.pickle, folders that are searched for them at any depth, "
                        "or total_gene_tdigest_dict.pickle; pickles are read safely")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="RESULT", help="folder for the result")
    _add_merging(parser)
    _add_dictionaries(parser)
    parser.set_defaults(factor=FACTORS[0], dictionary_of=None)  # digests know neither means nor groups
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    _add_saying(parser.add_argument_group("running"))
    _add_debug(parser)


def _remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of an expression table")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="names of sources, as 'inspect' lists them")
    _add_debug(parser)


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", metavar="EXPRESSION", help="folder of the expression table")
    parser.add_argument("result", metavar="RESULT", help="folder of the result")
    parser.add_argument("--genes", type=_at_least_one, default=100, metavar="N",
                        help="genes to recompute from the table (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: %(default)s)")
    parser.add_argument("--inputs", action="store_true", help="also compare values with the matrices they came from")
    parser.add_argument("--rows", type=_at_least_one, default=50, metavar="N",
                        help="with --inputs: rows of a gene in a source to compare (default: %(default)s)")  # fmt: skip
    parser.add_argument("--gene-map", metavar="FILE",
                        help="with --inputs: the gene map that the matrices were converted with")  # fmt: skip
    parser.add_argument("--cell-list", metavar="FILE",
                        help="with --inputs: the list of cells that the matrices were converted with")  # fmt: skip
    _add_json(parser)
    _add_debug(parser)


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH",
                        help="a matrix, a folder of matrices or a pattern in quotes, an expression table, a result, or "
                        "the folder of a run")  # fmt: skip
    _add_reading(parser)
    _add_json(parser)
    _add_debug(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", metavar="RESULT", help="folder of a result, or of a run")
    parser.add_argument("--compare", nargs="+", action="extend", default=[], metavar="MEDIANS",
                        help="medians to compare with: a pickled dict (.pkl), a .csv with the columns gene and median, "
                        "or another RESULT; may be given again")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="the HTML file (default: report.html in RESULT)")
    parser.add_argument(GENE_TABLE.flag, action="append", metavar=GENE_TABLE.metavar,
                        help="GTF, GFF3, or CSV with gene_name: names to show; may be given again")  # fmt: skip
    _add_debug(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    _add_debug(parser)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"it must be a whole number of at least 1, not '{text}'"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def read_options(args: argparse.Namespace) -> ReadOptions:
    """Return the options for reading matrices; a gene table and a gene map are read."""
    values = {option.name: getattr(args, option.name) for option in READING}
    return read_options_of(
        values | {"gene_types": chosen_types(args), "filter_value": tuple(args.filter_value) or None}
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    groups: dict[str, argparse._ArgumentGroup] = {}
    defaults = ReadOptions()
    for option in READING:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        group = groups[option.group]
        default = getattr(defaults.names if option.owner == "AttributeNames" else defaults, option.field)
        text = option.help.replace("%(default)s", str(default))
        if option.takes is Takes.NOTHING:
            group.add_argument(option.flag, action="store_true", default=None, help=option.help)
        elif option.takes is Takes.GENE_TABLE:
            group.add_argument(option.flag, action="append", metavar=option.metavar, help=option.help)
        elif option.takes is Takes.TYPES:
            group.add_argument(option.flag, nargs="+", default=list(default), metavar=option.metavar,
                               help=option.help.replace("%(default)s", ",".join(default)))  # fmt: skip
        elif option.takes is Takes.VALUES:
            group.add_argument(option.flag, nargs="+", action="extend", default=list(default), metavar=option.metavar,
                               help=option.help)  # fmt: skip
        elif option.takes is Takes.NUMBER:
            group.add_argument(option.flag, type=float, default=default, metavar=option.metavar, help=option.help)
        elif option.takes is Takes.LAYOUT:
            group.add_argument(option.flag, choices=LAYOUT_NAMES, metavar=option.metavar, help=text)
        else:  # what is not given is None, for layouts decide it
            group.add_argument(option.flag, metavar=option.metavar, help=text)


def _add_digests(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("medians")
    group.add_argument("--exact", action=argparse.BooleanOptionalAction, default=True,
                       help="refine every median to the exact one in a second pass (default: --exact)")  # fmt: skip
    group.add_argument("--compression", type=float, default=DEFAULT_COMPRESSION, metavar="N",
                       help="compression of the t-digests, 20 to 1000: more gives larger digests and closer "
                       "estimates "
                       "(default: %(default)g)")  # fmt: skip
    group.add_argument("--stability", action="store_true",
                       help="also estimate how far each median depends on which sources are in, and whether the "
                       "corpus is large enough")  # fmt: skip


def _add_groups(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("groups of cells")
    group.add_argument("--by", action="append", metavar="COLUMN[,COLUMN]", default=[],
                       help="also write the exact medians of each group of cells that have the same values of these "
                       "attributes, such as assay, or source; say which groups stand apart, as plate-based assays do "
                       "among droplet-based ones, and what leaving them out would change")  # fmt: skip
    group.add_argument("--missing", choices=("group", "fail"), default="group",
                       help="treatment of cells without a value in a column of --by: a group of their own, or an error "
                       "(default: %(default)s)")  # fmt: skip
    group.add_argument("--digest-pickles", metavar="DIR",
                       help="also write each source's t-digests as the published procedure does, "
                       "DIR/SOURCE.gene_median_digest_dict.pickle; a folder outside the result")  # fmt: skip


def _add_catalog(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a table of a catalog")
    group.add_argument(TABLE.flag, metavar=TABLE.metavar,
                       help="also write the medians to this table, such as one of Delta or Iceberg: it is created, or "
                       "replaced if median_spark has written it, and its properties say where the medians come "
                       "from")  # fmt: skip


def _add_table_cells(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(CELLS.flag, metavar="QUERY",
                        help="take the cells for which this is true, in the syntax of pandas' query without @ and "
                        "calls, as in \"assay == 'Smart-seq2' and n_genes >= 200\"; any attribute that the expression "
                        "table has of its cells, and source")  # fmt: skip


def _add_merging(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("merging")
    group.add_argument(GENE_TABLE.flag, action="append", metavar=GENE_TABLE.metavar,
                       help="GTF, GFF3, or CSV with the columns ensembl_id and gene_type; may be given again, for "
                       "further species: the genes of the chosen types are the result's genes, others are left out; "
                       "without it, the genes that the digests hold")  # fmt: skip
    group.add_argument("--gene-types", nargs="+", default=list(DEFAULT_GENE_TYPES), metavar="TYPE",
                       help="gene types to take from the gene table, after DIGESTS or with commas between them "
                       f"(default: {','.join(DEFAULT_GENE_TYPES)})")  # fmt: skip
    group.add_argument("--compression", type=float, metavar="N",
                       help="compression of the merged t-digests, 20 to 1000 (default: the largest among the "
                       "inputs)")  # fmt: skip


def _add_dictionaries(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what may be chosen about the dictionaries, see `geneformer_options`."""
    group = parser.add_argument_group("the dictionaries that a tokenizer loads")
    group.add_argument("--tokens", choices=[",".join(layout) for layout in TOKEN_LAYOUTS],
                       default=",".join(DEFAULT_TOKENS), metavar="NAMES",
                       help="special tokens: pad,mask for models of the first series, or pad,mask,cls,eos for those of "
                       "the second (default: %(default)s)")  # fmt: skip
    group.add_argument("--min-cells", type=_at_least_one, default=1, metavar="N",
                       help="leave genes detected in fewer cells out of the dictionaries, but not out of the table of "
                       "medians "
                       "(default: %(default)s)")  # fmt: skip
    return group


def _add_factors(group: argparse._ArgumentGroup) -> argparse._ArgumentGroup:
    """Add which numbers the dictionaries have."""
    group.add_argument(FACTOR.flag, choices=FACTORS, default=FACTORS[0],
                       help="number that a gene's values are divided by: the median or the mean of its values above "
                       "zero (default: %(default)s)")  # fmt: skip
    group.add_argument(DICTIONARY_OF.flag, metavar=DICTIONARY_OF.metavar,
                       help="write dictionaries of one group of cells instead of the corpus; name a value for each "
                       "column of --by, as in \"assay=10x 3' v3,sex=female\"; nothing after = for cells without "
                       "a value")  # fmt: skip
    return group


def chosen_types(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the gene types, given one by one or with commas between them."""
    return tuple(kind for part in args.gene_types for kind in part.split(",") if kind)


def geneformer_options(args: argparse.Namespace, by: Sequence[str] = ()) -> GeneformerOptions:
    """Return what was chosen about the dictionaries; cells are grouped by some columns."""
    return GeneformerOptions(
        tokens=tuple(args.tokens.split(",")),
        min_cells=args.min_cells,
        factor=args.factor,
        dictionary_of=None if args.dictionary_of is None else parse_group(args.dictionary_of, by),
    )


def convert_options(args: argparse.Namespace) -> ConvertOptions:
    """Return the options of a conversion."""
    columns = args.cell_columns
    if columns not in {ALL_COLUMNS, NO_COLUMNS}:
        columns = tuple(filter(None, columns.split(",")))
    return ConvertOptions(on_error=args.on_error, overwrite=args.overwrite, cell_columns=columns)


def median_options(args: argparse.Namespace) -> MedianOptions:
    """Return the options of medians."""
    return MedianOptions(args.compression, args.exact, stability=args.stability)


def table_query(args: argparse.Namespace) -> CellQuery | None:
    """Return the query that chooses cells of an expression table."""
    return CellQuery(args.cells) if args.cells is not None else None


def result_options(
    args: argparse.Namespace, gene_table: GeneTable | None = None, gene_map: GeneMap | None = None
) -> ResultOptions:
    """Return what a result holds besides the medians."""
    by = tuple(name for names in args.by for name in names.split(",") if name)
    return ResultOptions(
        geneformer_options(args, by), gene_table, gene_map, by, args.missing, args.digest_pickles, args.table
    )


def _add_conversion(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("converting")
    group.add_argument("--on-error", choices=("fail", "skip"), default="fail",
                       help="at a source that cannot be converted, end the run (fail, the default), or finish the "
                       "others, report it and exit with 1 (skip)")  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="reconvert up-to-date sources")
    group.add_argument(CELL_COLUMNS.flag, default=ALL_COLUMNS, metavar="NAMES",
                       help="attributes of cells to keep in EXPRESSION/cells beside cell, n_counts and n_genes: all, "
                       "none, or names with commas between them (default: %(default)s)")  # fmt: skip


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--master", metavar="URL",
                       help="Spark master, such as local[4], spark://host:7077 or sc://host:15002 "
                       "(default: that of spark-submit, else all local cores)")  # fmt: skip
    _add_saying(group)
    _add_debug(parser)


def _add_saying(group: argparse._ArgumentGroup) -> None:
    """Add what is said, and where."""
    group.add_argument("--quiet", action="store_true", help="print errors only")
    _add_json(group)
    group.add_argument("--log-file", metavar="FILE",
                       help="append progress, warnings, errors and the summary to a file, with times, also with "
                       "--quiet")  # fmt: skip


def _add_json(group: argparse._ActionsContainer) -> None:
    group.add_argument("--json", action="store_true", help="print the summary as one JSON document, for machines")


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show tracebacks and the messages of Spark")


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
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
