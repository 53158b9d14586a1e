"""From gene runs to crick t-digests; packing, checking and merging them.

Pure functions over numpy, Arrow and crick. Knows nothing of Spark.
"""

from median_spark.digests.build import Digest, cluster_ends, digest_runs, sort_runs, sorted_medians
from median_spark.digests.merge import (
    DEFAULT_COMPRESSION,
    PickledAsCrick,
    check_compression,
    check_digests,
    from_crick,
    medians_of,
    merge_digests,
    quantiles_of,
    rank_error,
    to_crick,
    to_cricks,
)
from median_spark.digests.packed import (
    PACKED_SCHEMA,
    count_sources,
    digest_sweep,
    merge_batches,
    pack,
    unpack,
    unpack_table,
)

__all__ = [
    "DEFAULT_COMPRESSION",
    "PACKED_SCHEMA",
    "Digest",
    "PickledAsCrick",
    "check_compression",
    "check_digests",
    "cluster_ends",
    "count_sources",
    "digest_runs",
    "digest_sweep",
    "from_crick",
    "medians_of",
    "merge_batches",
    "merge_digests",
    "pack",
    "quantiles_of",
    "rank_error",
    "sort_runs",
    "sorted_medians",
    "to_crick",
    "to_cricks",
    "unpack",
    "unpack_table",
]
