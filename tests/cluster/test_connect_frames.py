"""DataFrames through a Spark Connect server, to medians and from matrices: nothing there is local mode's alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from connect_server import remote_session
from h5ads import write_h5ad
from looms import random_counts, write_loom
from oracle import loom_values
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from median_spark import gene_medians, register_formats
from median_spark.errors import FrameError
from median_spark.genes import GeneTable

pytestmark = [pytest.mark.cluster, pytest.mark.connect]

VALUES = {
    "half and half": np.repeat([1.0, 3.0], 1_000),  # its bracket misses: there is a second round
    "spread": np.random.default_rng(0).lognormal(0, 5, 3_001),
    "ties": np.random.default_rng(1).integers(1, 6, 2_000) / 1.7,
    "one": np.array([5.0]),
    "none": np.zeros(3),
}


@pytest.fixture(scope="module")
def remote(connect):
    with remote_session(connect.url) as session:
        yield session


@pytest.fixture
def frame(remote):
    gene = np.repeat(list(VALUES), [len(of_gene) for of_gene in VALUES.values()])
    rows = pd.DataFrame({"gene": gene, "value": np.concatenate(list(VALUES.values()))})
    rows["study"] = np.where(np.arange(len(rows)) % 2, "s1", "s2")
    return remote.createDataFrame(rows).repartition(3)


def test_medians_are_exact(frame):
    found = {row["gene"]: row for row in gene_medians(frame, compression=20, source_col="study").collect()}
    assert list(found) == sorted(VALUES)
    for gene, of_gene in VALUES.items():
        above = of_gene[of_gene > 0]
        assert found[gene]["n_cells"] == len(above)
        assert found[gene]["n_sources"] == min(len(above), 2)
        assert found[gene]["median"] == (np.median(above) if len(above) else None)


def test_estimates_are_exact_for_few_values(frame):
    found = {row["gene"]: row for row in gene_medians(frame, exact=False).collect()}
    assert found["one"]["median"] == found["one"]["digest_median"] == 5.0
    assert found["one"]["digest_rank_error"] is None


def test_counts_are_normalised_and_chosen(remote):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"gene": rng.choice(["A", "B", "C"], 900), "cell": rng.integers(0, 90, 900)})
    rows["n"], rows["study"] = rng.integers(0, 50, 900), "s"
    summed = rows.groupby(["cell", "gene"])["n"].sum()
    totals = summed.groupby("cell").sum()
    values = (summed / totals * 10_000)[summed > 0]
    table = GeneTable("/genes.csv", {"A": "miRNA", "B": "lncRNA", "C": "protein_coding", "D": "miRNA"})
    frame = remote.createDataFrame(rows).repartition(3)
    options = {"value_col": "n", "cell_col": "cell", "gene_table": table, "compression": 20}
    given = frame.join(remote.createDataFrame(totals.rename("total").reset_index()), "cell")
    for found in (
        gene_medians(frame, source_col="study", **options).drop("n_sources"),
        gene_medians(given.where("gene in ('A', 'C')"), total_col="total", **options),
    ):
        medians = {row["gene"]: row["median"] for row in found.collect()}
        assert medians == {gene: np.median(values[:, gene]) for gene in "AC"} | {"D": None}
    halves = frame.withColumn("n", F.col("n") + 0.5)
    found = gene_medians(halves, allow_non_integer=True, **options).collect()
    summed = (rows["n"] + 0.5).groupby([rows["cell"], rows["gene"]]).sum()
    expected = summed / summed.groupby("cell").sum() * 10_000
    assert {row["gene"]: row["median"] for row in found if row["n_cells"]} == {
        gene: np.median(expected[:, gene]) for gene in "AC"
    }
    with pytest.raises(FrameError, match="column 'n' holds a number that is not whole in 900 rows"):
        gene_medians(halves, **options)


def test_columns_are_found_and_missed_as_in_local_mode(frame):
    nested = frame.select(F.struct("gene", "value").alias("row"), F.lit("x").alias("text"))
    found = gene_medians(nested, gene_col="row.gene", value_col="ROW.value", exact=False).collect()
    assert [row["gene"] for row in found] == sorted(VALUES)
    with pytest.raises(FrameError, match=r"no column 'gene'; it has 'row', 'text'"):
        gene_medians(nested)
    with pytest.raises(FrameError, match=r"column 'text' holds string, and values are numbers"):
        gene_medians(nested, gene_col="row.gene", value_col="text")
    with pytest.raises(FrameError, match=r"several columns 'value'"):
        gene_medians(frame.select("gene", "value", F.col("value").alias("value")))


def test_rows_that_have_no_place_in_a_median_are_refused(frame):
    with pytest.raises(FrameError, match=r"column 'value' holds NaN in 1 row, one of them of gene 'one'"):
        gene_medians(frame.withColumn("value", F.when(F.col("gene") == "one", float("nan")).otherwise(F.col("value"))))


def test_a_frame_that_is_another_at_each_reading_is_refused(remote):
    def drawn(batches):
        for batch in batches:
            values = np.random.default_rng().random(batch.num_rows) + 1
            yield pa.RecordBatch.from_pydict({"gene": ["A"] * batch.num_rows, "value": values})

    frame = remote.range(5_000).mapInArrow(drawn, "gene string, value double")
    with pytest.raises(FrameError, match=r"other rows of gene 'A' when it is read again"):
        gene_medians(frame)


def test_matrices_are_read_as_formats(remote, tmp_path):
    register_formats(remote)
    path = write_loom(tmp_path / "corpus" / "s.loom", random_counts(np.random.default_rng(5), 300, 200))
    frame = remote.read.format("loom").option("unit_entries", 3_000).load(str(tmp_path / "corpus"))
    by_gene, _ = loom_values(path)
    expected = {gene: np.sort(values) for gene, (_, values) in by_gene.items()}
    rows = frame.toPandas().groupby("gene")["value"]
    assert {gene: np.sort(values).tobytes() for gene, values in rows} == {
        gene: values.tobytes() for gene, values in expected.items()
    }
    found = {row["gene"]: row["median"] for row in gene_medians(frame).collect()}
    assert found == {gene: np.median(values) for gene, values in expected.items()}
    cells = write_h5ad(
        tmp_path / "t.h5ad", random_counts(np.random.default_rng(6), 40, 30, density=0.3).astype("f4"), "csr"
    )
    assert remote.read.format("h5ad").load(cells).select("source").distinct().collect() == [("t",)]


def test_what_is_wrong_with_a_matrix_is_told_by_the_server(remote, tmp_path):
    register_formats(remote)
    with pytest.raises(PySparkException, match=r"the reader's option 'colour' is unknown"):
        remote.read.format("loom").option("colour", "red").load(str(tmp_path)).printSchema()
    (tmp_path / "s.loom").write_bytes(b"no HDF5")
    with pytest.raises(PySparkException, match=r"s\.loom: "):
        remote.read.format("loom").load(str(tmp_path)).collect()
