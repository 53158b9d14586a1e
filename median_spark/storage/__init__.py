"""Paths and URIs through pyarrow.fs: finding, reading, writing whole, moving, locking.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

from median_spark.storage.atomic_write import read_json, write_bytes, write_json, written_whole
from median_spark.storage.attempts import attempted
from median_spark.storage.filesystems import resolve
from median_spark.storage.listing import Listing, LocalFile, PassedOver, list_local, look_at
from median_spark.storage.locations import canonical, has_folders, is_local, join, without_secrets
from median_spark.storage.locks import Lease, locked
from median_spark.storage.names import decode_name, encode_name, fitted_name, is_text, shown
from median_spark.storage.paths import (
    FileStat,
    files_below,
    is_link,
    kind,
    make_folder,
    move,
    move_all,
    names_by_folder,
    names_in,
    read_all,
    read_buffer,
    read_bytes,
    remove,
    stat,
)
from median_spark.storage.publishing import UNFINISHED, check_exchangeable, new_folder_for, publish
from median_spark.storage.scratch import open_random, release

__all__ = [
    "UNFINISHED",
    "FileStat",
    "Lease",
    "Listing",
    "LocalFile",
    "PassedOver",
    "attempted",
    "canonical",
    "check_exchangeable",
    "decode_name",
    "encode_name",
    "files_below",
    "fitted_name",
    "has_folders",
    "is_link",
    "is_local",
    "is_text",
    "join",
    "kind",
    "list_local",
    "locked",
    "look_at",
    "make_folder",
    "move",
    "move_all",
    "names_by_folder",
    "names_in",
    "new_folder_for",
    "open_random",
    "publish",
    "read_all",
    "read_buffer",
    "read_bytes",
    "read_json",
    "release",
    "remove",
    "resolve",
    "shown",
    "stat",
    "without_secrets",
    "write_bytes",
    "write_json",
    "written_whole",
]
