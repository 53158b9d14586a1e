"""Reading Parquet without threads that outlive the reading."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(file: pa.NativeFile | pa.Buffer | bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some of its columns in the order that is given; ArrowInvalid if one is not there once.

    All of it happens in the thread that calls. Threads of pyarrow's `read_table` and of its datasets let go of what
    they have read only some time later; if that is memory or a file of Python's, and the process has reached its end by
    then, they abort it: "terminate called without an active exception".
    """
    stream = file if isinstance(file, pa.NativeFile) else pa.BufferReader(file)
    with pq.ParquetFile(stream, pre_buffer=False) as opened:
        if columns is None:
            return opened.read(use_threads=False)
        names = opened.schema_arrow.names
        wrong = [name for name in columns if names.count(name) != 1]
        if wrong:
            message = f"it must have one column '{wrong[0]}'; it has {names}"
            raise pa.ArrowInvalid(message)
        return opened.read(columns, use_threads=False).select(columns)
