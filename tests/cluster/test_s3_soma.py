"""SOMA experiments and Parquet files on an S3 server: read by TileDB and pyarrow, and in a run from end to end."""

import subprocess
import sys

import numpy as np
import pytest
from looms import random_counts
from parquets import write_gene_table, write_lists, write_long
from pyarrow import fs
from reading import assert_same, read
from somas import write_soma

from median_spark import storage
from median_spark.genes import GeneTable
from median_spark.guard import read_guarded
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, matrix_stat, open_matrix
from median_spark.matrices.outline import outline_of

pytestmark = [pytest.mark.cluster, pytest.mark.s3]

IDS = [f"ENSG{number:011d}" for number in range(50)]
TABLE = GeneTable("genes", dict.fromkeys(IDS, "protein_coding"))
SUMMED = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(1), 50, 200, density=0.3)


def upload(path, location):
    filesystem, target = storage.resolve(location)
    fs.copy_files(str(path), target, fs.LocalFileSystem(), filesystem)
    return location


def test_an_experiment_is_found_and_gives_the_values_of_the_local_one(s3, tmp_path, counts):
    local = write_soma(tmp_path / "a", counts)
    location = upload(local, f"{s3.bucket}/soma/db/a")
    (found,) = find_sources([f"{s3.bucket}/soma"])
    assert (found.name, found.file) == ("db/a", matrix_stat(location))
    assert read_guarded(location, outline_of, location, ReadOptions()).cells == 200
    assert_same(read(location, cuts=[70]), read(local))


@pytest.mark.parametrize("write", [write_lists, write_long])
def test_parquet_is_read_by_row_groups(s3, tmp_path, counts, write):
    write_gene_table(tmp_path / "gene_metadata.parquet", 50)
    local = write(tmp_path / "a.parquet", counts, group=20)
    location = upload(tmp_path, f"{s3.bucket}/{write.__name__}") + "/a.parquet"
    assert_same(read(location, SUMMED, cuts=[70]), read(local, SUMMED))


def test_of_a_parquet_file_only_the_row_groups_of_a_unit_are_fetched(s3, tmp_path):
    counts = random_counts(np.random.default_rng(1), 500, 4_000, density=0.6)
    local = write_lists(tmp_path / "a.parquet", counts, numbers=[f"g{n}" for n in range(500)], marker=False, group=250)
    location = upload(tmp_path, f"{s3.bucket}/range") + "/a.parquet"
    with open_matrix(location, AttributeNames()) as matrix:
        stored = matrix.stored_bytes(0, 4_000)
        s3.asked()
        entries = matrix.entries(np.arange(500), 0, 500, np.ones(500, dtype=np.bool_))
    assert len(entries.counts) == np.count_nonzero(counts[:, :500])
    ranges = [asked["range"] for asked in s3.asked() if asked["range"]]
    fetched = sum(
        int(last) - int(first) + 1 for first, last in (held.removeprefix("bytes=").split("-") for held in ranges)
    )
    assert 0 < fetched < stored / 2
    assert local


def test_a_run_from_a_bucket(s3, tmp_path, counts):
    for number in range(2):
        upload(write_soma(tmp_path / f"{number}", counts), f"{s3.bucket}/run/in/{number}")
    command = [sys.executable, "-m", "median_spark", "run", f"{s3.bucket}/run/in", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=s3.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 converted" in done.stdout + done.stderr
