"""The expression table: its schema and folders, writing and committing sources, planning and reading tasks.

    EXPRESSION/values/source=<url-encoded name>/part-*.parquet    gene: string, cell: string, value: double
    EXPRESSION/sources/<url-encoded name>.json                    written last: the commit of that source
    EXPRESSION/genes/<fingerprint>.parquet                        the gene universe of sources, each stored once
    EXPRESSION/failed/<url-encoded name>.json                     why a source could not be converted
    EXPRESSION/staging/                                           parts of sources that are not yet committed

A part that no source's JSON lists does not exist.
"""

from median_spark.expression.opening import check_target, create_table, open_table, remove_sources
from median_spark.expression.parts import (
    GENE_VALUE_COLUMNS,
    VALUES_SCHEMA,
    PartEntry,
    PartReader,
    RowGroup,
    write_part,
)
from median_spark.expression.plan import WINDOW_ROWS, SweepPlan, plan_source, plan_sweeps, rows_at_once
from median_spark.expression.pooling import naming_changes, require_uniform
from median_spark.expression.records import FORMAT_VERSION, FailureRecord, SourceRecord, UnitRecord
from median_spark.expression.staging import Staging, reason_of, stage_unit, told_if_slow
from median_spark.expression.sweep import GeneBlock, sweep
from median_spark.expression.table import ExpressionTable, committed_name, conversion_fingerprint

__all__ = [
    "FORMAT_VERSION",
    "GENE_VALUE_COLUMNS",
    "VALUES_SCHEMA",
    "WINDOW_ROWS",
    "ExpressionTable",
    "FailureRecord",
    "GeneBlock",
    "PartEntry",
    "PartReader",
    "RowGroup",
    "SourceRecord",
    "Staging",
    "SweepPlan",
    "UnitRecord",
    "check_target",
    "committed_name",
    "conversion_fingerprint",
    "create_table",
    "naming_changes",
    "open_table",
    "plan_source",
    "plan_sweeps",
    "reason_of",
    "remove_sources",
    "require_uniform",
    "rows_at_once",
    "stage_unit",
    "sweep",
    "told_if_slow",
    "write_part",
]
