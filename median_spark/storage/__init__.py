"""Paths and URIs through pyarrow.fs: finding, reading, writing whole, moving, locking.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

from median_spark.storage.attempts import attempted
from median_spark.storage.filesystems import resolve
from median_spark.storage.locations import canonical, has_folders, is_local, join
from median_spark.storage.locks import Right, locked
from median_spark.storage.paths import (
    FileStat,
    bring,
    files_below,
    kind,
    make_folder,
    move,
    names_by_folder,
    names_in,
    read_all,
    read_buffer,
    read_bytes,
    remove,
    stat,
)
from median_spark.storage.publishing import UNFINISHED, new_folder_for, publish
from median_spark.storage.scratch import let_go, open_random
from median_spark.storage.whole import read_json, write_bytes, write_json, written_whole

__all__ = [
    "UNFINISHED",
    "FileStat",
    "Right",
    "attempted",
    "bring",
    "canonical",
    "files_below",
    "has_folders",
    "is_local",
    "join",
    "kind",
    "let_go",
    "locked",
    "make_folder",
    "move",
    "names_by_folder",
    "names_in",
    "new_folder_for",
    "open_random",
    "publish",
    "read_all",
    "read_buffer",
    "read_bytes",
    "read_json",
    "remove",
    "resolve",
    "stat",
    "write_bytes",
    "write_json",
    "written_whole",
]
