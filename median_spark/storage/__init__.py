"""Paths and URIs through pyarrow.fs: finding, reading, writing whole, moving, locking.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

from median_spark.storage.locks import locked
from median_spark.storage.paths import (
    FileStat,
    canonical,
    files_below,
    is_local,
    join,
    kind,
    make_folder,
    move,
    names_in,
    read_bytes,
    remove,
    resolve,
    stat,
)
from median_spark.storage.whole import new_folder_for, publish, read_json, write_bytes, write_json, written_whole

__all__ = [
    "FileStat",
    "canonical",
    "files_below",
    "is_local",
    "join",
    "kind",
    "locked",
    "make_folder",
    "move",
    "names_in",
    "new_folder_for",
    "publish",
    "read_bytes",
    "read_json",
    "remove",
    "resolve",
    "stat",
    "write_bytes",
    "write_json",
    "written_whole",
]
