"""Reading count matrices into GeneValues; see `median_spark.matrices.formats` for what a format is."""

from median_spark.matrices.cell_columns import (
    ALL_COLUMNS,
    CELL_SCHEMA,
    NO_COLUMNS,
    CellColumns,
    KeptColumns,
    check_cell_columns,
)
from median_spark.matrices.cell_list import CellList, read_cell_list
from median_spark.matrices.cell_query import CellQuery
from median_spark.matrices.contract import CountMatrix, Entries
from median_spark.matrices.equal_files import equal_contents
from median_spark.matrices.formats import ENDINGS, FORMATS, Format, matrix_at, matrix_stat, open_matrix
from median_spark.matrices.layouts import AppliedLayout, current, open_source
from median_spark.matrices.options import AttributeNames, ReadOptions
from median_spark.matrices.outline import UNIT_ENTRIES, SourceOutline, outline, outline_and_values, outline_of
from median_spark.matrices.sources import FoundSources, SourceFile, find_sources
from median_spark.matrices.units import Unit, read_unit, select_rows, values_of

__all__ = [
    "ALL_COLUMNS",
    "CELL_SCHEMA",
    "ENDINGS",
    "FORMATS",
    "NO_COLUMNS",
    "UNIT_ENTRIES",
    "AppliedLayout",
    "AttributeNames",
    "CellColumns",
    "CellList",
    "CellQuery",
    "CountMatrix",
    "Entries",
    "Format",
    "FoundSources",
    "KeptColumns",
    "ReadOptions",
    "SourceFile",
    "SourceOutline",
    "Unit",
    "check_cell_columns",
    "current",
    "equal_contents",
    "find_sources",
    "matrix_at",
    "matrix_stat",
    "open_matrix",
    "open_source",
    "outline",
    "outline_and_values",
    "outline_of",
    "read_cell_list",
    "read_unit",
    "select_rows",
    "values_of",
]
