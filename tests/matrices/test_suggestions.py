"""What inspect proposes for a matrix that cannot be used makes it usable, typed as it is said."""

import re
import shlex

import h5py
import numpy as np
import pytest
from h5ads import categorical, nullable, write_h5ad
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from looms import write_loom
from tenx import write_tenx_h5

from examples import examples
from median_spark.cli.arguments import COMMANDS, build_parser
from median_spark.cli.chosen import read_options
from median_spark.genes import GeneTable
from median_spark.inspection import examine
from median_spark.matrices import ReadOptions, open_source
from median_spark.matrices.suggestions import check, find_suggestions
from median_spark.options import Style, worded

GENES, CELLS = 6, 5
IDS = [f"ENSG{number:011d}" for number in range(GENES)]
COUNTS = np.arange(GENES * CELLS).reshape(GENES, CELLS) % 4


def suggested(path, options):
    """Return what is proposed in the words of the command line."""
    return [worded(text, Style.FLAGS) for text in find_suggestions(path, options)]


def usable_with(path, remedies, folder, *before):
    """Say whether a matrix can be used with what is proposed, whichever of the proposed values is chosen."""
    genes = folder / "genes.csv"
    genes.write_text("ensembl_id,gene_type\n" + "".join(f"{gene},protein_coding\n" for gene in IDS))
    text = " ".join(remedies)
    choices = re.search(r"one or more of (.*?)(?: and [\d,]+ more)?\)", text)
    values = re.findall(r"'(?:[^'\\]|\\.)*'|[^ ,]+", choices[1]) if choices else ["VALUE"]
    words = [word.replace("FILE", str(genes)) for word in shlex.split(re.sub(r" \([^)]*\)", "", text))]
    for value in values:
        chosen = [word.replace("VALUE", value.strip("'")) for word in words]
        options = read_options(build_parser(dict.fromkeys(COMMANDS)).parse_args(["inspect", path, *before, *chosen]))
        with open_source(path, options) as source:
            check(source)  # it raises where the matrix cannot be used


FILTERS = {
    "good": [1] * CELLS,
    "missing": None,
    "zeros": [0] * CELLS,
    "other numbers": [3, 2, 2, 3, 2],
    "truth values": [False] * CELLS,
    "full": ["full", "minimal", "full", "full", "minimal"],
    "True": ["True", "False", "True", "True", "True"],
    "unknown texts": ["a", "b", "a", "c d", "-e"],
    "one text": ["singlet"] * CELLS,
    "one of failing": ["fail"] * CELLS,
}
TOTALS = {
    "good": COUNTS.sum(axis=0).astype(float),
    "missing": None,
    "texts": ["1"] * CELLS,
    "zeros": [0.0] * CELLS,
    "negative": [-1.0] * CELLS,
}
NAMES = {
    "good": {},
    "elsewhere": {"ensembl_id": None, "row_my id": IDS},
    "dashed": {"ensembl_id": None, "row_-id": IDS},
    "more around them": {"ensembl_id": [f"{gene}|SYMBOL|7c5b1e{gene[-1]}" for gene in IDS], "row_gene_id": IDS},
    "prefixes": {"ensembl_id": [f"GRCh38_{gene}" for gene in IDS]},
    "lower case": {"ensembl_id": [gene.lower() for gene in IDS]},
    "versions": {"ensembl_id": [f"{gene}.{number}" for number, gene in enumerate(IDS)]},
}
TYPES = {
    "good": {},
    "missing": {"gene_type": None},
    "elsewhere": {"gene_type": None, "row_biotype": ["lncRNA"] + ["miRNA"] * (GENES - 1)},
    "unchosen": {"gene_type": ["lncRNA"] * GENES, "row_biotype": ["miRNA"] * GENES},
}
MATRICES = {"good": COUNTS, "halves": COUNTS * 0.5}


