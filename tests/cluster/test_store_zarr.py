"""Zarr stores on servers of object stores: read by range where they are sharded, and in a run from end to end."""

import subprocess
import sys

import numpy as np
import pytest
from looms import random_counts, with_duplicates
from pyarrow import fs
from reading import assert_same, read
from zarrs import VERSIONS, write_zarr

from median_spark import storage
from median_spark.guard import read_guarded
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, matrix_stat, open_matrix
from median_spark.matrices.outline import outline_of

pytestmark = pytest.mark.cluster


def upload(path, location):
    filesystem, target = storage.resolve(location)
    fs.copy_files(str(path), target, fs.LocalFileSystem(), filesystem)
    return location


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_is_found_and_gives_the_values_of_the_local_one(server, tmp_path, version):
    counts = random_counts(np.random.default_rng(1), 50, 200, density=0.3)
    local = write_zarr(tmp_path / "a.zarr", counts, "csr", version, 500, ensembl_id=with_duplicates(50))
    folder = f"{server.bucket}/{version.replace(' ', '-')}"
    location = upload(local, f"{folder}/db/a.zarr")
    (found,) = find_sources([folder])
    assert (found.name, found.file) == ("db/a", matrix_stat(location))
    assert_same(read(location, cuts=[70]), read(local))
    assert read_guarded(location, outline_of, location, ReadOptions()).cells == 200


def test_of_a_shard_only_the_chunks_of_a_unit_are_fetched(server, tmp_path):
    counts = random_counts(np.random.default_rng(1), 500, 6_000, density=0.4, dtype=np.float32)
    local = write_zarr(tmp_path / "a.zarr", counts, "csr", "3 sharded", 200_000)
    location = upload(local, f"{server.bucket}/range/a.zarr")
    with open_matrix(location, AttributeNames(), "X") as matrix:
        stored = matrix.stored_bytes(0, 6_000)
        server.asked()
        entries = matrix.entries(np.arange(500), 0, 1_000, np.ones(1_000, dtype=np.bool_))
    assert len(entries.counts) == np.count_nonzero(counts[:, :1_000])
    ranges = [asked["range"] for asked in server.asked() if asked["range"]]
    fetched = sum(
        int(last) - int(first) + 1 for first, last in (held.removeprefix("bytes=").split("-") for held in ranges)
    )
    assert 0 < fetched < stored / 2


def test_a_run_from_a_bucket(server, tmp_path):
    for number, version in enumerate(VERSIONS):
        counts = random_counts(np.random.default_rng(number), 50, 200, density=0.3)
        upload(write_zarr(tmp_path / f"{number}.zarr", counts, "csr", version), f"{server.bucket}/run/in/{number}.zarr")
    command = [sys.executable, "-m", "median_spark", "run", f"{server.bucket}/run/in", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 converted" in done.stdout + done.stderr
