"""From gene values to crick t-digests; packing, checking and merging them.

Pure functions over numpy, Arrow and crick. Knows nothing of Spark.
"""

from median_spark.digests.build import Digest as Digest
from median_spark.digests.build import digest_values as digest_values
from median_spark.digests.build import sort_values as sort_values
from median_spark.digests.by_source import PICKLE_ENDING as PICKLE_ENDING
from median_spark.digests.by_source import DigestFiles as DigestFiles
from median_spark.digests.by_source import SourceSweep as SourceSweep
from median_spark.digests.by_source import check_digest_folder as check_digest_folder
from median_spark.digests.by_source import cut_sources as cut_sources
from median_spark.digests.by_source import read_source_medians as read_source_medians
from median_spark.digests.by_source import source_medians as source_medians
from median_spark.digests.by_source import sweep_sources as sweep_sources
from median_spark.digests.by_source import write_source_medians as write_source_medians
from median_spark.digests.crick import DEFAULT_COMPRESSION as DEFAULT_COMPRESSION
from median_spark.digests.crick import PickledAsCrick as PickledAsCrick
from median_spark.digests.crick import check_compression as check_compression
from median_spark.digests.crick import check_digests as check_digests
from median_spark.digests.crick import from_crick as from_crick
from median_spark.digests.crick import medians_of as medians_of
from median_spark.digests.crick import merge_digests as merge_digests
from median_spark.digests.crick import quantiles_of as quantiles_of
from median_spark.digests.crick import rank_error as rank_error
from median_spark.digests.crick import to_cricks as to_cricks
from median_spark.digests.packed import PACKED_SCHEMA as PACKED_SCHEMA
from median_spark.digests.packed import digest_sweep as digest_sweep
from median_spark.digests.packed import merge_batches as merge_batches
from median_spark.digests.packed import merge_rows as merge_rows
from median_spark.digests.packed import unpack_table as unpack_table
from median_spark.digests.rows import ROWS_AT_ONCE as ROWS_AT_ONCE
from median_spark.digests.rows import Oddity as Oddity
from median_spark.digests.rows import digest_rows as digest_rows
from median_spark.digests.stability import FRACTIONS as FRACTIONS
from median_spark.digests.stability import Stability as Stability
from median_spark.digests.stability import deal_sources as deal_sources
from median_spark.digests.stability import merge_sketches as merge_sketches
from median_spark.digests.stability import sketch_values as sketch_values
from median_spark.digests.stability import stability_of as stability_of
