"""The demo corpus: what it must show, and that one seed makes one corpus."""

import csv
from collections import Counter
from pathlib import Path

import h5py
import loompy
import numpy as np
import pytest

from median_spark.cli.main import main
from median_spark.demo import write_demo
from median_spark.errors import OutputError, UsageError

NAMES = [
    "database1/data/study1",
    "database1/data/study2",
    "database1/data/study3",
    "database2/data/study1",
    "database2/data/study2",
]


@pytest.fixture(scope="module")
def looms(demo):
    return [demo / f"{name}.loom" for name in NAMES]


def arrays(path):
    """Return {name: array} of all datasets of a loom but the time of its writing."""
    found = {}

    def keep(name, entry):
        if isinstance(entry, h5py.Dataset) and name != "attrs/CreationDate":
            found[name] = entry[()]

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    return found


def test_consists_of_two_databases_and_a_gene_table(demo, looms):
    files = {path.relative_to(demo) for path in demo.rglob("*") if path.is_file()}
    assert files == {path.relative_to(demo) for path in looms} | {Path("gene_info_table.csv")}


def test_names_the_looms_it_wrote(tmp_path):
    assert write_demo(str(tmp_path)) == [str(tmp_path / f"{name}.loom") for name in NAMES]


def test_the_command_says_where_the_looms_are_and_what_to_try_unless_it_is_to_be_quiet(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "loud")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [str(tmp_path / "loud" / f"{name}.loom") for name in NAMES]
    assert lines[-1].startswith("try: median-spark run ")
    assert main(["demo", "--quiet", "--out", str(tmp_path / "quiet")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "quiet" / f"{NAMES[0]}.loom").is_file()


def test_same_seed_same_content(tmp_path, demo):
    write_demo(str(tmp_path / "again"))
    for name in NAMES:
        one, other = arrays(demo / f"{name}.loom"), arrays(tmp_path / "again" / f"{name}.loom")
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[field], other[field]) for field in one)
    table = "gene_info_table.csv"
    assert (demo / table).read_bytes() == (tmp_path / "again" / table).read_bytes()


def test_another_seed_other_counts(tmp_path, demo):
    write_demo(str(tmp_path / "other"), seed=1)
    one, other = (arrays(folder / f"{NAMES[0]}.loom")["matrix"] for folder in (demo, tmp_path / "other"))
    assert not np.array_equal(one, other)


def test_looms_are_read_by_loompy(looms):
    for path in looms:
        with loompy.connect(str(path), mode="r") as loom:
            assert {"ensembl_id", "gene_type", "gene_name"} <= set(loom.ra.keys())
            assert {"cell_id", "n_counts", "filter_pass", "tissue"} <= set(loom.ca.keys())
            assert loom.ra.ensembl_id[0].startswith("ENSG9")


def test_some_cells_fail_and_most_pass(looms):
    for path in looms:
        passed = arrays(path)["col_attrs/filter_pass"]
        assert set(passed) == {0, 1}
        assert passed.mean() > 0.8


def test_n_counts_are_the_totals_of_the_cells(looms):
    for path in looms:
        found = arrays(path)
        assert np.array_equal(found["col_attrs/n_counts"], found["matrix"].sum(axis=0))


def test_most_counts_are_zero_and_none_is_negative(looms):
    matrix = arrays(looms[0])["matrix"]
    assert matrix.min() == 0
    assert 0.02 < np.mean(matrix > 0) < 0.5


def test_cell_ids_are_unique_in_a_loom(looms):
    for path in looms:
        ids = arrays(path)["col_attrs/cell_id"].tolist()
        assert len(set(ids)) == len(ids)


def test_some_genes_are_of_types_that_are_not_chosen(looms):
    types = Counter(arrays(looms[0])["row_attrs/gene_type"].tolist())
    assert types.keys() == {b"protein_coding", b"lncRNA", b"miRNA", b"processed_pseudogene"}


def test_some_ids_stand_in_two_rows(looms):
    for path in looms:
        ids = arrays(path)["row_attrs/ensembl_id"].tolist()
        assert 0 < len(ids) - len(set(ids)) <= 5


def test_rows_do_not_ascend_by_id(looms):
    ids = arrays(looms[0])["row_attrs/ensembl_id"].tolist()
    assert ids != sorted(ids)


def test_gene_table_agrees_with_the_looms(demo, looms):
    with (demo / "gene_info_table.csv").open() as lines:
        types = {row["ensembl_id"]: row["gene_type"] for row in csv.DictReader(lines)}
    for path in looms:
        found = arrays(path)
        ids, own = (found[f"row_attrs/{name}"].astype(str).tolist() for name in ("ensembl_id", "gene_type"))
        assert [types[gene] for gene in ids] == own


def test_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"needs a new or empty folder; this holds 'thesis\.txt'"):
        write_demo(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="needs a new or empty folder"):
        write_demo(str(tmp_path / "file"))


def test_place_that_is_not_local_is_refused():
    with pytest.raises(UsageError, match="s3://bucket/demo: the demo corpus is written to a local folder"):
        write_demo("s3://bucket/demo")
