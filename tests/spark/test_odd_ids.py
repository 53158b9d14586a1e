"""Rows without an id, and gene tables with versions, from the command line to the medians and through verify."""

import h5py
import numpy as np
import pandas as pd
import pytest
from looms import random_counts, write_loom

from median_spark.cli.main import main
from median_spark.results import read_provenance

pytestmark = pytest.mark.spark

GENES = [f"ENSG{number:011d}" for number in range(30)]
NONE = [b"nan", b"None", b"", b"12", b"3.0", b"g\xe9", b"g\xe8", b"g\xe9"]


def medians_of(out):
    table = pd.read_parquet(out / "medians" / "medians.parquet")
    return dict(zip(table["gene"], table["median"], strict=True))


def expected_medians(paths):
    """Return numpy's medians of the first rows of looms of which every cell passes."""
    values = [[] for _ in GENES]
    for path in paths:
        with h5py.File(path) as file:
            counts, n_counts = file["matrix"][:].astype(np.float64), file["col_attrs/n_counts"][:]
        for row in range(len(GENES)):
            taken = counts[row] > 0
            values[row].append(counts[row][taken] / n_counts[taken] * 10_000)
    return {GENES[row]: np.median(np.concatenate(found)) for row, found in enumerate(values)}


def verified(out, capsys):
    assert main(["verify", str(out / "expression"), str(out / "medians"), "--inputs", "--rows", "90"]) == 0
    return capsys.readouterr().out.endswith("all equal\n")


def test_rows_without_an_id_are_left_out_and_said(tmp_path, capsys):
    ids = [*(gene.encode() for gene in GENES), *NONE]
    paths = [
        write_loom(
            tmp_path / f"in/study{seed}.loom",
            random_counts(np.random.default_rng(seed), len(ids), 60, density=0.4),
            ensembl_id=np.array(ids),
        )
        for seed in range(2)
    ]
    assert main(["run", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert (
        "left out      16 rows whose id is none ('nan', 'None', '' and 2 more), in 2 sources: 'study0', 'study1'"
        in said
    )
    assert medians_of(tmp_path / "out") == expected_medians(paths)
    sources = read_provenance(str(tmp_path / "out/medians")).sources
    assert [source.row_counts["no_id_rows"] for source in sources] == [8, 8]
    assert "16 rows whose id is none" in (tmp_path / "out/medians/report.html").read_text()
    assert verified(tmp_path / "out", capsys)


def test_a_table_with_versions_names_genes_as_matrices_without_do(tmp_path, capsys):
    for name, ids in (("plain", GENES), ("versioned", [f"{gene}.1" for gene in GENES])):
        counts = random_counts(np.random.default_rng(len(name)), len(GENES), 60, density=0.4)
        write_loom(tmp_path / f"{name}/{name}.loom", counts, ensembl_id=ids, gene_type=None)
    frame = pd.DataFrame({"ensembl_id": [f"{gene}.1" for gene in GENES], "gene_type": "miRNA"})
    frame.to_csv(tmp_path / "genes.csv", index=False)
    plain, both = [str(tmp_path / "plain")], [str(tmp_path / "plain"), str(tmp_path / "versioned")]
    table = ["--gene-table", str(tmp_path / "genes.csv")]
    assert main(["run", *plain, *table, "--out", str(tmp_path / "alone")]) == 0
    assert "they were matched without versions" in capsys.readouterr().out
    assert medians_of(tmp_path / "alone") == expected_medians([tmp_path / "plain/plain.loom"])
    assert verified(tmp_path / "alone", capsys)
    assert main(["run", *both, *table, "--out", str(tmp_path / "both")]) == 2
    assert "--strip-version" in capsys.readouterr().err
    assert main(["run", *both, *table, "--strip-version", "--out", str(tmp_path / "both")]) == 0
    expected = expected_medians([tmp_path / "plain/plain.loom", tmp_path / "versioned/versioned.loom"])
    assert medians_of(tmp_path / "both") == expected
    capsys.readouterr()
    assert verified(tmp_path / "both", capsys)


def test_two_species_by_their_annotations_from_prefixed_ids_to_a_merged_result(tmp_path, capsys):
    mouse = [gene.replace("ENSG", "ENSMUSG") for gene in GENES]
    human_lines = [f'1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "{gene}.4"; gene_type "miRNA";\n' for gene in GENES]
    (tmp_path / "human.gtf").write_text("".join(human_lines))
    frame = pd.DataFrame({"Gene stable ID": mouse, "Gene type": "protein_coding", "Gene name": "Trp53"})
    frame.to_csv(tmp_path / "mouse.txt", sep="\t", index=False)
    counts = random_counts(np.random.default_rng(3), len(GENES) * 2, 60, density=0.4)
    ids = [*(f"GRCh38_{gene}" for gene in GENES), *(f"mm10___{gene.lower()}" for gene in mouse)]
    path = write_loom(tmp_path / "in/both.loom", counts, ensembl_id=ids, gene_type=None)
    out = tmp_path / "out"
    tables = ["--gene-table", str(tmp_path / "human.gtf"), "--gene-table", str(tmp_path / "mouse.txt")]
    assert main(["run", str(tmp_path / "in"), *tables, "--out", str(out)]) == 0
    assert "matched with prefixes and case ignored" in capsys.readouterr().out
    expected = {GENES[row]: median for row, median in enumerate(expected_medians([path]).values())}
    found = medians_of(out)
    assert sorted(found) == sorted([*GENES, *mouse])
    assert {gene: found[gene] for gene in GENES} == expected
    assert verified(out, capsys)
    assert main(["run", str(tmp_path / "in"), *tables, "--out", str(out)]) == 0
    assert "0 converted, 1 unchanged" in capsys.readouterr().out
    assert main(["report", str(out), *tables]) == 0
    assert "Trp53" in (out / "medians/report.html").read_text()
    assert main(["merge", str(out), *tables, "--out", str(tmp_path / "merged")]) == 0
    merged = pd.read_parquet(tmp_path / "merged" / "medians.parquet")
    assert merged["gene"].tolist() == sorted([*GENES, *mouse])
    assert main(["run", str(tmp_path / "in"), *tables, "--gene-types", "snoRNA,miRNA", "--out", str(out)]) == 2
    assert "no gene of type 'snoRNA'; its types are 'miRNA', 'protein_coding'" in capsys.readouterr().err
