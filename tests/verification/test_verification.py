"""What verify catches: a result and its table are corrupted by hand, one thing at a time."""

import json
import pickle
import shutil

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from looms import random_counts, with_duplicates, write_loom
from tables import change_record

from median_spark import MedianOptions, medians, run, verify
from median_spark.cli import main
from median_spark.errors import TableError

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def sound(spark, tmp_path_factory):
    """A folder with two small sources and a run of them, and where both are kept."""
    folder = tmp_path_factory.mktemp("verification")
    rng = np.random.default_rng(9)
    for name in ("database1/data/study3", "database2/data/study2"):
        counts = random_counts(rng, 300, 120, density=0.3)
        write_loom(
            folder / "here" / "corpus" / f"{name}.loom",
            counts,
            ensembl_id=with_duplicates(300),
            gene_type=rng.choice(["protein_coding", "miRNA", "lncRNA"], 300).tolist(),
            filter_pass=rng.integers(0, 2, 120),
            n_counts=counts.sum(axis=0) + 5.0,
        )
    run(str(folder / "here" / "corpus"), str(folder / "here" / "out"), spark=spark)
    shutil.copytree(folder / "here", folder / "kept")
    return folder / "here", folder / "kept"


@pytest.fixture
def corpus(sound):
    """The two sources, which may be spoilt: every test finds them, and the run, as they were made."""
    here, kept = sound
    shutil.rmtree(here)
    shutil.copytree(kept, here)  # times of files too, by which a changed matrix is known
    return here / "corpus"


@pytest.fixture
def done(corpus):
    """The run, as the folder that holds expression and medians."""
    return corpus.with_name("out")


def differences(done, **more):
    return verify(str(done / "expression"), str(done / "medians"), genes=10**6, **more).differences


def rewrite_medians(done, change):
    """Change rows of medians.parquet, and the CSV with it, so that only recomputing can tell."""
    path = done / "medians" / "medians.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(max(rows, key=lambda row: row["n_cells"]))
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(changed, path)
    changed.to_pandas().to_csv(done / "medians" / "medians.csv", index=False)
    for name, column in (("total_gene_median_dict", "median"), ("gene_detection_counts_dict", "n_cells")):
        content = {row["gene"]: float("nan") if row[column] is None else row[column] for row in rows}
        (done / "medians" / f"{name}.pickle").write_bytes(pickle.dumps(content))
    detected = {row["gene"]: row["median"] for row in rows if row["median"] is not None}
    (done / "medians" / "detected_gene_median_dict.pickle").write_bytes(pickle.dumps(detected))


def test_a_sound_result_has_no_differences(spark, demo_expression, tmp_path):
    medians(demo_expression, str(tmp_path / "medians"), spark=spark)
    found = verify(demo_expression, str(tmp_path / "medians"), genes=10**6, inputs=True, rows=200)
    assert found.differences == []
    assert any("values and cells against the matrices" in line for line in found.compared)
    assert any("what is kept of cells against the matrices" in line for line in found.compared)


def test_a_corrupted_median_is_caught(done):
    rewrite_medians(done, lambda row: row.update(median=float(np.nextafter(row["median"], 1e9))))
    assert ": median is " in "".join(differences(done))


def test_a_corrupted_count_is_caught(done):
    rewrite_medians(done, lambda row: row.update(n_cells=row["n_cells"] + 1))
    found = "".join(differences(done))
    assert ": n_cells is " in found
    assert "the sum of n_cells is " in found


