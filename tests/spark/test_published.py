"""Ours against the published procedure and, where it is at hand, on real data."""

import pickle
from collections import Counter

import h5py
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from oracle import corpus_values, read_types, universe
from published import digest_loom, merge

from median_spark import ReadOptions, read_gene_table, run

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.fixture(scope="module")
def ours(spark, demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("ours")
    options = ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))
    run(str(demo), str(out), spark=spark, reading=options)
    return out / "medians"


def read(folder, name):
    with (folder / f"{name}.pickle").open("rb") as file:
        return pickle.load(file)


def test_the_published_procedure_agrees_within_digest_error(ours, demo):
    looms = sorted(demo.rglob("*.loom"))
    theirs = merge(map(digest_loom, looms), universe([], read_types(demo / "gene_info_table.csv")))
    with_two_rows = set()
    for path in looms:
        with h5py.File(path) as file:
            ids = Counter(file["row_attrs/ensembl_id"].asstr()[:].tolist())
        with_two_rows |= {gene for gene, rows in ids.items() if rows > 1}
    assert 0 < len(with_two_rows) < 50
    compared = [gene for gene in theirs if gene not in with_two_rows]
    medians, counts = read(ours, "total_gene_median_dict"), read(ours, "gene_detection_counts_dict")
    assert list(medians) == list(theirs)
    assert all(counts[gene] == theirs[gene].size() for gene in compared)
    their_medians = np.array([theirs[gene].quantile(0.5) for gene in compared])
    our_medians = np.array([medians[gene] for gene in compared])
    assert np.array_equal(np.isnan(our_medians), np.isnan(their_medians))
    detected = ~np.isnan(our_medians)
    apart = np.abs(our_medians[detected] / their_medians[detected] - 1)
    assert np.percentile(apart, 95) < 0.01
    assert apart.max() < 0.05


def test_the_pickled_digests_merge_on_with_crick(ours):
    digests = read(ours, "total_gene_tdigest_dict")
    gene = max(digests, key=lambda name: digests[name].size())
    medians = {row["gene"]: row for row in pq.read_table(ours / "medians.parquet").to_pylist()}
    assert digests[gene].quantile(0.5) == medians[gene]["digest_median"]
    before = digests[gene].size()
    digests[gene].merge(digests[min(digests)])
    assert digests[gene].size() == before + digests[min(digests)].size()


def test_real_looms_equal_the_oracle(spark, real_data, tmp_path):
    table = real_data / "gene_info_table.csv"
    looms, types = sorted((real_data / "corpus").rglob("*.loom")), read_types(table)
    values, sources = corpus_values(looms, types)
    options = ReadOptions(gene_table=read_gene_table(str(table)))
    done = run(str(real_data / "corpus"), str(tmp_path / "out"), spark=spark, reading=options)
    found = ds.dataset(tmp_path / "out" / "medians" / "medians.parquet").to_table().to_pylist()
    assert [row["gene"] for row in found] == universe([], types)
    assert done.summary.genes == 27_454
    assert {row["gene"]: row["n_cells"] for row in found if row["n_cells"]} == {g: len(v) for g, v in values.items()}
    assert {row["gene"]: row["n_sources"] for row in found if row["n_sources"]} == sources
    exact = {gene: np.median(of_gene) for gene, of_gene in values.items()}
    assert all(row["median"] == exact[row["gene"]] for row in found if row["n_cells"])
    assert all(row["digest_median"] == exact[row["gene"]] for row in found if 0 < row["n_cells"] <= 100)
    errors = [abs(row["digest_median"] / exact[row["gene"]] - 1) for row in found if row["n_cells"] > 1000]
    assert np.percentile(errors, 95) <= 0.005
    table = ds.dataset(tmp_path / "out" / "expression" / "values").to_table(columns=["gene", "value"]).to_pandas()
    stored = {gene: np.sort(part.to_numpy()) for gene, part in table.groupby("gene")["value"]}
    assert stored.keys() == values.keys()
    assert all(np.array_equal(stored[gene], np.sort(of_gene)) for gene, of_gene in values.items())
