"""Reading a store's files at random places: any place, as few requests as pays, nothing left behind."""

import io
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, open_matrix
from median_spark.storage import scratch

SIZE = 1_000_003

KILLED = """
import os, signal, sys
from median_spark import storage
stream = storage.open_random(sys.argv[1])
assert len(stream.read_at(10_000, 0)) == 10_000
held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
        and os.path.lexists(f"/proc/self/fd/{name}")]
print(*[path for path in held if path.startswith(sys.argv[2])], sep="\\n", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of which a test's files have many."""
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(scratch, "REQUEST_BYTES", 3_000)
    monkeypatch.setattr(scratch, "_RANGE_BYTES", 8_000)


@pytest.fixture(scope="module")
def content():
    return np.random.default_rng(1).integers(0, 256, SIZE, dtype=np.uint8).tobytes()


@pytest.fixture
def far(tmp_path, content):
    """A file as a URI, which goes the way of the object stores."""
    (tmp_path / "file").write_bytes(content)
    yield f"file://{tmp_path}/file"
    storage.release(f"file://{tmp_path}/file")


class Requests:
    """What was read of a store: offsets and lengths."""

    def __init__(self, monkeypatch):
        self.ranges = []
        original = scratch._Copy._fetch_piece

        def fetch(copy, piece):
            self.ranges.append((piece[0] * scratch.BLOCK_BYTES, (piece[1] - piece[0]) * scratch.BLOCK_BYTES))
            original(copy, piece)

        monkeypatch.setattr(scratch._Copy, "_fetch_piece", fetch)

    @property
    def bytes(self):
        return sum(length for _, length in self.ranges)


@pytest.fixture
def requests(monkeypatch):
    return Requests(monkeypatch)


class TestReading:
    @pytest.mark.usefixtures("small_blocks")
    @given(places=st.lists(st.tuples(st.integers(0, SIZE + 10), st.integers(0, 50_000)), max_size=8))
    def test_any_place_in_any_order_is_what_is_there(self, tmp_path_factory, content, places):
        folder = tmp_path_factory.mktemp("far")
        (folder / "file").write_bytes(content)
        location = f"file://{folder}/file"
        with storage.open_random(location) as stream:
            for offset, length in places:
                assert stream.read_at(length, offset) == content[offset : offset + length]
        storage.release(location)

    def test_it_is_read_like_any_python_file(self, far, content):
        with storage.open_random(far) as stream:
            assert stream.size() == SIZE
            assert stream.seek(-10, io.SEEK_END) == SIZE - 10
            assert stream.read(100) == content[-10:]
            assert stream.read(1) == b""
            assert stream.seek(5) == 5
            assert stream.read(3) == content[5:8]
            assert stream.tell() == 8
            assert stream.seek(2, io.SEEK_CUR) == 10

    def test_an_empty_file_has_nothing_to_read(self, tmp_path):
        (tmp_path / "empty").touch()
        with storage.open_random(f"file://{tmp_path}/empty") as stream:
            assert stream.read() == b""

    def test_a_local_path_is_opened_as_it_is(self, tmp_path, requests):
        (tmp_path / "file").write_bytes(b"12345")
        with storage.open_random(str(tmp_path / "file")) as stream:
            assert stream.read_at(2, 1) == b"23"
        assert requests.ranges == []

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{tmp_path}/none"):
            storage.open_random(f"file://{tmp_path}/none")


@pytest.mark.usefixtures("small_blocks")
class TestRequests:
    def test_what_is_here_is_not_fetched_again(self, far, requests):
        with storage.open_random(far) as stream:
            for _ in range(3):
                stream.read_at(5_000, 100_000)
        assert requests.ranges == [(100_000, 5_000)]

    def test_a_long_read_is_fetched_in_pieces(self, far, requests):
        with storage.open_random(far) as stream:
            stream.read_at(20_000, 0)
        assert sorted(requests.ranges) == [(0, 8_000), (8_000, 8_000), (16_000, 4_000)]

    def test_few_places_cost_a_block_each(self, far, requests):
        with storage.open_random(far) as stream:
            for offset in range(0, 100_000, 10_000):
                stream.read_at(10, offset)
        assert requests.bytes == 10 * scratch.BLOCK_BYTES

    def test_scattered_places_are_soon_fetched_with_all_that_lies_between(self, far, requests, content):
        with storage.open_random(far) as stream:
            for offset in range(0, SIZE, 1_500):
                assert stream.read_at(10, offset) == content[offset : offset + 10]
        # Each request is worth 3 of 1,001 blocks: after 250 places the other 750 blocks are no dearer than going on.
        one_by_one, rest = requests.ranges[:250], requests.ranges[250:]
        assert {length for _, length in one_by_one} == {1_000}
        assert len(rest) < 140
        assert sum(length for _, length in rest) < 1.1 * SIZE

    def test_the_file_read_last_is_kept_for_who_comes_next(self, far, requests):
        for _ in range(2):
            with storage.open_random(far) as stream:
                stream.read_at(10, 0)
        assert len(requests.ranges) == 1

    def test_a_file_that_has_changed_is_fetched_again(self, far, tmp_path, requests):
        with storage.open_random(far) as stream:
            stream.read_at(10, 0)
        (tmp_path / "file").write_bytes(b"new")
        with storage.open_random(far) as stream:
            assert stream.read_at(10, 0) == b"new"

    def test_readers_of_one_file_at_once_share_a_copy(self, far, requests):
        with storage.open_random(far) as one, storage.open_random(far) as other:
            assert one.read_at(10, 0) == other.read_at(10, 0)
            one.seek(100)
            assert other.tell() == 0
        assert len(requests.ranges) == 1

    def test_another_file_takes_the_place_of_one_that_nobody_reads(self, far, tmp_path, requests):
        (tmp_path / "other").write_bytes(b"other")
        for location in (far, f"file://{tmp_path}/other", far):
            with storage.open_random(location) as stream:
                stream.read_at(10, 0)
        assert len(requests.ranges) == 3


