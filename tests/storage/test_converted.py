"""Copies in another form: made once per machine, gone with the processes that hold them; gzip that is damaged."""

import gzip
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, open_matrix
from median_spark.storage import converted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process makes a copy of its own")

HOLDING = """
import os, sys, time
from median_spark import storage
from median_spark.storage import converted
converted.SHARED_BYTES = 0
made = []
write = converted.ScratchWriter.append
def append(self, content):
    made.append(len(content))
    write(self, content)
    if len(sys.argv) > 2:
        print("halfway", flush=True)
        time.sleep(float(sys.argv[2]))
converted.ScratchWriter.append = append
with storage.open_random(sys.argv[1]) as file:
    print(file.size(), "made" if made else "found", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def scratch_folder(tmp_path, monkeypatch):
    """A scratch folder of the test's own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    monkeypatch.setattr(converted, "SHARED_BYTES", 0)
    yield folder
    storage.release("")
    assert list(folder.iterdir()) == []


@pytest.fixture
def zipped(tmp_path):
    path = tmp_path / "study.loom.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 100))
    return str(path)


def holding(location, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, location, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout


def held_copies():
    """The copies that this process has open."""
    names = [str(Path(one.path).readlink()) for one in os.scandir("/proc/self/fd") if os.path.lexists(one.path)]
    return [name for name in names if re.search(r"/median-spark-[0-9a-f]{32}-\d+ \(deleted\)$", name)]


class TestCopies:
    def test_it_is_read_at_any_place(self, zipped):
        content = bytes(range(256)) * 100
        with storage.open_random(zipped) as file:
            assert file.size() == len(content)
            assert file.read_at(10, 250) == content[250:260]
            assert file.read_at(10, len(content) - 3) == content[-3:]
            assert file.seek(-4, os.SEEK_END) == len(content) - 4
            assert file.read() == content[-4:]

    def test_it_is_made_once_for_this_process_and_freed_when_another_is_opened(self, zipped, tmp_path):
        for _ in range(3):
            storage.open_random(zipped).close()
        (first,) = held_copies()
        other = tmp_path / "other.loom.gz"
        other.write_bytes(gzip.compress(b"123"))
        storage.open_random(str(other)).close()
        assert len(held_copies()) == 1
        assert held_copies() != [first]
        storage.release(str(other))
        assert held_copies() == []

    def test_a_changed_file_is_decompressed_again(self, zipped):
        storage.open_random(zipped).close()
        Path(zipped).write_bytes(gzip.compress(b"123"))
        with storage.open_random(zipped) as file:
            assert file.read() == b"123"

    def test_another_process_finds_it(self, zipped):
        storage.open_random(zipped).close()
        process, said = holding(zipped)
        assert said.readline() == "25600 found\n"
        storage.release(zipped)
        again, said_again = holding(zipped)
        assert said_again.readline() == "25600 found\n", "the other process holds it now"
        for one in (process, again):
            one.communicate("\n")

    def test_another_process_waits_until_it_is_complete(self, zipped):
        maker, said = holding(zipped, "0.5")
        assert said.readline() == "halfway\n"
        with storage.open_random(zipped) as file:
            assert file.size() == 25_600
        assert f"-{maker.pid} (deleted)" in held_copies()[0]
        maker.communicate("\n")

    def test_a_copy_whose_maker_was_killed_is_made_again(self, zipped):
        maker, said = holding(zipped, "60")
        assert said.readline() == "halfway\n"
        waiting, said_by_other = holding(zipped)
        time.sleep(0.5)
        os.kill(maker.pid, signal.SIGKILL)
        assert said_by_other.readline() == "25600 made\n"
        waiting.communicate("\n")
        maker.wait()

    def test_a_small_file_is_decompressed_by_each_process(self, zipped, monkeypatch):
        process, said = holding(zipped)
        assert said.readline() == "25600 made\n"
        monkeypatch.setattr(converted, "SHARED_BYTES", 1_000_000)
        monkeypatch.setattr(converted, "_find", None)
        with storage.open_random(zipped) as file:
            assert file.size() == 25_600
        process.communicate("\n")

    def test_a_failure_leaves_nothing(self, tmp_path):
        bad = tmp_path / "bad.loom.gz"
        bad.write_bytes(gzip.compress(bytes(10_000))[:-5])
        for _ in range(2):
            with pytest.raises(InputError, match="this gzip file is cut off"):
                storage.open_random(str(bad))
        assert held_copies() == []

    def test_a_killed_process_leaves_nothing(self, zipped):
        process, said = holding(zipped)
        assert said.readline() == "25600 made\n"
        process.kill()
        process.wait()  # the scratch folder is looked at afterwards


class TestRoom:
    def test_a_disk_that_is_full_is_said(self, zipped, scratch_folder, monkeypatch):
        monkeypatch.setattr(converted, "SPARED_BYTES", 1 << 60)
        with pytest.raises(InputError) as error:
            storage.open_random(zipped)
        message = str(error.value)
        assert message.startswith(f"{zipped}: it becomes more than 0 bytes in scratch space, and {scratch_folder} has ")
        assert message.endswith("name a folder on a larger disk with SPARK_LOCAL_DIRS, or TMPDIR where Spark sets none")

    def test_a_bomb_ends_where_the_disk_does(self, tmp_path, monkeypatch):
        bomb = tmp_path / "bomb.h5ad.gz"
        bomb.write_bytes(gzip.compress(bytes(50_000_000)))
        room = 10_000_000
        monkeypatch.setattr(converted, "_CHECKED_BYTES", 1 << 20)
        monkeypatch.setattr(converted, "SPARED_BYTES", 0)
        written = []
        monkeypatch.setattr(converted, "free_bytes", lambda file: room - os.fstat(file).st_size)
        original = converted.ScratchWriter.append

        def append(self, content):
            original(self, content)
            written.append(len(content))

        monkeypatch.setattr(converted.ScratchWriter, "append", append)
        with pytest.raises(InputError, match=r"bomb.h5ad.gz: it becomes more than [\d,]+ bytes in scratch space"):
            storage.open_random(str(bomb))
        assert sum(written) <= room


class TestDamage:
    @pytest.mark.parametrize("ending", ["loom", "h5ad"])
    def test_what_is_no_gzip(self, tmp_path, ending):
        path = write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 5, 5))
        Path(path).rename(tmp_path / f"study.{ending}.gz")
        with pytest.raises(InputError, match=rf"study.{ending}.gz: its name ends in .gz, but it is not a gzip file"):
            open_matrix(str(tmp_path / f"study.{ending}.gz"), AttributeNames())

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"none.loom.gz: there is no such file"):
            open_matrix(str(tmp_path / "none.loom.gz"), AttributeNames())

    @pytest.mark.parametrize("change", [lambda content: content[: len(content) // 2], lambda content: content[:5]])
    def test_a_truncated_file(self, tmp_path, change):
        path = Path(write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 50, 50)))
        zipped = tmp_path / "study.loom.gz"
        zipped.write_bytes(change(gzip.compress(path.read_bytes())))
        with pytest.raises(InputError, match=r"study.loom.gz: this gzip file is cut off: copy it again"):
            open_matrix(str(zipped), AttributeNames())

    def test_a_file_that_was_cut_off_before_it_was_gzipped(self, tmp_path):
        path = Path(write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 50, 50)))
        zipped = tmp_path / "study.loom.gz"
        zipped.write_bytes(gzip.compress(path.read_bytes()[:-1_000]))
        with pytest.raises(InputError, match=r"study.loom.gz: this HDF5 file is cut off"):
            open_matrix(str(zipped), AttributeNames())

    def test_flipped_bits(self, tmp_path):
        path = Path(write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 50, 50)))
        content = bytearray(gzip.compress(path.read_bytes()))
        content[len(content) // 2] ^= 64
        (tmp_path / "study.loom.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"study.loom.gz: this gzip file is (damaged|cut off)"):
            open_matrix(str(tmp_path / "study.loom.gz"), AttributeNames())
