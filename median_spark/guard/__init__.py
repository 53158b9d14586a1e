"""Running a function in a child process with limits, for reading files that may hang, crash or exhaust what reads them.

HDF5 may loop for ever, end its process or allocate any amount of memory over a damaged file, and no `except` clause
helps then. Must not know what is read, or how.
"""

from median_spark.guard.calls import Guard, LostError, end_reader, fork_no_more, read_guarded, start_reader
from median_spark.guard.child import DEFAULT_LIMITS, Kept, Limits, beat, compiling

__all__ = [
    "DEFAULT_LIMITS",
    "Guard",
    "Kept",
    "Limits",
    "LostError",
    "beat",
    "compiling",
    "end_reader",
    "fork_no_more",
    "read_guarded",
    "start_reader",
]
