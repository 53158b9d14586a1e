"""Per-gene non-zero medians of normalised expression over a whole single-cell corpus, on Spark.

The public names. Each is loaded when it is first asked for, so that a Spark worker, which only reads and digests, does
not import pyspark.
"""

from importlib import import_module

from median_spark.versions import __version__

# Nothing else is imported here: `python -m median_spark` has the current folder first on its path until `__main__` has
# taken it off, and a typing.py there would be run.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from median_spark.demo import write_demo as write_demo
    from median_spark.errors import BusyError as BusyError
    from median_spark.errors import DigestError as DigestError
    from median_spark.errors import EngineError as EngineError
    from median_spark.errors import FrameError as FrameError
    from median_spark.errors import GeneMapError as GeneMapError
    from median_spark.errors import GeneTableError as GeneTableError
    from median_spark.errors import InputError as InputError
    from median_spark.errors import MedianSparkError as MedianSparkError
    from median_spark.errors import OutputError as OutputError
    from median_spark.errors import StorageError as StorageError
    from median_spark.errors import TableError as TableError
    from median_spark.errors import UsageError as UsageError
    from median_spark.expression import FailureRecord as FailureRecord
    from median_spark.expression import SourceRecord as SourceRecord
    from median_spark.expression import remove_sources as remove_sources
    from median_spark.geneformer import DictionaryFigures as DictionaryFigures
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
    from median_spark.job_options import ConvertOptions as ConvertOptions
    from median_spark.job_options import MedianOptions as MedianOptions
    from median_spark.job_options import ResultOptions as ResultOptions
    from median_spark.matrices import AttributeNames as AttributeNames
    from median_spark.matrices import CellList as CellList
    from median_spark.matrices import CellQuery as CellQuery
    from median_spark.matrices import FoundSources as FoundSources
    from median_spark.matrices import ReadOptions as ReadOptions
    from median_spark.matrices import SourceFile as SourceFile
    from median_spark.matrices import find_sources as find_sources
    from median_spark.matrices import read_cell_list as read_cell_list
    from median_spark.merging import merge as merge
    from median_spark.progress import PlainLines as PlainLines
    from median_spark.progress import ProgressReporter as ProgressReporter
    from median_spark.progress import SilentProgress as SilentProgress
    from median_spark.report import write_report as write_report
    from median_spark.results import GeneDigests as GeneDigests
    from median_spark.results import ResultSummary as ResultSummary
    from median_spark.results import Stage as Stage
    from median_spark.results import read_medians as read_medians
    from median_spark.spark.convert.convert import ConversionSummary as ConversionSummary
    from median_spark.spark.convert.convert import convert as convert
    from median_spark.spark.dataframe.gene_medians import gene_medians as gene_medians
    from median_spark.spark.datasource.register import register_formats as register_formats
    from median_spark.spark.engine.session import spark_session as spark_session
    from median_spark.spark.medians.corpus import CorpusMedians as CorpusMedians
    from median_spark.spark.medians.corpus import table_medians as table_medians
    from median_spark.spark.medians.medians import medians as medians
    from median_spark.spark.run import RunSummary as RunSummary
    from median_spark.spark.run import run as run
    from median_spark.verification import Verification as Verification
    from median_spark.verification import verify as verify

_NAMES = {
    "demo": ("write_demo",),
    "errors": (
        "BusyError",
        "DigestError",
        "EngineError",
        "FrameError",
        "GeneMapError",
        "GeneTableError",
        "InputError",
        "MedianSparkError",
        "OutputError",
        "StorageError",
        "TableError",
        "UsageError",
    ),
    "expression": ("FailureRecord", "SourceRecord", "remove_sources"),
    "geneformer": ("DictionaryFigures", "GeneformerOptions", "check_dictionaries"),
    "genes": ("GeneMap", "GeneTable", "read_gene_map", "read_gene_table"),
    "guard": ("Limits",),
    "inspection": ("Inspection", "examine", "inspect"),
    "matrices": (
        "AttributeNames",
        "CellList",
        "CellQuery",
        "FoundSources",
        "ReadOptions",
        "SourceFile",
        "find_sources",
        "read_cell_list",
    ),
    "merging": ("merge",),
    "job_options": ("ConvertOptions", "MedianOptions", "ResultOptions"),
    "progress": ("PlainLines", "ProgressReporter", "SilentProgress"),
    "report": ("write_report",),
    "results": ("GeneDigests", "ResultSummary", "Stage", "read_medians"),
    "spark.convert.convert": ("ConversionSummary", "convert"),
    "spark.dataframe.gene_medians": ("gene_medians",),
    "spark.datasource.register": ("register_formats",),
    "spark.engine.session": ("spark_session",),
    "spark.medians.corpus": ("CorpusMedians", "table_medians"),
    "spark.medians.medians": ("medians",),
    "spark.run": ("RunSummary", "run"),
    "verification": ("Verification", "verify"),
}
"""Public names by the module that has them."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        message = f"module 'median_spark' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"median_spark.{_MODULES[name]}"), name)
