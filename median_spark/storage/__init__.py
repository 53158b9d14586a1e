"""Paths and URIs through pyarrow.fs: listing, reading, atomic writing, moving, locking; temporary copies of far files.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

from median_spark.storage.attempts import with_retries
from median_spark.storage.filesystems import resolve
from median_spark.storage.leases import Lease, locked
from median_spark.storage.listing import LocalFile, PassedOver, list_local, look_at
from median_spark.storage.locations import (
    canonical,
    decode_name,
    encode_name,
    fitted_name,
    has_folders,
    is_local,
    is_text,
    join,
    shown,
    without_secrets,
)
from median_spark.storage.paths import (
    FileStat,
    files_below,
    is_link,
    kind,
    make_folder,
    move_all,
    names_by_folder,
    names_in,
    read_buffer,
    read_bytes,
    read_files,
    remove,
    stat,
)
from median_spark.storage.publishing import UNFINISHED, check_exchangeable, new_folder_for, publish
from median_spark.storage.scratch import open_random, release
from median_spark.storage.writing import atomic_write, read_json, write_bytes, write_json

__all__ = [
    "UNFINISHED",
    "FileStat",
    "Lease",
    "LocalFile",
    "PassedOver",
    "atomic_write",
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
    "move_all",
    "names_by_folder",
    "names_in",
    "new_folder_for",
    "open_random",
    "publish",
    "read_buffer",
    "read_bytes",
    "read_files",
    "read_json",
    "release",
    "remove",
    "resolve",
    "shown",
    "stat",
    "with_retries",
    "without_secrets",
    "write_bytes",
    "write_json",
]
