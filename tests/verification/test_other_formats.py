"""What verify finds in SOMA experiments and Parquet files, and what it catches there."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from looms import random_counts
from parquets import write_gene_table, write_lists, write_long
from somas import write_joined, write_soma

from median_spark import AttributeNames, ReadOptions, read_gene_table, run, verify

pytestmark = pytest.mark.spark

GENES, CELLS = 50, 70
IDS = [f"ENSG{number:011d}" for number in range(GENES)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("genes") / "genes.csv"
    path.write_text("ensembl_id,gene_type\n" + "".join(f"{gene},protein_coding\n" for gene in IDS))
    return read_gene_table(str(path))


@pytest.fixture(scope="module")
def done(spark, table, tmp_path_factory):
    """Runs of a folder of experiments and of one of Parquet files; their folders by name."""
    folder = tmp_path_factory.mktemp("formats")
    rng = np.random.default_rng(12)
    counts = [random_counts(rng, GENES, CELLS, density=0.3, dtype=np.float32) for _ in range(6)]
    passed = {"filter_pass": (rng.random(CELLS) < 0.8).astype(np.int64)}
    write_soma(folder / "soma/written", counts[0], obs=passed)
    write_soma(folder / "soma/dense", counts[1], dense=True, obs=passed)
    write_soma(folder / "soma/raw", np.log1p(counts[2]), layer="data", raw=counts[2],
               obs={**passed, "n_counts": counts[2].sum(axis=0)})  # fmt: skip
    gaps = np.sort(rng.choice(500, CELLS, replace=False))
    write_joined(folder / "soma/gaps", counts[3], gaps, range(GENES), pieces=3,
                 obs={**passed, "n_counts": counts[3].sum(axis=0)})  # fmt: skip
    write_gene_table(folder / "parquet/metadata/gene_metadata.parquet", GENES)
    write_lists(folder / "parquet/data/lists.parquet", counts[4], group=11)
    write_long(folder / "parquet/data/long.parquet", counts[5], group=101)
    run(str(folder / "soma"), str(folder / "soma-out"), spark=spark, reading=ReadOptions(gene_table=table))
    summed = ReadOptions(gene_table=table, cell_filter=False, compute_n_counts=True)
    run(str(folder / "parquet"), str(folder / "parquet-out"), spark=spark, reading=summed)
    return {"soma": folder / "soma-out", "parquet": folder / "parquet-out"}


def differences(folder):
    found = verify(str(folder / "expression"), str(folder / "medians"), inputs=True, rows=300)
    assert any("values and cells against the matrices" in line for line in found.compared)
    return found.differences


@pytest.mark.parametrize("name", ["soma", "parquet"])
def test_they_are_read_anew_and_agree(done, name):
    assert differences(done[name]) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [("soma", "written"), ("soma", "dense"), ("soma", "raw"), ("soma", "gaps"), ("parquet", "data%2Flists"),
     ("parquet", "data%2Flong")],
)  # fmt: skip
def test_what_differs_from_the_matrix_is_caught(done, name, source):
    held = {}
    for path in (done[name] / "expression" / "values" / f"source={source}").glob("*.parquet"):
        held[path] = path.read_bytes()
        table = pq.read_table(path, partitioning=None)
        values = np.nextafter(table["value"].to_numpy(), np.inf)
        pq.write_table(table.set_column(2, table.schema.field("value"), pa.array(values)), path)
    said = [line for line in differences(done[name]) if "cells or values differ" in line]
    for path, content in held.items():
        path.write_bytes(content)
    assert held
    assert said
    assert all(f"source '{source.replace('%2F', '/')}', gene ENSG" in line for line in said)


def test_the_census_columns_by_a_layer_and_texts(spark, table, tmp_path):
    counts = random_counts(np.random.default_rng(2), GENES, CELLS, density=0.3)
    kinds = pa.array([["low", "full", None][cell % 3] for cell in range(CELLS)]).dictionary_encode()
    write_joined(tmp_path / "corpus/a", counts, range(CELLS), range(GENES), obs={"pass_filter": kinds})
    options = ReadOptions(
        gene_table=table, names=AttributeNames(n_counts="raw_sum", filter_pass="pass_filter"), filter_values=("full",),
        layer="raw",
    )  # fmt: skip
    done = run(str(tmp_path / "corpus"), str(tmp_path / "out"), spark=spark, reading=options)
    assert done.conversion.records[0].cells_passed == sum(cell % 3 == 1 for cell in range(CELLS))
    assert differences(tmp_path / "out") == []
