"""``spark.read.format("loom")`` and ``format("h5ad")``: one call that makes them known to a session.

The data sources themselves need Spark 4 and live in `formats`, which this loads only when it is called.
"""

import pyspark
from pyspark.sql import SparkSession

from median_spark.errors import EngineError


def register_formats(spark: SparkSession) -> None:
    """Let a session read matrices as DataFrames: ``spark.read.format("loom").load(path)``, and ``"h5ad"`` likewise.

    A DataFrame has a row for every value that `median_spark.convert` would write: ``gene`` and ``cell`` (string),
    ``value`` (double, counts per target sum) and ``source`` (string, the file's path below what was loaded, without
    suffix). Nothing is read before an action asks for rows; then tasks read ranges of cells side by side.

    Parameters
    ----------
    spark : SparkSession
        Session of Spark 4 or newer, classic or Connect; its Python workers must have this package.

    Raises
    ------
    EngineError
        If this Spark has no Python data sources.

    Notes
    -----
    A path is that of a file, of a folder that is searched at any depth, or a pattern such as
    ``/data/corpus/*/study?.loom``; a list of them may be loaded at once. Reader options are named as those of the
    command line, with or without dashes: ``.option("gene_table", "genes.csv").option("no_cell_filter", True)``; see
    `median_spark.spark.datasource.options.OPTIONS`. ``.schema("gene string, value double")`` leaves the other
    columns out.

    Examples
    --------
    >>> from pathlib import Path
    >>> import median_spark
    >>> median_spark.register_formats(spark)
    >>> looms = spark.read.format("loom").option("compute_n_counts", True).load(str(Path("corpus").resolve()))
    >>> looms.columns
    ['gene', 'cell', 'value', 'source']
    """
    try:
        from median_spark.spark.datasource.matrices import DATA_SOURCES
    except ModuleNotFoundError as error:
        if error.name != "pyspark.sql.datasource":
            raise
        message = (
            f"pyspark {pyspark.__version__} cannot read matrices as a format: Spark 4 or newer is needed; on this one, "
            "use median_spark.convert and spark.read.parquet('EXPRESSION/values')"
        )
        raise EngineError(message) from error
    for data_source in DATA_SOURCES:
        spark.dataSource.register(data_source)
