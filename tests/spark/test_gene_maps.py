"""Symbols, aliases and versions to genes through Spark: convert and medians against plain numpy."""

import pickle

import h5py
import numpy as np
import pytest
from looms import random_counts, write_loom
from oracle import read_types

from median_spark import ReadOptions, convert, read_gene_map, read_gene_table, table_medians
from median_spark.cli import main
from median_spark.errors import TableError

pytestmark = pytest.mark.spark

GENES = [f"ENSG{number:011d}" for number in range(40)]
CHOSEN = ("protein_coding", "miRNA")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of three looms whose rows are called by symbols, aliases, versioned ids and what no map has."""
    folder = tmp_path_factory.mktemp("symbols")
    rng = np.random.default_rng(5)
    types = rng.choice(["protein_coding", "miRNA", "lncRNA"], len(GENES), p=[0.7, 0.2, 0.1])
    rows = "".join(f"{gene},{kind},Name{gene[-2:]}\n" for gene, kind in zip(GENES[:38], types, strict=False))
    (folder / "genes.csv").write_text(f"ensembl_id,gene_type,gene_name\n{rows}")
    leads = {gene: gene for gene in GENES} | {f"Name{gene[-2:]}": gene for gene in GENES}
    leads |= {f"Alias{gene[-2:]}": gene for gene in GENES[::2]} | {"ENSG00000000999": GENES[1]}
    (folder / "map.pkl").write_bytes(pickle.dumps(leads))
    names = [*leads, *(f"{gene}.{number}" for number, gene in enumerate(GENES[::3])), "UNMAPPED_1", "ERCC-00002", ""]
    cased = [name if number % 3 else name.swapcase() for number, name in enumerate(names)]
    for study in range(3):
        called = [*rng.choice(cased, 120).tolist(), "NAME03", "Name03", "ENSG00000000003.8", "UNMAPPED_1"]
        counts = random_counts(rng, len(called), 90, density=0.3)
        passed = (rng.random(90) < 0.8).astype(int)
        write_loom(folder / f"study{study}.loom", counts, ensembl_id=called, gene_type=None, filter_pass=passed)
    return folder


def expected_values(paths, leads, types):
    """Return {gene: all its values} by a loop over the rows of the looms, and how many rows no map leads anywhere."""
    values, unmapped = {}, 0
    upper = {name.upper(): gene for name, gene in leads.items()}
    for path in paths:
        with h5py.File(path) as file:
            counts = file["matrix"][:].astype(np.float64)
            called = file["row_attrs/ensembl_id"].asstr()[:].tolist()
            passed, n_counts = file["col_attrs/filter_pass"][:] == 1, file["col_attrs/n_counts"][:].astype(np.float64)
        summed = {}
        for row, name in enumerate(called):
            stem = name.split(".")[0] if name.upper().startswith("ENSG") else name
            gene = upper.get(stem.upper())
            unmapped += gene is None
            if gene is not None and types.get(gene) in CHOSEN:
                summed[gene] = summed.get(gene, 0) + counts[row]
        for gene, of_gene in summed.items():
            cells = np.flatnonzero(passed & (of_gene > 0))
            if len(cells):
                values.setdefault(gene, []).append(of_gene[cells] / n_counts[cells] * 10_000)
    return {gene: np.concatenate(parts) for gene, parts in values.items()}, unmapped


def test_rows_of_one_id_are_summed_before_they_are_normalised(spark, corpus, tmp_path):
    leads = pickle.loads((corpus / "map.pkl").read_bytes())
    types = read_types(corpus / "genes.csv")
    values, unmapped = expected_values(sorted(corpus.glob("*.loom")), leads, types)
    options = ReadOptions(
        gene_table=read_gene_table(str(corpus / "genes.csv")),
        gene_map=read_gene_map(str(corpus / "map.pkl")),
        strip_version=True,
    )
    done = convert(str(corpus), str(tmp_path / "expression"), spark=spark, reading=options)
    found = table_medians(str(tmp_path / "expression"), spark=spark).table.to_pylist()
    assert [row["gene"] for row in found] == sorted(gene for gene, kind in types.items() if kind in CHOSEN)
    assert {row["gene"]: row["n_cells"] for row in found if row["n_cells"]} == {g: len(v) for g, v in values.items()}
    assert all(row["median"] == np.median(values[row["gene"]]) for row in found if row["n_cells"])
    left_out = [record.row_counts.unmapped_rows + record.row_counts.no_id_rows for record in done.records]
    assert sum(left_out) == unmapped > 3
    assert all(record.row_counts.summed_rows > 20 for record in done.records)
    assert {record.parameters["gene_map"] for record in done.records} == {options.gene_map.fingerprint()}
    again = convert(str(corpus), str(tmp_path / "expression"), spark=spark, reading=options)
    assert again.converted == []


def test_the_command_says_what_was_left_out_and_verify_finds_no_difference(spark, corpus, tmp_path, capsys):
    options = ["--gene-table", str(corpus / "genes.csv"), "--gene-map", str(corpus / "map.pkl"), "--strip-version"]
    assert main(["run", str(corpus), "--out", str(tmp_path / "out"), *options]) == 0
    said = capsys.readouterr().out
    assert "that the gene map lacks, in 3 sources: 'study0', 'study1', 'study2'" in said
    assert main(["inspect", str(corpus / "study0.loom"), *options]) == 0
    assert "that the gene map lacks" in capsys.readouterr().out
    verify = ["verify", str(tmp_path / "out/expression"), str(tmp_path / "out/medians"), "--inputs", "--rows", "120"]
    assert main([*verify, "--gene-map", str(corpus / "map.pkl")]) == 0
    assert capsys.readouterr().out.endswith("all equal\n")
    assert main(verify) == 2
    assert "was converted with a gene map" in capsys.readouterr().err


def test_sources_with_and_without_a_map_are_not_pooled(spark, corpus, tmp_path):
    table = read_gene_table(str(corpus / "genes.csv"))
    with_map = ReadOptions(gene_table=table, gene_map=read_gene_map(str(corpus / "map.pkl")))
    convert(str(corpus / "study0.loom"), str(tmp_path / "table"), spark=spark, reading=with_map)
    convert(str(corpus / "study1.loom"), str(tmp_path / "table"), spark=spark, reading=ReadOptions(gene_table=table))
    with pytest.raises(TableError, match="different values of 'gene_map'"):
        table_medians(str(tmp_path / "table"), spark=spark)


@pytest.mark.slow
def test_a_real_loom_with_the_published_map_equals_plain_numpy(spark, real_data, tmp_path):
    path = real_data / "corpus" / "10x" / "pbmc3k.loom"
    published = real_data / "geneformer" / "ensembl_mapping_dict_gc95M.pkl"
    leads = pickle.loads(published.read_bytes())
    types = read_types(real_data / "gene_info_table.csv")
    with h5py.File(path) as file:
        own = file["row_attrs/gene_type"].asstr()[:]
        called = file["row_attrs/ensembl_id"].asstr()[:]
        counts = file["matrix"][:].astype(np.float64)
        passed, n_counts = file["col_attrs/filter_pass"][:] == 1, file["col_attrs/n_counts"][:]
    summed = {}
    for row in np.flatnonzero(np.isin(own.astype(str), CHOSEN)):
        gene = leads.get(called[row].upper())
        if gene is not None and types.get(gene) in CHOSEN:
            summed[gene] = summed.get(gene, 0) + counts[row]
    expected = {}
    for gene, of_gene in summed.items():
        cells = np.flatnonzero(passed & (of_gene > 0))
        if len(cells):
            expected[gene] = float(np.median(of_gene[cells] / n_counts[cells] * 10_000))
    options = ReadOptions(
        gene_table=read_gene_table(str(real_data / "gene_info_table.csv")), gene_map=read_gene_map(str(published))
    )
    done = convert(str(path), str(tmp_path / "expression"), spark=spark, reading=options)
    found = table_medians(str(tmp_path / "expression"), spark=spark).table.to_pylist()
    assert {row["gene"]: row["median"] for row in found if row["n_cells"]} == expected
    assert len(expected) > 10_000
    assert done.records[0].row_counts.unmapped_rows == sum(name.upper() not in leads for name in called)
