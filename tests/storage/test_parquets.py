"""Reading Parquet leaves no thread behind that could still hold what is Python's when the process ends."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from median_spark.storage import read_parquet

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"], "b.c": [0.5, 1.5, 2.5]})

READING = """
import os, sys
import pyarrow as pa
from median_spark.storage import read_parquet
file = {file}
before = len(os.listdir("/proc/self/task"))
rows = len(read_parquet(file))
print(rows, before, len(os.listdir("/proc/self/task")))
"""


@pytest.fixture
def path(tmp_path):
    pq.write_table(TABLE, tmp_path / "some.parquet", row_group_size=2)
    return tmp_path / "some.parquet"


def test_columns_come_in_the_order_asked_for(path):
    content = path.read_bytes()
    assert read_parquet(content).equals(TABLE)
    assert read_parquet(pa.py_buffer(content), ["b.c", "a"]).equals(TABLE.select(["b.c", "a"]))
    assert read_parquet(pa.OSFile(str(path)), ["b"]).equals(TABLE.select(["b"]))


def test_a_column_that_is_not_there_once_is_named(path):
    with pytest.raises(pa.ArrowInvalid, match=r"one column 'd'; it has \['a', 'b', 'b.c'\]"):
        read_parquet(path.read_bytes(), ["a", "d"])
    pq.write_table(pa.table([[1], [2], [3]], names=["a", "b", "a"]), path)
    assert read_parquet(path.read_bytes(), ["b"])["b"].to_pylist() == [2]
    assert len(read_parquet(path.read_bytes()).columns) == 3
    with pytest.raises(pa.ArrowInvalid, match=r"one column 'a'; it has \['a', 'b', 'a'\]"):
        read_parquet(path.read_bytes(), ["a"])


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of a process in /proc")
@pytest.mark.parametrize("file", ["open(sys.argv[1], 'rb').read()", "pa.PythonFile(open(sys.argv[1], 'rb'), 'r')"])
def test_no_thread_is_left(path, file):
    # Where pyarrow's own read_table was used, a half of such processes were aborted at their end on a busy machine.
    ran = subprocess.run(
        [sys.executable, "-c", READING.format(file=file), str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    rows, before, after = map(int, ran.stdout.split())
    assert rows == 3
    assert after == before
