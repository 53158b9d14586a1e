"""What verify finds in matrices of every storage, with gene maps and versions; and what it catches there."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from h5ads import categorical, nullable, write_h5ad
from looms import random_counts, write_loom
from scipy import sparse
from tables import stored_records

from median_spark import AttributeNames, ReadOptions, read_gene_map, read_gene_table, run, verify
from median_spark.errors import TableError, UsageError

pytestmark = pytest.mark.spark

GENES, CELLS = 50, 70
IDS = [f"ENSG{number:011d}" for number in range(GENES)]


def frames(rng, counts):
    """Return obs and var with a column of every kind that is looked at."""
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(CELLS)])
    obs["n_counts"] = counts.sum(axis=1).astype(np.float64)
    obs["filter_pass"] = pd.array((rng.random(CELLS) < 0.8).astype(int), dtype="Int64")
    obs.iloc[3, obs.columns.get_loc("filter_pass")] = pd.NA
    obs["batch"] = pd.Categorical(rng.integers(3, size=CELLS))
    obs["stage"] = pd.Categorical([None if number % 9 == 0 else f"E{number % 4}" for number in range(CELLS)])
    obs["age"] = pd.array([None if number % 8 == 0 else number for number in range(CELLS)], dtype="Int32")
    obs["primary"] = pd.array(
        [None if number % 7 == 0 else number % 2 == 0 for number in range(CELLS)], dtype="boolean"
    )
    obs["score"] = rng.random(CELLS).astype(np.float32)
    obs.iloc[5, obs.columns.get_loc("score")] = np.nan
    var = pd.DataFrame({"ensembl_id": IDS}, index=[f"name{number}" for number in range(GENES)])
    var.loc[["name7", "name9"], "ensembl_id"] = IDS[5]
    var["gene_type"] = pd.Categorical(rng.choice(["protein_coding", "miRNA", "lncRNA"], GENES))
    return obs, var


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """h5ad files of every storage; in two of them X holds no counts."""
    folder = tmp_path_factory.mktemp("h5ads")
    rng = np.random.default_rng(12)
    for name in ("csr", "csc", "dense", "raw", "layer"):
        counts = random_counts(rng, CELLS, GENES, density=0.3, dtype=np.float32)
        obs, var = frames(rng, counts)
        logs = sparse.csr_matrix(np.log1p(counts))
        kinds = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}
        held = anndata.AnnData(kinds[name](counts) if name in kinds else sparse.csr_matrix(counts), obs, var)
        if name == "raw":
            held.raw = held
            held = held[:, 10:].copy()
            held.X = logs[:, 10:]
        elif name == "layer":
            held.layers["counts"], held.X = held.X, logs
        held.write_h5ad(folder / f"{name}.h5ad", compression="gzip")
    return folder


def differences(folder, **more):
    found = verify(str(folder / "expression"), str(folder / "medians"), inputs=True, rows=400, **more)
    assert any("values and cells against the matrices" in line for line in found.compared)
    return found.differences


def spoil_values(folder, source):
    """Change the values of a source by their last bit, so that only the matrix can tell."""
    for path in (folder / "expression" / "values" / f"source={source}").glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        values = np.nextafter(table["value"].to_numpy(), np.inf)
        pq.write_table(table.set_column(2, table.schema.field("value"), pa.array(values)), path)


def spoil_cells(folder, source):
    """Call the cells of a source by other names."""
    for path in (folder / "expression" / "values" / f"source={source}").glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        cells = [f"{cell}x" for cell in table["cell"].to_pylist()]
        pq.write_table(table.set_column(1, table.schema.field("cell"), pa.array(cells)), path)


@pytest.fixture(scope="module")
def done(spark, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    run(str(corpus), str(out), spark=spark)
    return out


@pytest.fixture
def copied(done, tmp_path):
    """A run that may be spoilt."""
    for path in done.rglob("*"):
        if path.is_file():
            target = tmp_path / "done" / path.relative_to(done)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "done"


def test_h5ad_files_of_every_storage_are_read_anew_and_agree(done):
    assert differences(done) == []
    values = {source: record["values"] for source, record in stored_records(done / "expression").items()}
    assert set(values) == {"csr", "csc", "dense", "raw", "layer"}
    assert min(values.values()) > 100


@pytest.mark.parametrize("spoil", [spoil_values, spoil_cells])
@pytest.mark.parametrize("source", ["csr", "csc", "dense", "raw", "layer"])
def test_what_differs_from_the_matrix_is_caught_in_every_storage(copied, source, spoil):
    spoil(copied, source)
    said = [line for line in differences(copied) if "cells or values differ" in line]
    assert said
    assert all(f"source '{source}', gene ENSG" in line and f"{source}.h5ad" in line for line in said)


@pytest.mark.parametrize("column", ["batch", "age", "stage", "primary"])
def test_attributes_that_differ_from_the_matrix_are_caught(copied, column):
    (path,) = (copied / "expression" / "cells" / "source=csr").glob("*.parquet")
    table = pq.read_table(path, partitioning=None)
    held = table[column].to_pylist()
    place = next(place for place, value in enumerate(held) if value is not None)
    held[place] = None
    changed = pa.array(held, table.schema.field(column).type)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, changed), path)
    (found,) = differences(copied)
    assert found.startswith(f"source 'csr': '{column}' of its cells differs from that in ")


@pytest.mark.parametrize("rows", [1, 7])
def test_what_is_read_at_a_time_decides_nothing(done, monkeypatch, rows):
    monkeypatch.setattr("median_spark.verification.h5ads._BLOCK", rows * GENES)
    assert differences(done) == []


def test_totals_versions_and_a_map_are_worked_out_anew(spark, corpus, tmp_path):
    (tmp_path / "corpus").mkdir()
    for name in ("csr", "csc", "dense"):
        held = anndata.read_h5ad(corpus / f"{name}.h5ad")
        held.var_names = [f"{gene}.{number}" for number, gene in enumerate(IDS[:30])] + [f"Name{n}" for n in range(20)]
        held.var = held.var[[]]
        held.write_h5ad(tmp_path / "corpus" / f"{name}.h5ad")
    (tmp_path / "genes.csv").write_text("ensembl_id,gene_type\n" + "".join(f"{gene},miRNA\n" for gene in IDS))
    rows = [*zip(IDS, IDS, strict=True), *((f"NAME{number}", IDS[number // 2]) for number in range(15))]
    (tmp_path / "map.csv").write_text("symbol,ensembl_id\n" + "".join(f"{name},{gene}\n" for name, gene in rows))
    options = ReadOptions(
        gene_table=read_gene_table(str(tmp_path / "genes.csv")),
        gene_map=read_gene_map(str(tmp_path / "map.csv")),
        strip_version=True,
        names=AttributeNames(gene_id="index"),
        cell_filter=False,
        compute_n_counts=True,
    )
    done = run(str(tmp_path / "corpus"), str(tmp_path / "out"), spark=spark, reading=options)
    assert {record.row_counts.unmapped_rows for record in done.conversion.records} == {5}
    assert differences(tmp_path / "out", gene_map=str(tmp_path / "map.csv")) == []
    (tmp_path / "other.csv").write_text("name,ensembl_id\nNAME1,ENSG00000000001\n")
    with pytest.raises(TableError, match=r"^the gene map given has the fingerprint .* with that of fingerprint"):
        differences(tmp_path / "out", gene_map=str(tmp_path / "other.csv"))
    with pytest.raises(TableError, match=r"was converted with a gene map .*: name it with gene_map=…$"):
        differences(tmp_path / "out")
    with pytest.raises(TableError, match=r"none\.csv: the gene map cannot be read"):
        differences(tmp_path / "out", gene_map=str(tmp_path / "none.csv"))


def test_a_map_that_was_not_used_is_refused(done, tmp_path):
    (tmp_path / "map.csv").write_text("name,ensembl_id\nNAME1,ENSG00000000001\n")
    with pytest.raises(TableError, match=r"was converted without one: leave out gene_map=…$"):
        differences(done, gene_map=str(tmp_path / "map.csv"))


def test_a_map_without_matrices_to_compare_is_refused(done):
    with pytest.raises(UsageError, match=r"gene_map=….* only where .*inputs=True"):
        verify(str(done / "expression"), str(done / "medians"), gene_map="map.csv")


def test_a_layer_of_a_loom_is_read_anew(spark, tmp_path):
    rng = np.random.default_rng(4)
    path = write_loom(tmp_path / "corpus" / "study.loom", random_counts(rng, GENES, CELLS) * 0.5)
    with h5py.File(path, "r+") as file:
        file["layers/spliced"] = random_counts(rng, GENES, CELLS, density=0.4)
    options = ReadOptions(layer="spliced", compute_n_counts=True)
    run(str(tmp_path / "corpus"), str(tmp_path / "out"), spark=spark, reading=options)
    assert differences(tmp_path / "out") == []
    spoil_values(tmp_path / "out", "study")
    assert any("cells or values differ" in line for line in differences(tmp_path / "out"))


def test_numbers_that_are_no_counts_are_read_anew_where_they_were_allowed(spark, corpus, tmp_path):
    options = ReadOptions(layer="X", allow_non_integer=True)
    run([str(corpus / "raw.h5ad"), str(corpus / "layer.h5ad")], str(tmp_path / "out"), spark=spark, reading=options)
    assert differences(tmp_path / "out") == []


def test_filters_of_texts_are_read_anew(spark, tmp_path):
    """Of every encoding; and a record that says other values than those that were taken is caught."""
    rng = np.random.default_rng(8)
    texts = rng.choice(["full", "minimal", "True"], CELLS).tolist()
    some = [None if number % 9 == 0 else text for number, text in enumerate(texts)]
    filters = {
        "variable": texts,
        "fixed": np.array([text.encode() for text in texts]),
        "categorical": categorical(some),
        "nullable": nullable(some, "string-array"),
        "boolean": nullable(
            [None if number % 7 == 0 else text == "full" for number, text in enumerate(texts)], "boolean"
        ),
        "float": np.array([{"full": 0.1, "minimal": 3.0, "True": 2.0}[text] for text in texts], dtype=np.float32),
    }
    for name, content in filters.items():
        counts = random_counts(rng, GENES, CELLS, density=0.4)
        write_h5ad(tmp_path / "corpus" / f"{name}.h5ad", counts, filter_pass=content)
        if not callable(content):
            write_loom(tmp_path / "corpus" / f"{name} loom.loom", counts, filter_pass=content)
    options = ReadOptions(filter_values=("full", "True", "0.1"))
    done = run(str(tmp_path / "corpus"), str(tmp_path / "out"), spark=spark, reading=options)
    chosen = sum(text != "minimal" for text in texts)
    assert {r.source: r.cells_passed for r in done.conversion.records} == {
        "variable": chosen,
        "variable loom": chosen,
        "fixed": chosen,
        "fixed loom": chosen,
        "categorical": sum(text in {"full", "True"} for text in some),
        "nullable": sum(text in {"full", "True"} for text in some),
        "boolean": sum(text == "full" and number % 7 != 0 for number, text in enumerate(texts)),
        "float": texts.count("full"),
        "float loom": texts.count("full"),
    }
    assert {tuple(r.parameters["filter_values"]) for r in done.conversion.records} == {("0.1", "True", "full")}
    assert differences(tmp_path / "out") == []
    for path in (tmp_path / "out" / "expression" / "sources").iterdir():
        path.write_text(path.read_text().replace('"full"', '"minimal"'))
    assert any("cells or values differ" in line or "number of values" in line for line in differences(tmp_path / "out"))


@pytest.mark.slow
def test_real_h5ad_files_agree(spark, real_data, tmp_path):
    table = read_gene_table(str(real_data / "gene_info_table.csv"))
    options = ReadOptions(gene_table=table, compute_n_counts=True, cell_filter=False)
    run(str(real_data / "h5ad"), str(tmp_path / "out"), spark=spark, reading=options)
    assert differences(tmp_path / "out") == []