@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["loom", "h5ad"]),
    cells=st.sampled_from(sorted(FILTERS)),
    totals=st.sampled_from(sorted(TOTALS)),
    names=st.sampled_from(sorted(NAMES)),
    types=st.sampled_from(sorted(TYPES)),
    counts=st.sampled_from(sorted(MATRICES)),
)
def test_what_is_proposed_makes_a_matrix_usable(tmp_path, kind, cells, totals, names, types, counts):
    changes = {"filter_pass": FILTERS[cells], "n_counts": TOTALS[totals], **NAMES[names], **TYPES[types]}
    if kind == "h5ad":
        changes = {name.replace("row_", "var_"): content for name, content in changes.items()}
        path = write_h5ad(tmp_path / "s.h5ad", MATRICES[counts], **changes)
    else:
        path = write_loom(tmp_path / "s.loom", MATRICES[counts], **changes)
    table = GeneTable("/genes.csv", dict.fromkeys(IDS, "protein_coding"))
    needs_table = names == "versions"
    options = ReadOptions(gene_table=table) if needs_table else ReadOptions()
    problem = examine(path, options).problem
    remedies = suggested(path, options)
    assert bool(remedies) == (problem is not None)
    usable_with(path, remedies, tmp_path, *(["--gene-table", str(tmp_path / "genes.csv")] if needs_table else []))
    if cells in {"full", "True", "unknown texts", "one text", "one of failing", "other numbers"}:
        assert not any("--no-cell-filter" in remedy for remedy in remedies)
        assert any("--filter-value" in remedy for remedy in remedies)
    if cells == totals == names == types == counts == "good":
        assert not remedies


def plain(texts):
    return texts


@pytest.mark.parametrize("encoded", [plain, categorical, lambda texts: nullable(texts, "string-array")])
@pytest.mark.parametrize(
    ("texts", "proposed"),
    [
        (["full", "minimal"], "--filter-value full"),
        (["True", "False"], "--filter-value True"),
        (["yes", "no"], "--filter-value yes"),
        ([" Pass", "FAIL"], "--filter-value ' Pass'"),
        (["keep", "Keep"], "--filter-value Keep keep"),
        (["keep", "drop"], "--filter-value keep"),
        (["1", "0"], "--filter-value 1"),
        (["pass", "doublet"], "--filter-value VALUE (one or more of 'pass', 'doublet')"),
        (["pass", "full"], "--filter-value VALUE (one or more of 'pass', 'full')"),
        (["a", "b"], "--filter-value VALUE (one or more of 'a', 'b')"),
        (["no", "no"], "--filter-value VALUE (one or more of 'no')"),
    ],
)
def test_texts_that_say_which_cells_are_good_are_proposed(tmp_path, encoded, texts, proposed):
    # The first is more frequent, so that it is the first of the proposed.
    content = encoded([texts[0], texts[0], texts[1]])
    path = write_h5ad(tmp_path / "s.h5ad", COUNTS[:, :3], filter_pass=content)
    if "Keep" in texts:
        proposed = "--filter-value keep Keep"
    assert suggested(path, ReadOptions()) == [proposed]


def test_values_that_no_cell_has_are_replaced(tmp_path):
    path = write_loom(tmp_path / "s.loom", COUNTS, filter_pass=FILTERS["full"])
    assert suggested(path, ReadOptions(filter_values=("ful",))) == ["--filter-value full"]
    assert suggested(path, ReadOptions(filter_values=("minimal",))) == []


def test_a_filter_is_no_remedy_for_what_is_wrong_with_counts(tmp_path):
    counts = COUNTS.copy()
    counts[2, 2] = -1
    path = write_loom(tmp_path / "s.loom", counts, filter_pass=[0, 0, 1, 1, 0], n_counts=[9.0] * CELLS)
    assert suggested(path, ReadOptions()) == []


def test_as_many_cells_as_genes_are_told_apart(tmp_path):
    """'none of its 3 cells passes' and 'none of its 3 gene ids is in the gene table' begin alike."""
    table = GeneTable("/genes.csv", dict.fromkeys(IDS, "protein_coding"))
    given = {"ensembl_id": ["TP53", "ACTB", "MYC"], "row_accession": IDS[:3]}
    path = write_loom(tmp_path / "s.loom", COUNTS[:3, :3], filter_pass=[0, 0, 0], **given)
    assert suggested(path, ReadOptions(gene_table=table)) == ["--gene-id-attr accession", "--no-cell-filter"]


def test_a_file_of_probes_is_led_to_its_gene_ids_before_there_is_a_table(tmp_path):
    """Visium's raw_probe_bc_matrix.h5: the rows are probes, their ids have an Ensembl id in them."""
    probes = [f"{gene}|SYMBOL|{gene[-3:]}" for gene in IDS]
    path = write_tenx_h5(tmp_path / "raw_probe_bc_matrix.h5", COUNTS, ids=probes)
    with h5py.File(path, "r+") as file:
        file["matrix/features/gene_id"] = [gene.encode() for gene in IDS]
    proposed = suggested(path, ReadOptions())
    assert proposed == ["--gene-table FILE", "--gene-id-attr gene_id"]
    usable_with(path, proposed, tmp_path)
