"""The expression table: its schema and folders, writing and committing sources, planning and reading tasks.

    EXPRESSION/values/source=<url-encoded name>/part-*.parquet    gene: string, cell: string, value: double
    EXPRESSION/cells/source=<url-encoded name>/part-*.parquet     cell, n_counts, n_genes and the matrix's attributes
    EXPRESSION/sources/<number>-<token>.jsonl                     records, written last: the commit of their sources
    EXPRESSION/genes/<fingerprint>.parquet                        the gene universe of sources, each stored once
    EXPRESSION/failed/<url-encoded name>.json                     why a source could not be converted
    EXPRESSION/staging/                                           parts of sources that are not yet committed

A file of values or cells that no source's record lists does not exist.
"""

from median_spark.expression.batches import SMALL_BYTES as SMALL_BYTES
from median_spark.expression.batches import LookedAt as LookedAt
from median_spark.expression.batches import Looking as Looking
from median_spark.expression.batches import WantedSource as WantedSource
from median_spark.expression.batches import stage_batch as stage_batch
from median_spark.expression.cell_groups import CellGroups as CellGroups
from median_spark.expression.cells import read_cells as read_cells
from median_spark.expression.grouping import Group as Group
from median_spark.expression.grouping import GroupFigures as GroupFigures
from median_spark.expression.grouping import Grouping as Grouping
from median_spark.expression.grouping import all_cells as all_cells
from median_spark.expression.heads import SourceHead as SourceHead
from median_spark.expression.known_columns import SOURCE as SOURCE
from median_spark.expression.known_columns import Columns as Columns
from median_spark.expression.known_columns import check_columns as check_columns
from median_spark.expression.opening import check_target as check_target
from median_spark.expression.opening import create_table as create_table
from median_spark.expression.opening import open_table as open_table
from median_spark.expression.opening import remove_sources as remove_sources
from median_spark.expression.parts import GENE_VALUE_COLUMNS as GENE_VALUE_COLUMNS
from median_spark.expression.parts import VALUES_SCHEMA as VALUES_SCHEMA
from median_spark.expression.parts import CellsEntry as CellsEntry
from median_spark.expression.parts import PartEntry as PartEntry
from median_spark.expression.parts import PartReader as PartReader
from median_spark.expression.parts import RowGroup as RowGroup
from median_spark.expression.parts import write_cells as write_cells
from median_spark.expression.parts import write_part as write_part
from median_spark.expression.plan import WINDOW_ROWS as WINDOW_ROWS
from median_spark.expression.plan import SweepPlan as SweepPlan
from median_spark.expression.plan import plan_source as plan_source
from median_spark.expression.plan import plan_sweeps as plan_sweeps
from median_spark.expression.plan import rows_at_once as rows_at_once
from median_spark.expression.pooling import naming_changes as naming_changes
from median_spark.expression.pooling import repeated_cells as repeated_cells
from median_spark.expression.pooling import require_uniform as require_uniform
from median_spark.expression.records import FORMAT_VERSION as FORMAT_VERSION
from median_spark.expression.records import FailureRecord as FailureRecord
from median_spark.expression.records import SourceRecord as SourceRecord
from median_spark.expression.records import UnitRecord as UnitRecord
from median_spark.expression.staging import Staging as Staging
from median_spark.expression.staging import change_of as change_of
from median_spark.expression.staging import reason_of as reason_of
from median_spark.expression.staging import slow_marker as slow_marker
from median_spark.expression.staging import stage_unit as stage_unit
from median_spark.expression.sweep import GeneBlock as GeneBlock
from median_spark.expression.sweep import PartBlock as PartBlock
from median_spark.expression.sweep import binary_array as binary_array
from median_spark.expression.sweep import runs_in_order as runs_in_order
from median_spark.expression.sweep import sweep as sweep
from median_spark.expression.sweep import sweep_parts as sweep_parts
from median_spark.expression.table import ExpressionTable as ExpressionTable
from median_spark.expression.table import StagedSource as StagedSource
from median_spark.expression.table import committed_name as committed_name
from median_spark.expression.table import conversion_fingerprint as conversion_fingerprint
from median_spark.expression.taking import group_cells as group_cells
