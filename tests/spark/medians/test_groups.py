"""Group by group on Spark: files, figures, warnings, and a result that is whole or not there."""

import json
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom
from oracle import corpus_values, loom_values, read_types, universe
from published import digest_loom, merge
from scipy.sparse import csr_matrix
from tables import change_record, fingerprint, stored_records

from median_spark import (
    CellQuery,
    ConvertOptions,
    MedianOptions,
    ReadOptions,
    ResultOptions,
    SilentProgress,
    convert,
    medians,
    read_gene_table,
    run,
    table_medians,
    verify,
)
from median_spark.cli import main
from median_spark.errors import OutputError, TableError, UsageError
from median_spark.expression import WINDOW_ROWS, open_table, plan_sweeps, rows_at_once
from median_spark.results import GROUPS_SCHEMA, compare_group, read_summary, with_groups
from median_spark.results import groups as result_groups

pytestmark = pytest.mark.spark

SMALL_WINDOW = 3_000
ENDING = ".gene_median_digest_dict.pickle"


@pytest.fixture(scope="module")
def expression(spark, demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "expression"
    options = ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))
    convert(str(demo), str(out), spark=spark, reading=options, options=ConvertOptions(unit_entries=20_000))
    return str(out)


@pytest.fixture(scope="module")
def truth(demo):
    types = read_types(demo / "gene_info_table.csv")
    return {
        str(path.relative_to(demo)).removesuffix(".loom"): loom_values(path, types)[0]
        for path in sorted(demo.rglob("*.loom"))
    }


@pytest.fixture(scope="module")
def result(spark, expression, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_source")
    medians(
        expression,
        str(folder / "r"),
        spark=spark,
        outputs=ResultOptions(by=("source",), digest_pickles=str(folder / "pickles")),
    )
    return folder


def expected_rows(truth):
    return [
        {"source": source, "gene": gene, "n_cells": len(values), "median": float(np.median(values))}
        for source, genes in sorted(truth.items())
        for gene, (_, values) in sorted(genes.items())
    ]


def rows_of(path):
    """Return the rows of the medians of groups, without means and deviations."""
    return pq.read_table(path).drop_columns(["mean", "sd"]).to_pylist()


def plate_among(folder, droplets=5, scale=10):
    """Write looms of droplet-like sources of about equal depth, and one whose cells have many times their counts."""
    rng = np.random.default_rng(3)
    counts = random_counts(rng, 200, 128 * (droplets + 1), density=0.4)
    for number in range(droplets):
        cells = counts[:, 128 * number : 128 * (number + 1)]
        write_loom(folder / f"10x/s{number}.loom", cells)
    cells = counts[:, -128:]
    write_loom(folder / "plate/s.loom", cells, n_counts=cells.sum(axis=0).astype(float) * scale)
    return folder


def too_large(expression, sources, window_rows):
    """Return which of some sources have parts that do not fit a window side by side."""
    table = open_table(expression)
    records = [record for record in table.sources() if record.source in sources]
    at_once = rows_at_once(plan_sweeps(table.values, records, table.universe(records)), len(records))
    return [
        r.source for r, rows in zip(records, at_once.tolist(), strict=True) if rows > window_rows and len(r.parts) > 1
    ]


def test_every_sources_medians_equal_numpys(result, truth):
    assert rows_of(result / "r" / "by_group.parquet") == expected_rows(truth)


def test_means_and_deviations_are_those_of_the_values(result, truth):
    for row in pq.read_table(result / "r" / "by_group.parquet").to_pylist():
        values = truth[row["source"]][row["gene"]][1]
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-13)
        assert row["sd"] == (None if len(values) == 1 else pytest.approx(np.std(values, ddof=1), rel=1e-10, abs=1e-9))


