"""Per-gene non-zero medians of normalised expression over a whole single-cell corpus, on Spark.

The public names. Those that need pyspark are loaded when they are first asked for, so that a Spark worker, which only
reads and digests, does not import it.
"""

from importlib import import_module

from median_spark.versions import __version__

# Nothing else is imported here: `python -m median_spark` has the current folder first on its path until `__main__` has
# taken it off, and a typing.py there would be run.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from median_spark.demo import write_demo as write_demo
    from median_spark.errors import MedianSparkError as MedianSparkError
    from median_spark.expression import remove_sources as remove_sources
    from median_spark.geneformer import GeneformerOptions as GeneformerOptions
    from median_spark.geneformer import check_dictionaries as check_dictionaries
    from median_spark.genes import GeneMap as GeneMap
    from median_spark.genes import GeneTable as GeneTable
    from median_spark.genes import read_gene_map as read_gene_map
    from median_spark.genes import read_gene_table as read_gene_table
    from median_spark.guard import Limits as Limits
    from median_spark.inspection import Inspection as Inspection
    from median_spark.inspection import examine as examine
    from median_spark.inspection import inspect as inspect
    from median_spark.matrices import AttributeNames as AttributeNames
    from median_spark.matrices import ReadOptions as ReadOptions
    from median_spark.merging import merge as merge
    from median_spark.preparation import ConvertOptions as ConvertOptions
    from median_spark.preparation import MedianOptions as MedianOptions
    from median_spark.preparation import ResultOptions as ResultOptions
    from median_spark.report import write_report as write_report
    from median_spark.spark.convert.convert import convert as convert
    from median_spark.spark.dataframe.gene_medians import gene_medians as gene_medians
    from median_spark.spark.datasource.register import register_formats as register_formats
    from median_spark.spark.engine.session import spark_session as spark_session
    from median_spark.spark.medians.corpus import table_medians as table_medians
    from median_spark.spark.medians.medians import medians as medians
    from median_spark.spark.run import run as run
    from median_spark.verification import verify as verify


_HOME = {
    "AttributeNames": "matrices",
    "ConvertOptions": "preparation",
    "GeneMap": "genes",
    "GeneformerOptions": "geneformer",
    "GeneTable": "genes",
    "Inspection": "inspection",
    "Limits": "guard",
    "MedianSparkError": "errors",
    "MedianOptions": "preparation",
    "ReadOptions": "matrices",
    "ResultOptions": "preparation",
    "check_dictionaries": "geneformer",
    "convert": "spark.convert.convert",
    "examine": "inspection",
    "gene_medians": "spark.dataframe.gene_medians",
    "inspect": "inspection",
    "medians": "spark.medians.medians",
    "merge": "merging",
    "read_gene_map": "genes",
    "read_gene_table": "genes",
    "register_formats": "spark.datasource.register",
    "remove_sources": "expression",
    "run": "spark.run",
    "spark_session": "spark.engine.session",
    "table_medians": "spark.medians.corpus",
    "verify": "verification",
    "write_demo": "demo",
    "write_report": "report",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        message = f"module 'median_spark' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"median_spark.{_HOME[name]}"), name)
