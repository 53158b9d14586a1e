"""What was chosen on the command line, as options of the library."""

import argparse
from collections.abc import Sequence

from median_spark.geneformer import GeneformerOptions, parse_group
from median_spark.genes import GeneMap, GeneTable
from median_spark.job_options import ConvertOptions, MedianOptions, ResultOptions
from median_spark.matrices import ALL_COLUMNS, NO_COLUMNS, CellQuery, ReadOptions
from median_spark.matrices.options import read_options_of
from median_spark.options import READING


def read_options(args: argparse.Namespace) -> ReadOptions:
    """Return the options for reading matrices; a gene table and a gene map are read."""
    values = {option.name: getattr(args, option.name) for option in READING}
    return read_options_of(
        values | {"gene_types": chosen_types(args), "filter_value": tuple(args.filter_value) or None}
    )


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