@pytest.mark.slow
def test_sources_too_large_for_a_window_are_as_exact(spark, expression, truth, tmp_path):
    sources = sorted(truth)[:2]
    assert set(too_large(expression, sources, SMALL_WINDOW)) == set(sources)
    assert too_large(expression, sources, WINDOW_ROWS) == []
    medians(
        expression,
        str(tmp_path / "r"),
        spark=spark,
        outputs=ResultOptions(by=("source",), digest_pickles=str(tmp_path / "pickles")),
        sources=sources,
        options=MedianOptions(window_rows=SMALL_WINDOW),
    )
    expected = expected_rows({source: truth[source] for source in sources})
    assert rows_of(tmp_path / "r" / "by_group.parquet") == expected
    source = min(sources)
    digests = pickle.loads((tmp_path / "pickles" / f"{source}{ENDING}").read_bytes())
    assert {g: d.size() for g, d in digests.items() if d.size()} == {g: len(v) for g, (_, v) in truth[source].items()}


def test_groups_are_put_in_order_a_few_rows_at_a_time(spark, expression, result, tmp_path, monkeypatch):
    monkeypatch.setattr(result_groups, "_ROWS_AT_ONCE", 700)
    monkeypatch.setattr(result_groups, "_ROW_GROUP_ROWS", 900)
    medians(expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(by=("source",)))
    found, whole = (pq.ParquetFile(folder / "r" / "by_group.parquet") for folder in (tmp_path, result))
    assert found.read().equals(whole.read())
    of_source = dict(Counter(whole.read()["source"].to_pylist()))
    assert max(of_source.values()) > 700  # a group that is more than what is put in order at once
    assert sum(of_source.values()) > 8 * 900  # and several times what is cut into row groups together
    rows = [found.metadata.row_group(number).num_rows for number in range(found.num_row_groups)]
    assert max(rows) == 900
    assert found.num_row_groups > 8


def test_sources_are_described(result, demo, truth, spark, expression):
    table = pq.read_table(result / "r" / "groups.parquet")
    assert table.schema.equals(with_groups(["source"], GROUPS_SCHEMA))
    found = {row["source"]: row for row in table.to_pylist()}
    assert list(found) == sorted(truth)
    corpus = table_medians(expression, spark=spark).table
    place = {gene: number for number, gene in enumerate(corpus["gene"].to_pylist())}
    cells, pooled = (corpus[name].to_numpy() for name in ("n_cells", "median"))
    for source, genes in truth.items():
        row = found[source]
        assert row["values"] == sum(len(values) for _, values in genes.values())
        assert row["values_per_cell"] == row["values"] / row["cells"]
        assert row["genes_detected"] == len(genes)
        expected = compare_group(
            np.array([place[gene] for gene in sorted(genes)]),
            np.array([len(genes[gene][1]) for gene in sorted(genes)]),
            np.array([np.median(genes[gene][1]) for gene in sorted(genes)]),
            cells,
            pooled,
        )
        assert row["ratio"] == expected.quartiles[1]
        with h5py.File(demo / f"{source}.loom") as loom:
            passed = loom["col_attrs/filter_pass"][:] == 1
            assert row["median_n_counts"] == np.median(loom["col_attrs/n_counts"][:][passed])
            assert (row["sources"], row["cells"]) == (1, passed.sum())


def test_the_csv_says_the_same(result):
    table = pq.read_table(result / "r" / "groups.parquet").to_pandas()
    read = pd.read_csv(result / "r" / "groups.csv", float_precision="round_trip")
    assert list(read.columns) == ["source", *GROUPS_SCHEMA.names]
    for name in ("source", "values", "ratio", "median_n_counts", "values_per_cell"):
        assert read[name].tolist() == table[name].tolist()


