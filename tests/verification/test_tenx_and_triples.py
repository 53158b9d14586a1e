"""What verify finds in 10x's files, in triples, and in matrices that were gzipped whole; and what it catches there."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from h5ads import write_h5ad
from looms import random_counts, with_duplicates, write_loom
from tables import stored_records
from tenx import write_old_tenx_h5, write_tenx_h5
from triples import write_parse, write_tenx

from median_spark import ReadOptions, read_gene_table, run, verify

pytestmark = pytest.mark.spark

GENES, CELLS = 50, 70
IDS = [f"ENSG{number:011d}" for number in range(GENES)]
TYPES = ["Gene Expression" if number % 5 else "Antibody Capture" for number in range(GENES)]
SOURCES = {"new", "old", "folder", "any_order", "parse", "zipped_h5ad", "zipped_loom", "loom"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """One matrix of each kind, of different counts."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(12)
    counts = {name: random_counts(rng, GENES, CELLS, density=0.3) for name in SOURCES}
    (folder / "genes.csv").write_text("ensembl_id,gene_type\n" + "".join(f"{gene},miRNA\n" for gene in IDS))
    write_tenx_h5(folder / "new.h5", counts["new"], types=TYPES, ids=with_duplicates(GENES))
    write_old_tenx_h5(folder / "old.h5", {"hg19": counts["old"]})
    write_tenx(folder / "folder", counts["folder"], types=TYPES, ids=with_duplicates(GENES))
    write_tenx(folder / "any_order", counts["any_order"], gz=False, order=rng)
    write_parse(folder / "parse", counts["parse"], name="count_matrix.mtx")
    write_loom(folder / "loom.h5", counts["loom"], gene_type=None)
    for name, write in (("h5ad", write_h5ad), ("loom", write_loom)):
        path = Path(write(folder / f"zipped_{name}.{name}", counts[f"zipped_{name}"], gene_type=None))
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def done(spark, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    table = read_gene_table(str(corpus / "genes.csv"))
    options = ReadOptions(gene_table=table, cell_filter=False, compute_n_counts=True)
    run(str(corpus), str(out), spark=spark, reading=options)
    return out


def differences(folder):
    found = verify(str(folder / "expression"), str(folder / "medians"), inputs=True, rows=600)
    assert any("values and cells against the matrices" in line for line in found.compared)
    return found.differences


def test_they_are_read_anew_and_agree(done):
    assert differences(done) == []
    records = stored_records(done / "expression")
    assert set(records) == SOURCES
    assert min(record["values"] for record in records.values()) > 100


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_what_differs_is_caught(done, tmp_path, source):
    shutil.copytree(done, tmp_path / "done")
    for path in (tmp_path / "done" / "expression" / "values" / f"source={source}").glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        values = np.nextafter(table["value"].to_numpy(), np.inf)
        pq.write_table(table.set_column(2, table.schema.field("value"), pa.array(values)), path)
    said = [line for line in differences(tmp_path / "done") if "cells or values differ" in line]
    assert said
    assert all(f"source '{source}', gene ENSG" in line for line in said)


@pytest.mark.parametrize("name", ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"])
def test_a_changed_list_is_a_changed_matrix(done, corpus, name):
    path = corpus / "folder" / name
    content = path.read_bytes()
    path.write_bytes(content + bytes(1))
    try:
        assert f"source 'folder': {corpus}/folder/matrix.mtx.gz has changed since it was converted" in differences(done)
    finally:
        path.write_bytes(content)
