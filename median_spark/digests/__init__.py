"""From gene values to crick t-digests; packing, checking and merging them.

Pure functions over numpy, Arrow and crick. Knows nothing of Spark.
"""

from median_spark.digests.build import Digest as Digest
from median_spark.digests.build import DigestColumns as DigestColumns
from median_spark.digests.build import digest_values as digest_values
from median_spark.digests.build import sort_values as sort_values
from median_spark.digests.crick import DEFAULT_COMPRESSION as DEFAULT_COMPRESSION
from median_spark.digests.crick import check_compression as check_compression
from median_spark.digests.crick import check_digests as check_digests
from median_spark.digests.crick import medians_of as medians_of
from median_spark.digests.crick import merge_runs as merge_runs
from median_spark.digests.crick import pickled_as_cricks as pickled_as_cricks
from median_spark.digests.crick import quantiles_of as quantiles_of
from median_spark.digests.crick import rank_error as rank_error
from median_spark.digests.files import PICKLE_ENDING as PICKLE_ENDING
from median_spark.digests.files import DigestFiles as DigestFiles
from median_spark.digests.files import check_digest_folder as check_digest_folder
from median_spark.digests.files import digest_sources as digest_sources
from median_spark.digests.files import tasks_of_sources as tasks_of_sources
from median_spark.digests.grouped import GROUP_MEDIANS_SCHEMA as GROUP_MEDIANS_SCHEMA
from median_spark.digests.grouped import GroupsOfSweep as GroupsOfSweep
from median_spark.digests.grouped import GroupWork as GroupWork
from median_spark.digests.grouped import gene_and_group as gene_and_group
from median_spark.digests.grouped import group_medians as group_medians
from median_spark.digests.grouped import group_works as group_works
from median_spark.digests.grouped import in_order_of_groups as in_order_of_groups
from median_spark.digests.grouped import read_group_medians as read_group_medians
from median_spark.digests.grouped import write_group_medians as write_group_medians
from median_spark.digests.packed import PACKED_SCHEMA as PACKED_SCHEMA
from median_spark.digests.packed import digest_sweep as digest_sweep
from median_spark.digests.packed import merge_batches as merge_batches
from median_spark.digests.packed import unpack_table as unpack_table
from median_spark.digests.rows import ROWS_AT_ONCE as ROWS_AT_ONCE
from median_spark.digests.rows import Oddity as Oddity
from median_spark.digests.rows import digest_rows as digest_rows
from median_spark.digests.stability import FRACTIONS as FRACTIONS
from median_spark.digests.stability import Stability as Stability
from median_spark.digests.stability import UInt8s as UInt8s
from median_spark.digests.stability import deal_sources as deal_sources
from median_spark.digests.stability import merge_sketches as merge_sketches
from median_spark.digests.stability import number_of as number_of
from median_spark.digests.stability import sketch_values as sketch_values
from median_spark.digests.stability import stability_of as stability_of