def test_digest_pickles_merge_with_the_published_code(result, demo, truth):
    types = read_types(demo / "gene_info_table.csv")
    genes = universe([], types)
    paths = sorted((result / "pickles").rglob(f"*{ENDING}"))
    assert [str(path.relative_to(result / "pickles")).removesuffix(ENDING) for path in paths] == sorted(truth)
    ours = [pickle.loads(path.read_bytes()) for path in paths]
    assert all(list(digests) == genes for digests in ours)
    merged = merge(ours, genes)
    pooled, _ = corpus_values(sorted(demo.rglob("*.loom")), types)
    assert {gene: digest.size() for gene, digest in merged.items() if digest.size()} == {
        gene: len(values) for gene, values in pooled.items()
    }
    errors = [abs(merged[gene].quantile(0.5) / np.median(v) - 1) for gene, v in pooled.items() if len(v) > 1000]
    assert np.percentile(errors, 95) < 0.01
    theirs = digest_loom(demo / f"{max(truth)}.loom")
    mine = ours[-1]
    once = [g for g in theirs if g in mine and theirs[g].size() == mine[g].size() > 0]
    assert len(once) > 100
    apart = [abs(mine[gene].quantile(0.5) / theirs[gene].quantile(0.5) - 1) for gene in once]
    assert np.percentile(apart, 95) < 0.02


def test_the_rest_of_the_result_does_not_depend_on_it(spark, expression, result, tmp_path):
    medians(expression, str(tmp_path / "r"), spark=spark)
    assert not (tmp_path / "r" / "groups.parquet").exists()
    for name in ("medians.csv", "total_gene_tdigest_dict.pickle", "detected_gene_median_dict.pickle"):
        assert (tmp_path / "r" / name).read_bytes() == (result / "r" / name).read_bytes()
    assert "groups_apart" not in read_summary(str(tmp_path / "r")).as_json()


def test_a_result_without_groups_says_that_it_removes_those_of_the_one_before(spark, expression, tmp_path):
    notes = []

    class Told(SilentProgress):
        def note(self, text):
            notes.append(text)

    for outputs in (ResultOptions(by=("source",)), ResultOptions(by=("source",)), None, None):
        target = str(tmp_path / "r")
        medians(expression, target, spark=spark, outputs=outputs, overwrite=True, progress=Told())
    assert notes == [
        "note: this run without --by removes 'by_group.parquet', 'groups.parquet', 'groups.csv' of the existing result "
        f"in {target}"
    ]
    assert not (tmp_path / "r" / "groups.csv").exists()


def test_a_plate_based_source_among_droplets_is_warned_about(spark, tmp_path, capsys):
    corpus = plate_among(tmp_path / "corpus")
    assert main(["run", str(corpus), "--out", str(tmp_path / "out"), "--by", "source"]) == 0
    said = capsys.readouterr().out
    assert "warning       1 of 6 sources stands apart ('plate/s'), as plate-based studies do" in said
    assert "the published advice is not to mix such platforms" in said
    assert read_summary(str(tmp_path / "out" / "medians")).groups_apart == ["plate/s"]
    rows = {row["source"]: row for row in pq.read_table(tmp_path / "out" / "medians" / "groups.parquet").to_pylist()}
    assert {source for source, row in rows.items() if row["apart"]} == {"plate/s"}
    plate = rows["plate/s"]
    assert plate["factor_apart"] == pytest.approx(10, rel=0.1)
    table = str(tmp_path / "out" / "expression")
    whole = table_medians(table, spark=spark).table
    rest = table_medians(table, spark=spark, sources=sorted(set(rows) - {"plate/s"})).table
    factors = np.exp(np.abs(np.log(rest["median"].to_numpy() / whole["median"].to_numpy())))
    assert plate["without_typical_change"] == pytest.approx(np.median(factors) - 1, rel=1e-3)
    assert plate["without_p95_change"] == pytest.approx(np.percentile(factors, 95) - 1, rel=1e-2)
    assert plate["without_genes_changed"] == np.sum(factors > 1.1)
    assert (plate["without_genes_lost"], rows["10x/s1"]["without_typical_change"]) == (0, None)
    assert f"{plate['without_typical_change']:.1%} typically" in said


def test_sources_that_go_together_are_said_to(spark, tmp_path, capsys):
    corpus = plate_among(tmp_path / "corpus", scale=1)
    assert main(["run", str(corpus), "--out", str(tmp_path / "out"), "--by", "source"]) == 0
    said = capsys.readouterr().out
    assert "comparable    yes, no source stands apart" in said
    assert "warning" not in said
    assert read_summary(str(tmp_path / "out" / "medians")).groups_apart == []


