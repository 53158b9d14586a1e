"""One corpus in every format, written by its own library: the same medians and dictionaries, byte for byte."""

import gzip
import shutil
import warnings

import anndata
import loompy
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from looms import random_counts
from parquets import write_gene_table, write_lists, write_long
from somas import write_soma
from tenx import write_tenx_h5
from triples import write_parse, write_tenx

from median_spark import ConvertOptions, ReadOptions, read_gene_table, run
from median_spark.geneformer.dictionaries import DICTIONARY_NAMES

pytestmark = [pytest.mark.spark, pytest.mark.slow]

GENES = 40
STUDIES = {"a": random_counts(np.random.default_rng(3), GENES, 60, density=0.3),
           "b": random_counts(np.random.default_rng(4), GENES, 25, density=0.6)}  # fmt: skip
IDS = [f"ENSG{gene:011d}" for gene in range(GENES)]
FILES = ("medians.csv", *(f"geneformer/{name}" for name in DICTIONARY_NAMES), "total_gene_median_dict.pickle",
         "total_gene_tdigest_dict.pickle", "detected_gene_median_dict.pickle",
         "gene_detection_counts_dict.pickle")  # fmt: skip
TABLES = ("medians.parquet", "digests.parquet")
"""Their bytes also hold where the result came from."""


def cells_of(counts):
    return [f"cell{number}" for number in range(counts.shape[1])]


def in_anndata(counts, kind=scipy.sparse.csr_matrix):
    obs, var = pd.DataFrame(index=cells_of(counts)), pd.DataFrame(index=IDS)
    return anndata.AnnData(kind(counts.T.astype(np.float32)), obs=obs, var=var)


def loom(folder, name, counts):
    cells = {"CellID": np.array(cells_of(counts))}
    loompy.create(str(folder / f"{name}.loom"), counts, {"ensembl_id": np.array(IDS)}, cells)


def h5ad(kind):
    def write(folder, name, counts):
        in_anndata(counts, kind).write_h5ad(folder / f"{name}.h5ad")

    return write


def zarr(version):
    def write(folder, name, counts):
        with anndata.settings.override(zarr_write_format=version), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # version 3 will be anndata's default
            in_anndata(counts).write_zarr(folder / f"{name}.zarr")

    return write


def gzipped(folder, name, counts):
    in_anndata(counts).write_h5ad(folder / "whole.h5ad")
    with (folder / "whole.h5ad").open("rb") as whole, gzip.open(folder / f"{name}.h5ad.gz", "wb") as packed:
        shutil.copyfileobj(whole, packed)
    (folder / "whole.h5ad").unlink()


def lists(folder, name, counts):
    write_gene_table(folder / "metadata" / "gene_metadata.parquet", GENES)
    write_lists(folder / f"{name}.parquet", counts)


WRITERS = {
    "loom": loom,
    "h5ad, CSR": h5ad(scipy.sparse.csr_matrix),
    "h5ad, CSC": h5ad(scipy.sparse.csc_matrix),
    "h5ad, dense": h5ad(np.asarray),
    "h5ad.gz": gzipped,
    "zarr 2": zarr(2),
    "zarr 3": zarr(3),
    "SOMA": lambda folder, name, counts: write_soma(folder / f"{name}.soma", counts),
    "10x .h5": lambda folder, name, counts: write_tenx_h5(folder / f"{name}.h5", counts),
    "10x folder": lambda folder, name, counts: write_tenx(folder / name, counts),
    "Parse folder": lambda folder, name, counts: write_parse(folder / name, counts),
    "Parquet, a row per cell": lists,
    "Parquet, a row per entry": lambda folder, name, counts: write_long(folder / f"{name}.parquet", counts),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(spark, tmp_path_factory):
    """The files of the result of each format."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "genes.csv").write_text("ensembl_id,gene_type\n" + "".join(f"{gene},protein_coding\n" for gene in IDS))
    reading = ReadOptions(
        gene_table=read_gene_table(str(folder / "genes.csv")), cell_filter=False, compute_n_counts=True
    )
    found = {}
    for number, (what, write) in enumerate(WRITERS.items()):
        corpus, out = folder / f"corpus{number}", folder / f"out{number}"
        corpus.mkdir()
        for name, counts in STUDIES.items():
            write(corpus, name, counts)
        done = run(str(corpus), str(out), spark=spark, reading=reading, conversion=ConvertOptions(unit_entries=300))
        assert done.summary.sources == len(STUDIES), what
        found[what] = {file: (out / "medians" / file).read_bytes() for file in FILES}
        found[what] |= {table: pq.read_table(out / "medians" / table) for table in TABLES}
    return found


def test_the_first_is_the_oracle_s(results):
    totals = {name: counts.sum(axis=0).astype(np.float64) for name, counts in STUDIES.items()}
    lines = results["loom"]["medians.csv"].decode().splitlines()[1:]
    medians = {line.split(",")[0]: float(line.split(",")[1]) for line in lines if line.split(",")[1]}
    for gene in range(GENES):
        values = np.concatenate([
            counts[gene][counts[gene] > 0] / totals[name][counts[gene] > 0] * 10_000 for name, counts in STUDIES.items()
        ])  # fmt: skip
        if len(values):
            assert medians.pop(IDS[gene]) == np.median(values)
    assert not medians


@pytest.mark.parametrize("what", [what for what in WRITERS if what != "loom"])
def test_every_format_gives_the_same_bytes(results, what):
    for file in FILES:
        assert results[what][file] == results["loom"][file], file
    for table in TABLES:
        assert results[what][table].equals(results["loom"][table]), table
