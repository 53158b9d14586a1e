"""Corpora of several layouts through a whole run: medians, records, what is said, and what verify makes of them."""

import numpy as np
import pandas as pd
import pytest
from layouts import (
    IDS,
    SYMBOLS,
    WRITERS,
    cellxgene,
    cellxgene_zarr,
    census,
    count_table,
    geneformer,
    optimus,
    parse,
    tahoe,
    tahoe_parquet,
    tenx,
)

from median_spark import (
    ConvertOptions,
    ReadOptions,
    convert,
    medians,
    read_cell_list,
    read_gene_map,
    read_gene_table,
    run,
    verify,
)
from median_spark.cli import main
from median_spark.cli.text import conversion_summary
from median_spark.errors import InputError, TableError, UsageError
from median_spark.results import read_provenance

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A gene table and a map of the symbols."""
    folder = tmp_path_factory.mktemp("tables")
    pd.DataFrame({"ensembl_id": IDS, "gene_type": "protein_coding"}).to_csv(folder / "genes.csv", index=False)
    pd.DataFrame({"name": [*SYMBOLS, *IDS], "ensembl_id": [*IDS, *IDS]}).to_csv(folder / "map.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sources of every layout in one folder, and what each holds."""
    folder = tmp_path_factory.mktemp("mixture")
    written = [writer(folder) for writers in WRITERS.values() for writer in writers]
    # Parquet files in a folder with other matrices are read only if they are named.
    inputs = [str(folder), *(str(path) for path, _ in written if str(path).endswith(".parquet"))]
    return inputs, [values for _, values in written]


def assert_medians(result, held):
    table = pd.read_parquet(result / "medians.parquet").set_index("gene")
    for gene in IDS:
        values = [source[gene][1] for source in held if gene in source]
        assert table.loc[gene, "n_cells"] == sum(map(len, values))
        assert table.loc[gene, "median"] == np.median(np.concatenate(values))


def test_a_mixture_of_all_layouts_gives_the_medians_of_numpy(spark, corpus, tables, tmp_path):
    inputs, held = corpus
    reading = ReadOptions(
        gene_table=read_gene_table(str(tables / "genes.csv")), gene_map=read_gene_map(str(tables / "map.csv"))
    )
    done = run(inputs, str(tmp_path / "out"), spark=spark, reading=reading)
    assert_medians(tmp_path / "out/medians", held)
    names = {record.layout.name for record in done.conversion.records}
    assert names == set(WRITERS)
    lines = [line.finding for line in conversion_summary(done.conversion, "x").problems[0].lines]
    optimus_lines = [line for line in lines if line.startswith("optimus, 1 source: read as with --strip-version ")]
    assert len(optimus_lines) == 2  # with and without a filter
    assert "geneformer, 2 sources: read without further options" in lines
    recorded = {source.source: source.layout for source in read_provenance(str(tmp_path / "out/medians")).sources}
    assert recorded["plate1_filt"]["implied"]["filter_value"] == ["full"]
    assert "layout tahoe" in (tmp_path / "out/medians/report.html").read_text()
    checked = verify(
        str(tmp_path / "out/expression"), str(tmp_path / "out/medians"), inputs=True, rows=120,
        gene_map=str(tables / "map.csv"),
    )  # fmt: skip
    assert checked.differences == []
    again = convert(inputs, str(tmp_path / "out/expression"), spark=spark, reading=reading)
    assert (again.converted, len(again.unchanged)) == ([], len(held))