@pytest.mark.parametrize("inputs", [False, True])
def test_a_corrupted_value_is_caught(done, inputs):
    path = next((done / "expression" / "values").rglob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    values = table["value"].to_numpy().copy()
    values[: len(values) // 2] *= 1.5
    pq.write_table(table.set_column(2, table.schema.field("value"), pa.array(values)), path)
    found = "".join(differences(done, inputs=inputs, rows=300))
    assert ": median is " in found
    assert ("cells or values differ from those in" in found) == inputs


def spoil_cells(done, column, change):
    """Change a column of a file of cells."""
    path = next((done / "expression" / "cells").rglob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    held = pa.array([change(value) for value in table[column].to_pylist()], table.schema.field(column).type)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, held), path)


@pytest.mark.parametrize("column", ["cell", "n_counts", "filter_pass"])
def test_corrupted_cells_are_caught(done, column):
    spoil_cells(done, column, lambda value: f"{value}x" if column == "cell" else value + 1)
    assert differences(done) == []
    (found,) = differences(done, inputs=True, rows=300)
    assert f"'{column}' of its cells differs from that in" in found


def test_a_corrupted_number_of_values_is_caught(done):
    spoil_cells(done, "n_values", lambda value: value + 1)
    (found,) = differences(done)
    assert "sum of n_values is " in found


def test_cells_that_are_missing_are_caught(done):
    path = next((done / "expression" / "cells").rglob("*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    found = "".join(differences(done))
    assert "number of cells in each file is " in found
    assert "number of cells that pass is " in found
    path.unlink()
    with pytest.raises(TableError, match="this file of cells cannot be read"):
        differences(done)


def test_a_changed_matrix_is_caught(done, corpus):
    with h5py.File(corpus / "database1/data/study3.loom", "r+") as file:
        file["matrix"][:50] += 1
    assert "study3.loom has changed since it was converted" in "".join(differences(done, inputs=True))


def test_a_matrix_that_never_matched_is_caught(done, corpus):
    path = corpus / "database1/data/study3.loom"
    with h5py.File(path, "r+") as file:
        file["matrix"][...] = file["matrix"][:] + 1
    state = {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    change_record(done / "expression", "database1/data/study3", lambda record: record["input"].update(state))
    assert "number of values is " in "".join(differences(done, inputs=True))


def test_a_csv_and_a_pickle_that_differ_from_the_table_are_caught(done):
    path = done / "medians" / "medians.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1].replace(",", ",9", 1), *lines[2:]]))
    (done / "medians" / "gene_detection_counts_dict.pickle").write_bytes(pickle.dumps({"ENSG1": 2}))
    found = "".join(differences(done))
    assert "medians.csv: ENSG" in found
    assert "gene_detection_counts_dict.pickle: ENSG" in found


def test_a_table_that_was_converted_anew_is_told_apart(done):
    change_record(done / "expression", "database1/data/study3", lambda record: record.update(conversion="0" * 16))
    with pytest.raises(TableError, match="reconverted after the result was made"):
        differences(done)


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_table_of_sources_that_is_not_the_results_is_refused(done, damage):
    path = done / "medians" / "sources.parquet"
    table = pq.read_table(path)
    path.unlink()
    if damage == "changed":
        pq.write_table(table.slice(1), path)
    with pytest.raises(TableError, match=r"sources\.parquet: (there is no such file|its content is not what)"):
        differences(done)


@pytest.mark.parametrize("name", ["medians/provenance.json", "expression/sources/*.jsonl"])
def test_a_newer_format_is_refused(done, name):
    (path,) = done.glob(name)
    first, *rest = path.read_text().splitlines() if "*" in name else [path.read_text()]
    path.write_text("\n".join([json.dumps({**json.loads(first), "format_version": 3}), *rest]))
    with pytest.raises(TableError, match=rf"{path.name}: it has format version 3"):
        differences(done)


def test_a_pickle_that_would_run_something_is_refused(done):
    class Hostile:
        def __reduce__(self):
            return (print, ("owned",))

    (done / "medians" / "total_gene_median_dict.pickle").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(TableError, match="print where only plain values may be"):
        differences(done)


def test_the_command_prints_what_it_compared_and_exits_with_1_on_a_difference(done, capsys):
    arguments = ["verify", str(done / "expression"), str(done / "medians"), "--inputs", "--genes", "50", "--seed", "3"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("all equal\n")
    rewrite_medians(done, lambda row: row.update(n_cells=row["n_cells"] + 1))
    assert main(arguments) == 1
    assert "DIFFERENT: medians.parquet: the sum of n_cells is" in capsys.readouterr().out


def test_medians_that_are_not_exact_are_compared_by_rank(spark, corpus, tmp_path):
    run(str(corpus), str(tmp_path / "rough"), spark=spark, options=MedianOptions(exact=False))
    assert differences(tmp_path / "rough") == []
    rewrite_medians(tmp_path / "rough", lambda row: row.update(median=row["max"]))
    assert "is off by more than 5 % of the ranks" in "".join(differences(tmp_path / "rough"))