def test_two_sources_give_no_verdict(spark, tmp_path, capsys):
    corpus = plate_among(tmp_path / "corpus", droplets=1)
    assert main(["run", str(corpus), "--out", str(tmp_path / "out"), "--by", "source"]) == 0
    assert "comparable    no verdict: it takes at least 3 sources" in capsys.readouterr().out
    assert "groups_apart" not in read_summary(str(tmp_path / "out" / "medians")).as_json()


def test_without_it_several_sources_get_a_hint(spark, tmp_path, capsys):
    for name in ("a", "b"):
        write_loom(tmp_path / "corpus" / f"{name}.loom", random_counts(np.random.default_rng(0), 50, 40))
    assert main(["run", str(tmp_path / "corpus"), "--out", str(tmp_path / "two")]) == 0
    assert "hint          --by source shows whether the sources are comparable" in capsys.readouterr().out
    assert main(["run", str(tmp_path / "corpus" / "a.loom"), "--out", str(tmp_path / "one")]) == 0
    assert "--by", "source" not in capsys.readouterr().out


@pytest.mark.slow
def test_at_most_five_are_left_out_and_the_others_counted(spark, tmp_path, capsys):
    rng = np.random.default_rng(3)
    for number in range(20):
        counts = random_counts(rng, 60, 64, density=0.6)
        scale = 4 + number if number < 7 else 1
        write_loom(tmp_path / "corpus" / f"s{number:02d}.loom", counts, n_counts=counts.sum(axis=0) * float(scale))
    done = run(str(tmp_path / "corpus"), str(tmp_path / "out"), spark=spark, outputs=ResultOptions(by=("source",)))
    assert done.summary.groups_apart == [f"s{number:02d}" for number in range(7)]
    rows = pq.read_table(tmp_path / "out" / "medians" / "groups.parquet").to_pylist()
    assert [row["source"] for row in rows if row["without_typical_change"] is not None] == [
        f"s{number:02d}" for number in range(2, 7)
    ]
    assert main(["run", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), "--by", "source", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "the 2 sources least far apart were not left out" in document["notes"]
    assert "more than a quarter of the sources stand apart: this corpus has no common scale" in document["warnings"]


def test_nothing_is_left_behind_when_it_fails(spark, expression, tmp_path, monkeypatch):
    from median_spark.spark.medians import groups

    def fail(*_):
        message = "the disk is full"
        raise OutputError(message)

    monkeypatch.setattr(groups, "assemble_by_group", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        medians(expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(by=("source",)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_when_it_is_done(result):
    assert sorted(path.name for path in result.iterdir()) == ["pickles", "r"]


def test_a_part_that_vanished_is_named(spark, tmp_path, monkeypatch):
    from median_spark.spark.medians import medians as medians_module

    corpus = plate_among(tmp_path / "corpus", droplets=2)
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    part = next((tmp_path / "x" / "values").rglob("source=plate*/*.parquet"))
    whole = medians_module.group_cells

    def vanishing(*given, **options):
        part.unlink()
        return whole(*given, **options)

    monkeypatch.setattr(medians_module, "group_cells", vanishing)
    with pytest.raises(TableError, match=rf"{part.name}: this part is listed .* not there"):
        medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark, outputs=ResultOptions(by=("source",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "x"]


def test_pickles_that_cannot_be_written_are_named(spark, expression, tmp_path):
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / "database1").write_bytes(b"")  # where a folder must go
    with pytest.raises(OutputError, match=r"pickles/database1/data/.*cannot be written"):
        medians(
            expression,
            str(tmp_path / "r"),
            spark=spark,
            outputs=ResultOptions(digest_pickles=str(tmp_path / "pickles")),
        )
    assert not (tmp_path / "r").exists()


def test_pickles_alone(spark, expression, truth, tmp_path):
    summary = medians(
        expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(digest_pickles=str(tmp_path / "pickles"))
    )
    assert summary.groups_apart is None
    assert not (tmp_path / "r" / "by_group.parquet").exists()
    assert len(list((tmp_path / "pickles").rglob("*.pickle"))) == len(truth)
    with pytest.raises(OutputError, match="overwrite=True"):
        medians(
            expression,
            str(tmp_path / "other"),
            spark=spark,
            outputs=ResultOptions(digest_pickles=str(tmp_path / "pickles")),
        )


def test_a_run_refuses_pickles_within_its_folder_before_it_begins(spark, demo, tmp_path):
    with pytest.raises(UsageError, match="needs a folder outside"):
        run(
            str(demo),
            str(tmp_path / "out"),
            spark=spark,
            outputs=ResultOptions(digest_pickles=str(tmp_path / "out" / "pickles")),
        )
    assert not (tmp_path / "out").exists()


def test_the_record_of_an_older_conversion_has_no_depth(spark, tmp_path):
    corpus = plate_among(tmp_path / "corpus", droplets=3)
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    for source in stored_records(tmp_path / "x"):
        change_record(tmp_path / "x", source, lambda record: record.pop("median_n_counts"))
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark, outputs=ResultOptions(by=("source",)))
    assert pq.read_table(tmp_path / "r" / "groups.parquet")["median_n_counts"].null_count == 4


def test_totals_that_are_summed_later_are_not_known(spark, tmp_path):
    corpus = plate_among(tmp_path / "corpus", droplets=2)
    options = ReadOptions(compute_n_counts=True)
    run(str(corpus), str(tmp_path / "out"), spark=spark, reading=options, outputs=ResultOptions(by=("source",)))
    sources = pq.read_table(tmp_path / "out" / "medians" / "groups.parquet")
    assert sources["median_n_counts"].null_count == 3


@pytest.mark.slow
def test_real_sources_by_themselves_equal_the_oracle(spark, real_data, tmp_path):
    corpus, types = real_data / "corpus", read_types(real_data / "gene_info_table.csv")
    truth = {
        str(path.relative_to(corpus)).removesuffix(".loom"): loom_values(path, types)[0]
        for path in sorted(corpus.rglob("*.loom"))
    }
    options = ReadOptions(gene_table=read_gene_table(str(real_data / "gene_info_table.csv")))
    done = run(str(corpus), str(tmp_path / "out"), spark=spark, reading=options, outputs=ResultOptions(by=("source",)))
    folder = Path(tmp_path / "out" / "medians")
    assert rows_of(folder / "by_group.parquet") == expected_rows(truth)
    rows = pq.read_table(folder / "groups.parquet").to_pylist()
    assert {row["source"] for row in rows if row["apart"]} == set(done.summary.groups_apart)
    assert "10x/pbmc3k" in done.summary.groups_apart


GENES = [f"ENSG{number:011d}" for number in range(120)]
ATTRIBUTES = ("assay", "age")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Write four h5ads with attributes of cells; return their folder and what is in it, a row per cell that passes."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("h5ads")
    known = []
    for source in range(4):
        counts = random_counts(rng, len(GENES), 300, density=0.3)
        obs = pd.DataFrame(
            {
                "n_counts": counts.sum(axis=0) + 500.0,
                "filter_pass": (rng.random(300) < 0.8).astype(int),
                "assay": pd.Categorical(rng.choice(["10x 3' v3", "10x 5' v1", "Smart-seq2"], 300)),
                "age": rng.integers(0, 3, 300),
            },
            index=[f"s{source}-{number}" for number in range(300)],
        )
        if source == 2:
            obs.loc[obs.index[:40], "assay"] = None
        if source == 3:
            obs = obs.drop(columns="assay")
        var = pd.DataFrame({"gene_type": "protein_coding"}, index=GENES)
        anndata.AnnData(csr_matrix(counts.T), obs, var).write_h5ad(folder / f"s{source}.h5ad")
        values = counts / obs["n_counts"].to_numpy() * 10_000
        passed = obs["filter_pass"] == 1
        known.append(obs[passed].assign(source=f"s{source}", values=list(values.T[passed])))
    return folder, pd.concat(known)


@pytest.fixture(scope="module")
def table_of_cells(spark, cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("cells") / "x"
    convert(str(cells[0]), str(out), spark=spark, options=ConvertOptions(unit_entries=3_000))
    return str(out)


@pytest.fixture(scope="module")
def grouped_result(spark, table_of_cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("grouped") / "r"
    options = MedianOptions(cells=CellQuery("n_genes >= 10"))
    medians(table_of_cells, str(out), spark=spark, options=options, outputs=ResultOptions(by=("age",)))
    assert verify(table_of_cells, str(out)).differences == []
    return out


def grouped(known, by):
    """Return the expected rows of by_group.parquet without means, from a row per cell."""
    rows = []
    texts = [[None if pd.isna(value) else str(value) for value in known[name].astype(object)] for name in by]
    keys = list(zip(*texts, strict=True))
    for group in sorted(set(keys), key=lambda group: [(value is None, value or "") for value in group]):
        values = np.stack([v for v, key in zip(known["values"], keys, strict=True) if key == group])
        for place, gene in enumerate(GENES):
            above = values[:, place][values[:, place] > 0]
            if len(above):
                key = dict(zip(by, group, strict=True))
                rows.append(key | {"gene": gene, "n_cells": len(above), "median": float(np.median(above))})
    return rows


@pytest.mark.parametrize(
    ("by", "query", "window_rows"),
    [
        (("assay",), None, WINDOW_ROWS),
        (("assay",), None, SMALL_WINDOW),
        (("age", "assay"), "n_counts > 620 and age != 1", SMALL_WINDOW),
    ],
)
def test_groups_of_cells_have_numpys_medians_in_one_bundle_and_in_several(
    spark, cells, table_of_cells, tmp_path, by, query, window_rows
):
    _, known = cells
    known = known if query is None else known.query(query)
    options = MedianOptions(window_rows=window_rows, cells=CellQuery(query) if query else None)
    summary = medians(table_of_cells, str(tmp_path / "r"), spark=spark, options=options, outputs=ResultOptions(by=by))
    assert rows_of(tmp_path / "r" / "by_group.parquet") == grouped(known, by)
    corpus = pq.read_table(tmp_path / "r" / "medians.parquet").to_pylist()
    assert {row["gene"]: row["median"] for row in corpus} == {
        row["gene"]: row["median"] for row in grouped(known.assign(one="one"), ("one",))
    }
    assert (summary.cells_passed, summary.values) == (len(known), int(np.sum(np.stack(known["values"]) > 0)))
    assert verify(table_of_cells, str(tmp_path / "r")).differences == []
    for row in pq.read_table(tmp_path / "r" / "groups.parquet").to_pylist():
        own = known
        for name in by:
            text = own[name].astype(object).map(str, na_action="ignore")
            own = own[text.isna() if row[name] is None else text == row[name]]
        assert (row["cells"], row["sources"]) == (len(own), own["source"].nunique())
        assert row["median_n_counts"] == own["n_counts"].median()


@pytest.mark.parametrize(
    ("name", "column", "told"),
    [
        ("by_group", "median", "gene ENSG.* in group .*: median is"),
        ("by_group", "n_cells", "gene ENSG.* in group .*: n_cells is"),
        ("by_group", "mean", "gene ENSG.* in group .*: mean is"),
        ("by_group", "sd", "gene ENSG.* in group .*: sd is"),
        ("groups", "cells", r"group \('1',\): its sources, cells and values is"),
        ("medians", "mean", "gene ENSG.*: mean is"),
    ],
)
def test_verify_finds_what_is_wrong_with_groups(spark, table_of_cells, grouped_result, tmp_path, name, column, told):
    shutil.copytree(grouped_result, tmp_path / "r")
    path = tmp_path / "r" / f"{name}.parquet"
    table = pq.read_table(path)
    values = [None if value is None else value + 1 for value in table[column].to_pylist()]
    place = table.column_names.index(column)
    changed = table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    pq.write_table(changed, path)
    differences = verify(table_of_cells, str(tmp_path / "r")).differences
    assert any(re.match(told, difference) for difference in differences)


@pytest.mark.parametrize("query", ["assay == 'Smart-seq2'", "age > 0 and n_counts > 620", "source == 's1'"])
def test_a_subset_gives_the_bytes_of_its_own_conversion(spark, cells, table_of_cells, tmp_path, query):
    folder, known = cells
    chosen = set(known.query(query)["source"])
    if "assay" in query:  # a query may only name what all sources have
        chosen.discard("s3")
    inputs = [str(folder / f"{source}.h5ad") for source in sorted(chosen)]
    at_conversion = query.replace("source == 's1'", "age >= 0")
    reading = ReadOptions(cells=CellQuery(f"filter_pass == 1 and ({at_conversion})"))
    run(inputs, str(tmp_path / "fresh"), spark=spark, reading=reading)
    options = MedianOptions(cells=CellQuery(query))
    sources = sorted(chosen) if "assay" in query else None
    medians(table_of_cells, str(tmp_path / "r"), spark=spark, options=options, sources=sources)
    assert fingerprint(tmp_path / "r") == fingerprint(tmp_path / "fresh" / "medians")
    assert json.loads((tmp_path / "r" / "provenance.json").read_text())["parameters"]["cells"] == query


def test_the_command_line_takes_queries_and_groups(spark, table_of_cells, tmp_path, capsys):
    arguments = ["medians", table_of_cells, "--out", str(tmp_path / "r")]
    assert main([*arguments, "--by", "age,source", "--cells", "n_genes >= 20 and age > 0"]) == 0
    assert "comparable    yes, no group stands apart" in capsys.readouterr().out
    assert list(pd.read_csv(tmp_path / "r" / "groups.csv").columns)[:3] == ["age", "source", "sources"]
    for wrong, message in (
        (["--by", "tissue"], "no cell has the attribute 'tissue'; there are 'age', 'assay'"),
        (["--by", "assay", "--missing", "fail"], "1 source of 4 have no 'assay' ('s3')"),
        (["--cells", "age > 7"], "cells chooses no cell of 4 sources: 'age' holds"),
        (["--cells", "age >"], "cannot be read"),
        (["--by", "cells"], "by cannot take 'cells'"),
    ):
        assert main([*arguments[:-1], str(tmp_path / "wrong"), *wrong]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_a_run_refuses_an_attribute_that_no_cell_has_once_the_sources_are_looked_at(
    spark, cells, tmp_path, monkeypatch, small_bytes
):
    folder, _ = cells
    inputs, out = [str(folder / f"{source}.h5ad") for source in ("s1", "s2")], tmp_path / "run"
    monkeypatch.setattr("median_spark.spark.convert.conversion.SMALL_BYTES", small_bytes)
    reading = ReadOptions(cells=CellQuery("filter_pass == 1"))

    def grouped_by(name):
        return run(inputs, str(out), spark=spark, reading=reading, outputs=ResultOptions(by=(name,)))

    for wrong in ("tissue", "tissues"):  # the second time what is staged is taken over
        with pytest.raises(
            TableError, match=rf"^{out}/expression: no cell has the attribute '{wrong}'; there are 'age'"
        ):
            grouped_by(wrong)
        assert open_table(str(out / "expression")).sources() == []
        assert len(list((out / "expression" / "staging").rglob("*.parquet"))) == (4 if small_bytes else 0)
    done = grouped_by("age")
    assert done.conversion.converted == ["s1", "s2"]
    with pytest.raises(TableError, match="no cell has the attribute 'tissue'"):
        grouped_by("tissue")  # nothing is left to convert
    assert read_summary(str(out / "medians")).sources == 2