def test_one_command_is_enough_and_says_what_was_done(spark, tables, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    held = [writer(tmp_path / "in")[1] for writer in (geneformer, cellxgene)]
    arguments = ["run", str(tmp_path / "in"), "--gene-table", str(tables / "genes.csv"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert_medians(tmp_path / "out/medians", held)
    said = capsys.readouterr().out
    assert "cellxgene, 1 source: read as with --gene-id-attr index --filter-attr is_primary_data " in said
    assert "geneformer, 1 source: read without further options" in said


@pytest.mark.slow
def test_a_query_decides_in_all_layouts_and_is_verified(spark, tables, tmp_path):
    (tmp_path / "in").mkdir()
    several = (optimus, tahoe, cellxgene, cellxgene_zarr, census, tenx, parse, tahoe_parquet, count_table)
    paths = [str(writer(tmp_path / "in")[0]) for writer in several]
    inputs = [str(tmp_path / "in"), *(path for path in paths if path.endswith(".parquet"))]
    reading = ReadOptions(
        gene_table=read_gene_table(str(tables / "genes.csv")), cells="n_genes >= 8 and n_counts < 60 and index != 'x'"
    )
    done = run(inputs, str(tmp_path / "out"), spark=spark, reading=reading)
    assert all(0 < record.cells_passed < record.cells for record in done.conversion.records)
    assert {record.parameters["cells"] for record in done.conversion.records} == {reading.cells.text}
    checked = verify(str(tmp_path / "out/expression"), str(tmp_path / "out/medians"), inputs=True, rows=150)
    assert checked.differences == []
    other = ReadOptions(gene_table=reading.gene_table, cells="n_genes >= 9")
    again = convert(inputs, str(tmp_path / "out/expression"), spark=spark, reading=other)
    assert len(again.converted) == len(several)


def test_a_list_of_cells_decides_and_what_no_source_has_is_said(spark, tables, tmp_path):
    (tmp_path / "in").mkdir()
    for writer in (optimus, cellxgene):
        writer(tmp_path / "in")
    listed = [f"{source}-{number}" for source in ("optimus", "cellxgene") for number in range(0, 31, 2)] + [
        "no",
        "none",
    ]
    path = tmp_path / "cells.csv"
    path.write_text("cell_label\n" + "\n".join(listed) + "\n")
    reading = ReadOptions(gene_table=read_gene_table(str(tables / "genes.csv")), cell_list=read_cell_list(str(path)))
    done = run(str(tmp_path / "in"), str(tmp_path / "out"), spark=spark, reading=reading)
    assert [record.cells_listed for record in done.conversion.records] == [16, 16]
    line = conversion_summary(done.conversion, "x").problems[0].lines[0]
    assert line.finding == f"34 cells in {path}; 2 of them in no source"
    result = str(tmp_path / "out/expression"), str(tmp_path / "out/medians")
    assert verify(*result, inputs=True, rows=100, cell_list=str(path)).differences == []
    with pytest.raises(TableError, match="was converted with the list of cells of fingerprint"):
        verify(*result, inputs=True)
    with pytest.raises(UsageError, match="needed only where"):
        verify(*result, cell_list=str(path))
    again = convert(str(tmp_path / "in"), str(tmp_path / "out/expression"), spark=spark, reading=reading)
    assert again.unchanged == ["cellxgene", "optimus"]
    assert again.cell_list == done.conversion.cell_list


def test_a_list_with_sources_tells_equal_ids_apart(spark, tables, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        geneformer(tmp_path / "in" / folder)
    by_source, by_id = tmp_path / "by_source.tsv", tmp_path / "by_id.csv"
    rows = ["geneformer-1\ta/geneformer", "geneformer-2\tb/geneformer", "geneformer-3\tb/geneformer", "x\tc"]
    by_source.write_text("cell\tsource\n" + "\n".join(rows) + "\n")
    by_id.write_text("cell\ngeneformer-1\ngeneformer-2\nx\n")
    gene_table = read_gene_table(str(tables / "genes.csv"))
    for path, passed, used in ((by_source, [1, 2], (4, 1, 0)), (by_id, [2, 2], (3, 1, 2))):
        reading = ReadOptions(gene_table=gene_table, cell_list=read_cell_list(str(path)))
        done = run(str(tmp_path / "in"), str(tmp_path / path.stem), spark=spark, reading=reading)
        assert [record.cells_passed for record in done.conversion.records] == passed
        assert (
            done.conversion.cell_list.cells,
            done.conversion.cell_list.missing,
            done.conversion.cell_list.repeated,
        ) == used
        result = str(tmp_path / path.stem / "expression"), str(tmp_path / path.stem / "medians")
        assert verify(*result, inputs=True, cell_list=str(path)).differences == []


def test_sources_of_different_layouts_are_pooled_but_not_of_different_target_sums(spark, tables, tmp_path):
    (tmp_path / "in").mkdir()
    path, _ = geneformer(tmp_path / "in")
    other, _ = cellxgene(tmp_path / "in")
    gene_table = read_gene_table(str(tables / "genes.csv"))
    convert(str(path), str(tmp_path / "x"), spark=spark, reading=ReadOptions(gene_table=gene_table))
    convert(str(other), str(tmp_path / "x"), spark=spark, reading=ReadOptions(gene_table=gene_table, target_sum=100.0))
    with pytest.raises(TableError, match="different values of 'target_sum'"):
        medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark)


def test_a_layout_that_is_insisted_on_fails_the_sources_that_have_another(spark, tables, tmp_path):
    (tmp_path / "in").mkdir()
    for writer in (geneformer, tahoe):
        writer(tmp_path / "in")
    reading = ReadOptions(gene_table=read_gene_table(str(tables / "genes.csv")), layout="tahoe")
    with pytest.raises(InputError, match="is not the layout 'tahoe'"):
        convert(str(tmp_path / "in"), str(tmp_path / "x"), spark=spark, reading=reading)
    done = convert(
        str(tmp_path / "in"), str(tmp_path / "y"), spark=spark, reading=reading, options=ConvertOptions(on_error="skip")
    )
    assert (done.converted, [failure.source for failure in done.failures]) == (["plate1_filt"], ["geneformer"])


@pytest.mark.slow
def test_the_reader_of_spark_recognises_layouts_and_takes_queries(spark, tables, tmp_path):
    pytest.importorskip("pyspark.sql.datasource")
    from median_spark import register_formats

    register_formats(spark)
    path, values = tahoe(tmp_path)
    reader = spark.read.format("h5ad").option("gene_table", str(tables / "genes.csv"))
    rows = reader.load(str(path)).toPandas()
    assert len(rows) == sum(len(cells) for cells, _ in values.values())
    chosen = reader.option("cells", "index in ['plate1_filt-3', 'plate1_filt-5']").load(str(path)).toPandas()
    assert set(chosen["cell"]) == {"plate1_filt-3", "plate1_filt-5"}
