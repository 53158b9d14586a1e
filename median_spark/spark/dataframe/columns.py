"""The columns of a DataFrame that medians are made of: found by name, checked by type, and what is wrong with them.

Knows nothing of what is computed from them.
"""

from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from median_spark.digests import Oddity
from median_spark.errors import FrameError, counted, listed

_TEXT = ("string", "char", "varchar")
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = ("double", "float", "decimal", *_WHOLE)

_FINITE = "values must be finite, and 0 or more"
_MISTAKES = {
    Oddity.NULL_GENE: ("is null", "every row must name its gene"),
    Oddity.NULL_VALUE: ("is null", "where a gene is not detected, its value is 0 or there is no row"),
    Oddity.NAN: ("holds NaN", _FINITE),
    Oddity.INFINITE: ("holds an infinite number", _FINITE),
    Oddity.NEGATIVE: ("holds a negative number", "values are counts per target sum, not logarithms or scores"),
}


@dataclass(frozen=True)
class FrameColumns:
    """The columns as string, double and string, and the names by which the caller knows them."""

    gene: Column
    value: Column
    source: Column | None
    gene_name: str
    value_name: str
    source_name: str | None
    cell: Column | None = None
    cell_name: str | None = None
    total: Column | None = None
    total_name: str | None = None

    def mistake(self, oddity: Oddity, rows: int, gene: str | None) -> str:
        """Return what is wrong with rows that cannot be digested."""
        found, rule = _MISTAKES[oddity]
        name = self.gene_name if oddity is Oddity.NULL_GENE else self.value_name
        return wrong_rows(
            name, found, rows, gene, f"{rule}: leave these rows out, as with frame.where(…), or correct them"
        )

    def without_source(self, gene: str) -> str:
        """Return that a row does not say where it comes from."""
        return (
            f"the DataFrame's column '{self.source_name}' is null in rows of gene '{gene}': every row must name its "
            "source; or leave source_col out, and sources are not counted"
        )


def wrong_rows(column: str | None, found: str, rows: int, gene: str | None, remedy: str) -> str:
    """Return what is wrong with rows, naming the column and one of their genes."""
    example = "" if gene is None else f", one of them of gene '{gene}'"
    return f"the DataFrame's column '{column}' {found} in {counted(rows, 'row')}{example}: {remedy}"


def changed(gene: str | None) -> str:
    """Return the sentence for a DataFrame that has other rows, perhaps of a certain gene, when it is read again."""
    rows, once = "other rows", ""
    if gene is not None:
        rows, once = f"other rows of gene '{gene}'", ", or take exact=False and no source_col, to read it once"
    return (
        f"the DataFrame has {rows} when it is read again, as one does that is sampled, limited or drawn at random, or "
        "whose table is written to meanwhile: read one version of the table (versionAsOf in Delta and Iceberg), write "
        f"the rows to a table first{once}"
    )


def find_columns(
    frame: DataFrame, gene: str, value: str, source: str | None, cell: str | None = None, total: str | None = None
) -> FrameColumns:
    """Find the columns by name, as Spark does: fields of structs by ``a.b``, capitals as the session says."""

    def named(option: str, name: str | None, wanted: str) -> Column | None:
        return None if name is None else _column(frame, option, name, (*_TEXT, *_WHOLE), wanted).cast("string")

    return FrameColumns(
        gene=_column(frame, "gene_col", gene, _TEXT, "genes are strings").cast("string"),
        value=_column(frame, "value_col", value, _NUMBERS, "values are numbers").cast("double"),
        source=named("source_col", source, "sources are strings or integers"),
        gene_name=gene,
        value_name=value,
        source_name=source,
        cell=named("cell_col", cell, "cells are strings or integers"),
        cell_name=cell,
        total=None
        if total is None
        else _column(frame, "total_col", total, _NUMBERS, "totals are numbers").cast("double"),
        total_name=total,
    )


def _column(frame: DataFrame, option: str, name: str, kinds: tuple[str, ...], wanted: str) -> Column:
    names = frame.columns  # where the frame itself is wrong, Spark's own error comes from here
    trouble: AnalysisException | None = None
    for spelled in (name, f"`{name}`"):  # a dot may part a struct from its field, or be part of a name
        try:
            column = F.col(spelled)
            kind = frame.select(column).schema[0].dataType.simpleString()
        except AnalysisException as error:
            trouble = trouble or error
            continue
        if kind.split("(")[0].split(" ")[0] not in kinds:
            message = (
                f"the DataFrame's column '{name}' holds {kind}, and {wanted}: name another with {option}, or cast it"
            )
            raise FrameError(message)
        return column
    if "AMBIGUOUS" in str(trouble):
        message = f"the DataFrame has several columns '{name}': rename or drop those that are not meant"
    else:
        message = f"the DataFrame has no column '{name}'; it has {listed(names, 10)}: name the right one with {option}"
    raise FrameError(message) from trouble