class TestSpace:
    def test_it_goes_to_the_roomiest_of_sparks_folders(self, far, tmp_path, monkeypatch):
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            folder.mkdir()
        monkeypatch.setenv("SPARK_LOCAL_DIRS", f"/nowhere,{folders[0]},{folders[1]}")
        usage = {str(folders[0]): 10, str(folders[1]): 20}
        monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": usage[folder]}))
        with storage.open_random(far) as stream:
            stream.read_at(10, 0)
            held = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert any(path.startswith(f"{folders[1]}/") for path in held)
        assert [list(folder.iterdir()) for folder in folders] == [[], []]

    def test_too_little_space_is_said_before_anything_is_fetched(self, far, tmp_path, monkeypatch, requests):
        monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
        monkeypatch.setattr(scratch, "SPARED_BYTES", 1 << 60)
        with storage.open_random(far) as stream, pytest.raises(InputError) as refused:
            stream.read_at(10, 0)
        assert str(refused.value).startswith(
            f"{far}: 1,048,576 bytes of it are needed in scratch space, and {tmp_path} "
        )
        assert "SPARK_LOCAL_DIRS" in str(refused.value)

    def test_a_killed_process_leaves_no_file(self, far, tmp_path):
        folder = tmp_path / "scratch"
        folder.mkdir()
        environment = {**os.environ, "SPARK_LOCAL_DIRS": str(folder)}
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, far, str(folder)], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == -9, ran.stderr
        assert ran.stdout.strip().endswith("(deleted)")  # it had the file, and the file had no name
        assert list(folder.iterdir()) == []


def write_h5ad_like(path, numbers):
    """Write what an h5ad is for reading at places: some short lists, and long ones that are cut into large chunks."""
    with h5py.File(path, "w") as file:
        for name in ("data", "indices"):
            file.create_dataset(f"X/{name}", data=numbers, chunks=(100_000,))
        file.create_dataset("obs/n_counts", data=np.arange(1_000.0))


class TestHdf5:
    def test_a_short_list_of_a_large_file_is_read_without_the_rest(self, tmp_path, requests):
        numbers = np.random.default_rng(0).integers(0, 1 << 30, 5_000_000)
        write_h5ad_like(tmp_path / "x.h5ad", numbers)
        with storage.open_random(f"file://{tmp_path}/x.h5ad") as stream, h5py.File(stream, "r") as file:
            assert file["obs/n_counts"][-1] == 999
            assert np.array_equal(file["X/data"][:1_000], numbers[:1_000])
        assert requests.bytes < 0.15 * (tmp_path / "x.h5ad").stat().st_size
        storage.release(f"file://{tmp_path}/x.h5ad")

    def test_a_matrix_reads_the_same_from_a_path_and_a_uri(self, demo):
        path = next(demo.rglob("*.loom"))
        found = []
        for location in (str(path), f"file://{path}"):
            with open_matrix(location, AttributeNames()) as matrix:
                rows = np.arange(0, matrix.shape[0], 3)
                entries = matrix.entries(rows, 10, 200, np.arange(190) % 2 == 0)
                found.append((matrix.gene_ids(), matrix.n_counts(), entries.lengths, entries.cells, entries.counts))
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other)

    def test_a_file_that_is_no_hdf5_is_named_by_its_uri(self, tmp_path):
        (tmp_path / "x.loom").write_bytes(b"no hdf5 at all" * 100)
        with pytest.raises(InputError, match=f"file://{tmp_path}/x.loom: this is not an HDF5 file"):
            open_matrix(f"file://{tmp_path}/x.loom", AttributeNames())
