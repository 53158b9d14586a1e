"""From gene runs to crick t-digests; packing, checking and merging them.

Pure functions over numpy, Arrow and crick. Knows nothing of Spark.
"""

from median_spark.digests.build import Digest, cluster_ends, digest_values, sort_values, sorted_medians
from median_spark.digests.by_source import (
    PIECE_SCHEMA,
    Share,
    cut_shares,
    piece_table,
    read_pieces,
    work_on,
    write_piece,
)
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
from median_spark.digests.rows import ROWS_AT_ONCE, Oddity, digest_rows
from median_spark.digests.source_files import PICKLE_ENDING, DigestFiles, check_digest_folder

__all__ = [
    "DEFAULT_COMPRESSION",
    "PACKED_SCHEMA",
    "PICKLE_ENDING",
    "PIECE_SCHEMA",
    "ROWS_AT_ONCE",
    "Digest",
    "DigestFiles",
    "Oddity",
    "PickledAsCrick",
    "Share",
    "check_compression",
    "check_digest_folder",
    "check_digests",
    "cluster_ends",
    "count_sources",
    "cut_shares",
    "digest_rows",
    "digest_sweep",
    "digest_values",
    "from_crick",
    "medians_of",
    "merge_batches",
    "merge_digests",
    "pack",
    "piece_table",
    "quantiles_of",
    "rank_error",
    "read_pieces",
    "sort_values",
    "sorted_medians",
    "to_crick",
    "to_cricks",
    "unpack",
    "unpack_table",
    "work_on",
    "write_piece",
]
