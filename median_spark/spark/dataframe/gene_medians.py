"""The entrance to medians: of an expression table by its path, or of any Spark DataFrame of genes and values."""

import os
from collections.abc import Sequence
from typing import Any, overload

from pyspark.sql import DataFrame, SparkSession

from median_spark.errors import UsageError
from median_spark.progress import ProgressReporter
from median_spark.spark.dataframe.digests import frame_medians
from median_spark.spark.medians.medians import CorpusMedians, table_medians


@overload
def gene_medians(
    expression: str | os.PathLike[str],
    *,
    spark: SparkSession,
    compression: float = ...,
    exact: bool = ...,
    sources: Sequence[str] | None = ...,
    window_rows: int = ...,
    progress: ProgressReporter | None = ...,
) -> CorpusMedians: ...


@overload
def gene_medians(
    expression: DataFrame,
    *,
    gene_column: str = ...,
    value_column: str = ...,
    source_column: str | None = ...,
    compression: float = ...,
    exact: bool = ...,
    window_rows: int = ...,
    progress: ProgressReporter | None = ...,
) -> DataFrame: ...


def gene_medians(expression: Any, **options: Any) -> Any:
    """Compute every gene's non-zero median over an expression table, or over any Spark DataFrame.

    Parameters
    ----------
    expression : str or pyspark.sql.DataFrame
        Path or URI of an expression table: the fast way. Or a DataFrame of one row a value, from whatever Spark reads,
        such as a table of a catalog or a filtered join. Its rows may come in any order and any number of partitions.
        Values of 0 are left out, and `progress` is told how many; genes that have no other value are rows of the answer
        without a median. Whole numbers, float32 and decimals become float64.
    spark : SparkSession
        What the work on a table runs on; the answer does not depend on its size. A DataFrame brings its own.
    gene_column, value_column : str
        Of a DataFrame: the columns of genes, strings, by default ``gene``; and of values, numbers above or equal to 0,
        by default ``value``. Names are resolved as Spark does: ``a.b`` is a field of a struct.
    source_column : str, optional
        Of a DataFrame: the column that names each row's source, a string or an integer, from which ``n_sources`` is
        counted, in another reading; without it, the answer has no such column.
    compression : float
        Of the digests, 20 to 1000: twice as much halves the error and doubles their size.
    exact : bool
        Whether digests' medians are refined to exact ones, `numpy.median` of all values bit for bit. A DataFrame is
        then read twice, and must have the same rows each time.
    sources : sequence of str, optional
        Of a table: the sources to take; by default all.
    window_rows : int
        Values that a worker holds at once: of a table 48 million, 8 bytes each, beside as many again while it works on
        them; of a DataFrame 16 million, at most 40 bytes each. Exact medians do not depend on it.
    progress : ProgressReporter, optional
        Who is told how it goes.

    Returns
    -------
    CorpusMedians or pyspark.sql.DataFrame
        Of a DataFrame one row a gene, ascending, with the columns of `median_spark.results.MEDIANS_SCHEMA`. All Spark
        jobs are done when it is returned: its rows lie in its plan, and using it computes nothing again. ``gene``,
        ``median``, ``n_cells``, ``n_sources``, ``min`` and ``max`` are the same bits however rows are ordered and
        partitioned; what is read off digests is the same for the same partitions, and close otherwise.

    Raises
    ------
    UsageError
        If `expression` is neither.
    TableError
        If the table is damaged, empty, of another format version, or its sources cannot be pooled.
    FrameError
        If a column of the DataFrame is missing, ambiguous or of another type; if a gene or value is null, or a value
        NaN, infinite or negative; if there is no value above 0; or if it has other rows when it is read again.
    DigestError
        If the compression is out of range.
    EngineError
        If a Spark job fails.
    """
    if isinstance(expression, str | os.PathLike):
        return table_medians(os.fspath(expression), **options)
    if hasattr(expression, "mapInArrow") and hasattr(expression, "sparkSession"):  # classic's and Connect's differ
        return frame_medians(expression, **options)
    kind = type(expression)
    message = (
        f"gene_medians takes the path of an expression table or a Spark DataFrame, not a {kind.__module__}."
        f"{kind.__qualname__}: make it one with spark.createDataFrame(…)"
    )
    raise UsageError(message)
