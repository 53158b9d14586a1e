"""`verify --inputs` reads zarr stores with zarr itself, and catches differences."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from h5ads import categorical
from looms import random_counts, with_duplicates
from tables import stored_records
from zarrs import chunk_files, write_zarr

from median_spark import run, verify

pytestmark = pytest.mark.spark

GENES, CELLS = 40, 60


@pytest.fixture(scope="module")
def done(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarrs")
    rng = np.random.default_rng(4)
    for version in ("2", "3", "3 sharded"):
        for kind in ("csr", "csc", "dense"):
            counts = random_counts(rng, GENES, CELLS, density=0.3)
            passed = (rng.random(CELLS) < 0.8).astype(int)
            write_zarr(
                folder / "corpus" / f"{kind} {version}.zarr", counts, kind, version, 25, filter_pass=passed,
                ensembl_id=with_duplicates(GENES), gene_type=categorical(["miRNA", "protein_coding"] * (GENES // 2)),
            )  # fmt: skip
    counts = random_counts(rng, GENES, CELLS, density=0.3)
    logs = np.log1p(counts).astype(np.float32)
    write_zarr(folder / "corpus/raw.zarr", logs, raw=counts, raw_var={"gene_type": ["miRNA"] * GENES},
               n_counts=counts.sum(axis=0))  # fmt: skip
    collection = folder / "corpus/collection.zarr"
    zarr.open_group(str(collection), mode="w").attrs["encoding-type"] = "annbatch-preshuffled"
    for number in range(11):
        part = random_counts(rng, GENES, 9, density=0.4)
        write_zarr(collection / f"dataset_{number}", part, obs_names=[f"c{number}-{cell}" for cell in range(9)])
    run(str(folder / "corpus"), str(folder / "out"), spark=spark)
    return folder / "out"


def differences(folder, **more):
    checked = verify(str(folder / "expression"), str(folder / "medians"), inputs=True, rows=600, **more)
    assert any("values and cells against the matrices" in line for line in checked.compared)
    return checked.differences


def test_stores_of_every_kind_are_read_anew_and_agree(done):
    assert differences(done) == []
    records = stored_records(done / "expression")
    assert len(records) == 11
    assert min(record["values"] for record in records.values()) > 100


def test_values_that_differ_are_caught(done):
    spoilt = {}
    for source in ("csr 2", "csc 3 sharded", "collection"):
        (path,) = (done / "expression/values" / f"source={source.replace(' ', '%20')}").glob("*.parquet")
        spoilt[path] = path.read_bytes()
        table = pq.read_table(path, partitioning=None)
        values = np.nextafter(table["value"].to_numpy(), np.inf)
        pq.write_table(table.set_column(2, table.schema.field("value"), pa.array(values)), path)
    said = " ".join(differences(done))
    for path, content in spoilt.items():
        path.write_bytes(content)
    for source in ("csr 2", "csc 3 sharded", "collection"):
        assert f"{source}.zarr" in said


def test_a_store_that_has_changed_is_told(done):
    file = chunk_files(done.parent / "corpus/csr 3.zarr", "X/data")[0]
    content, state = file.read_bytes(), file.stat()
    file.write_bytes(content + b" ")
    said = differences(done)
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert any("csr 3.zarr has changed since it was converted" in line for line in said)
