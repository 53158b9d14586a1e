"""Groups of arguments that several commands share."""

import argparse

from median_spark.digests import DEFAULT_COMPRESSION
from median_spark.geneformer import DEFAULT_TOKENS, FACTORS, TOKEN_LAYOUTS
from median_spark.genes import DEFAULT_GENE_TYPES
from median_spark.matrices import ALL_COLUMNS, ReadOptions
from median_spark.matrices.known_layouts import LAYOUT_NAMES
from median_spark.options import CELL_COLUMNS, CELLS, DICTIONARY_OF, FACTOR, GENE_TABLE, READING, TABLE, Takes


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading matrices, as `options.READING` declares them."""
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


def add_table_cells(parser: argparse.ArgumentParser) -> None:
    """Add what chooses cells of an expression table."""
    parser.add_argument(CELLS.flag, metavar="QUERY",
                        help="take the cells for which this is true, in the syntax of pandas' query without @ and "
                        "calls, as in \"assay == 'Smart-seq2' and n_genes >= 200\"; any attribute that the expression "
                        "table has of its cells, and source")  # fmt: skip


def add_digests(parser: argparse.ArgumentParser) -> None:
    """Add how medians are computed."""
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


def add_groups(parser: argparse.ArgumentParser) -> None:
    """Add which groups of cells have medians of their own, and what is written of sources."""
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


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """Add the table of a catalog that medians are written to."""
    group = parser.add_argument_group("a table of a catalog")
    group.add_argument(TABLE.flag, metavar=TABLE.metavar,
                       help="also write the medians to this table, such as one of Delta or Iceberg: it is created, or "
                       "replaced if median_spark has written it, and its properties say where the medians come "
                       "from")  # fmt: skip


def add_merging(parser: argparse.ArgumentParser) -> None:
    """Add which genes are merged, and how closely."""
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


def add_dictionaries(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what may be chosen about the dictionaries, see `geneformer_options`."""
    group = parser.add_argument_group("the dictionaries that a tokenizer loads")
    group.add_argument("--tokens", choices=[",".join(layout) for layout in TOKEN_LAYOUTS],
                       default=",".join(DEFAULT_TOKENS), metavar="NAMES",
                       help="special tokens: pad,mask for models of the first series, or pad,mask,cls,eos for those of "
                       "the second (default: %(default)s)")  # fmt: skip
    group.add_argument("--min-cells", type=at_least_one, default=1, metavar="N",
                       help="leave genes detected in fewer cells out of the dictionaries, but not out of the table of "
                       "medians "
                       "(default: %(default)s)")  # fmt: skip
    return group


def add_factors(group: argparse._ArgumentGroup) -> argparse._ArgumentGroup:
    """Add which numbers the dictionaries have."""
    group.add_argument(FACTOR.flag, choices=FACTORS, default=FACTORS[0],
                       help="number that a gene's values are divided by: the median or the mean of its values above "
                       "zero (default: %(default)s)")  # fmt: skip
    group.add_argument(DICTIONARY_OF.flag, metavar=DICTIONARY_OF.metavar,
                       help="write dictionaries of one group of cells instead of the corpus; name a value for each "
                       "column of --by, as in \"assay=10x 3' v3,sex=female\"; nothing after = for cells without "
                       "a value")  # fmt: skip
    return group


def add_conversion(parser: argparse.ArgumentParser) -> None:
    """Add what a conversion does with failures, earlier results and attributes of cells."""
    group = parser.add_argument_group("converting")
    group.add_argument("--on-error", choices=("fail", "skip"), default="fail",
                       help="at a source that cannot be converted, end the run (fail, the default), or finish the "
                       "others, report it and exit with 1 (skip)")  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="reconvert up-to-date sources")
    group.add_argument(CELL_COLUMNS.flag, default=ALL_COLUMNS, metavar="NAMES",
                       help="attributes of cells to keep in EXPRESSION/cells beside cell, n_counts and n_genes: all, "
                       "none, or names with commas between them (default: %(default)s)")  # fmt: skip


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add where the command runs, and what it says."""
    group = parser.add_argument_group("running")
    group.add_argument("--master", metavar="URL",
                       help="Spark master, such as local[4], spark://host:7077 or sc://host:15002 "
                       "(default: that of spark-submit, else all local cores)")  # fmt: skip
    add_saying(group)
    add_debug(parser)


def add_saying(group: argparse._ArgumentGroup) -> None:
    """Add what is said, and where."""
    group.add_argument("--quiet", action="store_true", help="print errors only")
    add_json(group)
    group.add_argument("--log-file", metavar="FILE",
                       help="append progress, warnings, errors and the summary to a file, with times, also with "
                       "--quiet")  # fmt: skip


def add_json(group: argparse._ActionsContainer) -> None:
    """Add the summary for machines."""
    group.add_argument("--json", action="store_true", help="print the summary as one JSON document, for machines")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add what developers see."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks and the messages of Spark")


def at_least_one(text: str) -> int:
    """Return a whole number of at least 1.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is none.
    """
    if not text.isdecimal() or int(text) < 1:
        message = f"it must be a whole number of at least 1, not '{text}'"
        raise argparse.ArgumentTypeError(message)
    return int(text)
