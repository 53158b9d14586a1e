"""Paths and URIs through pyarrow.fs: listing, reading, atomic writing, moving, locking; temporary copies of far files.

Knows nothing of genes or matrices. Every function takes a plain path or a URI as a string, so that it can travel to
a Spark worker as it is.
"""

from median_spark.storage.attempts import with_retries as with_retries
from median_spark.storage.converted import ScratchWriter as ScratchWriter
from median_spark.storage.converted import open_converted as open_converted
from median_spark.storage.converted import scratch_writer as scratch_writer
from median_spark.storage.filesystems import resolve as resolve
from median_spark.storage.gzipped import ForwardStream as ForwardStream
from median_spark.storage.gzipped import open_forward as open_forward
from median_spark.storage.leases import Lease as Lease
from median_spark.storage.leases import locked as locked
from median_spark.storage.listing import LocalFile as LocalFile
from median_spark.storage.listing import PassedOver as PassedOver
from median_spark.storage.listing import list_local as list_local
from median_spark.storage.listing import look_at as look_at
from median_spark.storage.locations import canonical as canonical
from median_spark.storage.locations import decode_name as decode_name
from median_spark.storage.locations import encode_name as encode_name
from median_spark.storage.locations import fitted_name as fitted_name
from median_spark.storage.locations import has_folders as has_folders
from median_spark.storage.locations import is_local as is_local
from median_spark.storage.locations import is_text as is_text
from median_spark.storage.locations import join as join
from median_spark.storage.locations import shown as shown
from median_spark.storage.locations import without_secrets as without_secrets
from median_spark.storage.paths import FileStat as FileStat
from median_spark.storage.paths import files_below as files_below
from median_spark.storage.paths import folder_stat as folder_stat
from median_spark.storage.paths import is_link as is_link
from median_spark.storage.paths import joint_stat as joint_stat
from median_spark.storage.paths import kind as kind
from median_spark.storage.paths import make_folder as make_folder
from median_spark.storage.paths import move_all as move_all
from median_spark.storage.paths import names_by_folder as names_by_folder
from median_spark.storage.paths import names_in as names_in
from median_spark.storage.paths import read_buffer as read_buffer
from median_spark.storage.paths import read_bytes as read_bytes
from median_spark.storage.paths import read_files as read_files
from median_spark.storage.paths import read_range as read_range
from median_spark.storage.paths import remove as remove
from median_spark.storage.paths import stat as stat
from median_spark.storage.publishing import UNFINISHED as UNFINISHED
from median_spark.storage.publishing import check_exchangeable as check_exchangeable
from median_spark.storage.publishing import new_folder_for as new_folder_for
from median_spark.storage.publishing import publish as publish
from median_spark.storage.random_access import is_plain_file as is_plain_file
from median_spark.storage.random_access import open_random as open_random
from median_spark.storage.random_access import release as release
from median_spark.storage.scratch import ScratchFile as ScratchFile
from median_spark.storage.writing import atomic_write as atomic_write
from median_spark.storage.writing import read_json as read_json
from median_spark.storage.writing import sync_files as sync_files
from median_spark.storage.writing import write_bytes as write_bytes
from median_spark.storage.writing import write_json as write_json
