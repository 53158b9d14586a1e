"""From a DataFrame of raw counts to one of values: checked, summed, normalised, all in the JVM.

Sums of whole numbers are exact, so every reading gives the same bits. Sums of fractions are taken in ascending order
for the same reason.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from median_spark.digests import Oddity
from median_spark.errors import FrameError, counted
from median_spark.progress import ProgressReporter
from median_spark.spark.dataframe.columns import FrameColumns, changed, wrong_rows
from median_spark.spark.engine.tasks import collect

_LARGEST = 2.0**53
"""Sums of whole numbers below this are exact in float64."""

_MISTAKES: dict[str, Callable[[FrameColumns], tuple[str | None, str, str]]] = {
    "no_cell": lambda columns: (columns.cell_name, "is null", "every count must name its cell"),
    "no_source": lambda columns: (columns.source_name, "is null", "every count must name its source"),
    "fraction": lambda columns: (
        columns.value_name,
        "holds a number that is not whole",
        "counts are whole; if these are values that were normalised, leave cell_col out; if they are counts all the "
        "same, as of pseudo-alignment, accept them with allow_non_integer=True",
    ),
    "no_total": lambda columns: (columns.total_name, "is null", "every cell with counts must have its total"),
    "bad_total": lambda columns: (
        columns.total_name,
        "is not a finite number above 0",
        "a cell's total is the sum of its counts over all genes",
    ),
    "too_large": lambda columns: (
        columns.total_name,
        "is so small that count / total × target_sum is too large for float64",
        "a cell's total is the sum of its counts over all genes",
    ),
}
"""What may be wrong with a row of counts, beside what is wrong with any value: column, finding, rule."""

_OF_VALUES = (Oddity.NULL_VALUE, Oddity.NAN, Oddity.INFINITE, Oddity.NEGATIVE)

_LOOK_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        *((name, pa.int64()) for name in ("rows", "zeros", *(oddity.name for oddity in _OF_VALUES), *_MISTAKES)),
        ("sum", pa.float64()),
        ("hash", pa.int64()),
    ]
)
_STATE_SCHEMA = pa.schema([("rows", pa.int64()), ("hash", pa.int64())])
_TOTALS_SCHEMA = pa.schema([("differing", pa.int64()), ("example", pa.string()), ("short", pa.int64())])


@dataclass(frozen=True)
class CountTable:
    """The rows of a DataFrame of counts, and what a look at all of them found.

    Attributes
    ----------
    rows
        ``gene``, ``cell``, ``source`` where there is one: string; ``count`` and perhaps ``total``: double. Counts are
        above 0.
    genes
        All genes, also those whose counts are all 0; ascending.
    detected
        Genes with a count above 0.
    zeros
        Number of counts of 0.
    whole
        True if all counts are whole numbers.
    state
        Number of `rows`, and a hash that does not depend on their order.
    """

    rows: DataFrame
    genes: list[str]
    detected: frozenset[str]
    zeros: int
    whole: bool
    state: tuple[int, int]

    @property
    def cell_columns(self) -> list[str]:
        """The columns that tell cells apart."""
        return [name for name in ("source", "cell") if name in self.rows.columns]


def look_at_counts(
    frame: DataFrame,
    columns: FrameColumns,
    target_sum: float,
    progress: ProgressReporter,
    *,
    allow_non_integer: bool,
) -> CountTable:
    """Check every row of a DataFrame of counts; FrameError if there is a row that cannot be normalised."""
    named = {
        "gene": columns.gene,
        "cell": columns.cell,
        "source": columns.source,
        "count": columns.value,
        "total": columns.total,
    }
    rows = frame.select(*(column.alias(name) for name, column in named.items() if column is not None))
    found = collect(_look(rows, columns, target_sum), _LOOK_SCHEMA, "looking at counts", "look at the counts")
    _refuse_mistakes(found, columns, allow_non_integer=allow_non_integer)
    genes = sorted(found["gene"].to_pylist())
    if pc.sum(found["rows"]).as_py() == pc.sum(found["zeros"]).as_py():
        message = f"the DataFrame has no count above 0: all counts of its {counted(len(genes), 'gene')} are 0"
        raise FrameError(message)
    whole = pc.sum(found["fraction"]).as_py() == 0
    if whole and pc.sum(found["sum"]).as_py() >= _LARGEST:
        message = (
            f"the DataFrame's column '{columns.value_name}' has a sum of more than 2^53, so sums might not be exact: "
            "if these are no counts of reads or molecules, give values that are normalised, without cell_col"
        )
        raise FrameError(message)
    table = CountTable(
        rows.where(F.col("count") > 0),
        genes,
        frozenset(found.filter(pc.less(found["zeros"], found["rows"]))["gene"].to_pylist()),
        pc.sum(found["zeros"]).as_py(),
        whole,
        (
            pc.sum(found["rows"]).as_py() - pc.sum(found["zeros"]).as_py(),
            reduce(xor, found["hash"].drop_null().to_pylist()),
        ),
    )
    if columns.total is not None:
        _check_totals(table, columns, progress)
    return table


def _look(rows: DataFrame, columns: FrameColumns, target_sum: float) -> DataFrame:
    """Count the rows of each gene, and those with each mistake."""
    count, above = F.col("count"), F.col("count") > 0
    no, yes = F.lit(False), F.lit(True)
    finite = ~F.isnan(count) & (F.abs(count) < math.inf)
    total_given = columns.total is not None
    total = F.col("total") if total_given else F.lit(1.0)
    good_total = ~F.isnan(total) & (total > 0) & (total < math.inf)
    value = F.when(good_total, count / total * F.lit(float(target_sum)))
    conditions = {
        "rows": yes,
        "zeros": count == 0,
        Oddity.NULL_VALUE.name: count.isNull(),
        Oddity.NAN.name: F.isnan(count),
        Oddity.INFINITE.name: F.abs(count) == math.inf,
        Oddity.NEGATIVE.name: (count < 0) & (count > -math.inf),
        "no_cell": F.col("cell").isNull(),
        "no_source": F.col("source").isNull() if columns.source is not None else no,
        "fraction": finite & (count != F.rint(count)),
        "no_total": total.isNull() & above,
        "bad_total": ~good_total & above,
        "too_large": above & finite & (value == math.inf) if total_given else no,
    }
    return rows.groupBy("gene").agg(
        *(_number(condition).alias(name) for name, condition in conditions.items()),
        F.sum(F.when(finite, count).otherwise(0.0)).alias("sum"),
        F.bit_xor(F.when(above, F.xxhash64(*rows.columns))).alias("hash"),
    )


def refuse_changes(table: CountTable) -> None:
    """Read the counts once more; FrameError if they are not those that were looked at.

    Each pass reads a table as it is at that time. A change between two of them can alter totals, and so values, without
    altering how many values a gene has.
    """
    state = table.rows.agg(F.count("*").alias("rows"), F.bit_xor(F.xxhash64(*table.rows.columns)).alias("hash"))
    found = collect(state, _STATE_SCHEMA, "looking at counts again", "look for changes of the counts").to_pylist()[0]
    if (found["rows"], found["hash"]) != table.state:
        raise FrameError(changed(None))


def _number(condition: Column) -> Column:
    return F.sum(F.when(condition, 1).otherwise(0)).cast("long")


def _refuse_mistakes(found: pa.Table, columns: FrameColumns, *, allow_non_integer: bool) -> None:
    if not len(found):
        message = "the DataFrame has no rows: there is nothing to take a median of"
        raise FrameError(message)
    nameless = pc.sum(found.filter(pc.is_null(found["gene"]))["rows"]).as_py()
    if nameless:
        raise FrameError(columns.mistake(Oddity.NULL_GENE, nameless, None))
    for name in (*(oddity.name for oddity in _OF_VALUES), *_MISTAKES):
        rows = pc.sum(found[name]).as_py()
        if not rows or (name == "fraction" and allow_non_integer):
            continue
        gene = min(found.filter(pc.greater(found[name], 0))["gene"].to_pylist())
        if name not in _MISTAKES:
            raise FrameError(columns.mistake(Oddity[name], rows, gene))
        column, what, rule = _MISTAKES[name](columns)
        raise FrameError(wrong_rows(column, what, rows, gene, rule))


def _check_totals(table: CountTable, columns: FrameColumns, progress: ProgressReporter) -> None:
    """Refuse cells with two totals, and say how many cells have counts of more than their total."""
    least, most, counts = F.min("total"), F.max("total"), F.sum("count")
    cells = table.rows.groupBy(*table.cell_columns).agg(
        (least != most).alias("differs"), (counts > most * (1 + 1e-9)).alias("exceeds")
    )
    found = collect(
        cells.agg(
            _number(F.col("differs")).alias("differing"),
            F.min(F.when(F.col("differs"), F.col("cell"))).alias("example"),
            _number(F.col("exceeds")).alias("short"),
        ),
        _TOTALS_SCHEMA,
        "looking at totals",
        "look at the totals of cells",
    ).to_pylist()[0]
    if found["differing"]:
        message = (
            f"the DataFrame's column '{columns.total_name}' has more than one total for "
            f"{counted(found['differing'], 'cell')}, one of them '{found['example']}': a cell has one total; if "
            "cells of several sources have the same name, tell them apart with source_col"
        )
        raise FrameError(message)
    if found["short"]:
        progress.note(
            f"{counted(found['short'], 'cell')} with counts of more than their '{columns.total_name}': it may count "
            "only some of the genes, or cells of several sources may have the same name (source_col tells them apart)"
        )


def values_of_counts(table: CountTable, chosen: DataFrame | None, target_sum: float) -> DataFrame:
    """Return ``gene`` and ``value`` of the counts of chosen genes; counts of one gene and cell are summed first.

    Parameters
    ----------
    table
        Counts that were looked at.
    chosen
        ``gene``, and the ``id`` that it counts for; all genes if it is None. Totals are those of all genes.
    target_sum
        Counts that every cell is scaled to.
    """
    named = with_ids(table.rows, chosen)
    total_given = "total" in named.columns
    if total_given:
        named = named.where(F.col("id").isNotNull())
    by_cell = named.repartition(*table.cell_columns)  # one shuffle serves the sums of genes and those of cells
    summed = by_cell.groupBy(*table.cell_columns, "id").agg(
        _sum("count", whole=table.whole).alias("count"), *([F.max("total").alias("total")] if total_given else [])
    )
    if not total_given and table.whole:
        summed = summed.withColumn("total", F.sum("count").over(Window.partitionBy(*table.cell_columns)))
    elif not total_given:
        totals = by_cell.groupBy(*table.cell_columns).agg(_sum("count", whole=False).alias("total"))
        summed = summed.join(totals, table.cell_columns)
    value = F.col("count") / F.col("total") * F.lit(float(target_sum))
    return summed.where(F.col("id").isNotNull()).select(F.col("id").alias("gene"), value.alias("value"))


def with_ids(rows: DataFrame, chosen: DataFrame | None) -> DataFrame:
    """Return rows with the ``id`` that their gene counts for, null if it was not chosen."""
    if chosen is None:
        return rows.withColumn("id", F.col("gene"))
    return rows.join(chosen.hint("broadcast"), "gene", "left")


def _sum(name: str, *, whole: bool) -> Column:
    """Return an aggregate that gives the same bits whatever the order of rows."""
    if whole:
        return F.sum(name)
    return F.aggregate(F.sort_array(F.collect_list(name)), F.lit(0.0), lambda total, number: total + number)
