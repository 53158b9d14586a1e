"""The coverage alarm: what is likely to be wrong with a source, and does not keep it from being converted."""

import numpy as np
import pytest
from looms import random_counts, write_loom

from median_spark.cli import main
from median_spark.results import read_provenance

pytestmark = pytest.mark.spark


@pytest.fixture
def counts():
    return random_counts(np.random.default_rng(0), 90, 70, density=0.4)


def gene_table(path, known):
    lines = [f"ENSG{number:011d},protein_coding" for number in range(known)]
    path.write_text("\n".join(["ensembl_id,gene_type", *lines]) + "\n")
    return str(path)


def warnings_of(tmp_path, capsys, *more):
    assert main(["run", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), *more]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = [f"warning: {words[1]}" for words in lines if words[:1] == ["warning"]]
    sources = read_provenance(str(tmp_path / "out" / "medians")).sources
    recorded = [f"warning: {source.source}: {warning}" for source in sources for warning in source.warnings]
    assert said == recorded
    return said


def test_nothing_is_wrong_with_a_sound_source(spark, tmp_path, counts, capsys):
    write_loom(tmp_path / "corpus" / "sound.loom", counts)
    assert warnings_of(tmp_path, capsys, "--gene-table", gene_table(tmp_path / "g.csv", 90)) == []


def test_a_source_that_the_gene_table_hardly_knows_is_named(spark, tmp_path, counts, capsys):
    write_loom(tmp_path / "corpus" / "foreign.loom", counts)
    found = warnings_of(tmp_path, capsys, "--gene-table", gene_table(tmp_path / "g.csv", 40))
    assert len(found) == 1
    assert "foreign: the gene table knows only 40 of its 90 ids (44%)" in found[0]
    assert "they may be of another species or annotation" in found[0]


def test_version_suffixes_are_the_likely_cause(spark, tmp_path, counts, capsys):
    ids = [f"ENSG{number:011d}" + (".7" if number > 30 else "") for number in range(90)]
    write_loom(tmp_path / "corpus" / "versioned.loom", counts, ensembl_id=ids)
    assert "version suffixes" in warnings_of(tmp_path, capsys, "--gene-table", gene_table(tmp_path / "g.csv", 90))[0]


@pytest.mark.parametrize(("factor", "cause"), [(2.0, "rows may have been removed"), (0.5, "only some of the rows")])
def test_totals_that_contradict_the_matrix_are_named(spark, tmp_path, counts, capsys, factor, cause):
    write_loom(tmp_path / "corpus" / "odd.loom", counts, n_counts=counts.sum(axis=0) * factor)
    found = warnings_of(tmp_path, capsys)
    assert "odd: column attribute 'n_counts' contradicts the matrix's own column sums in 6" in found[0]
    assert cause in found[0]


def test_rounding_is_no_contradiction(spark, tmp_path, counts, capsys):
    totals = np.float32(counts.sum(axis=0) * 1000.3)
    write_loom(tmp_path / "corpus" / "rounded.loom", (counts * 1000.3).astype(np.float32), n_counts=totals)
    assert warnings_of(tmp_path, capsys, "--allow-non-integer") == []


def test_totals_count_all_rows_and_are_compared_in_passing_cells_only(spark, tmp_path, counts, capsys):
    """Half of the rows are no chosen genes'; every third cell does not pass and has a total of nothing."""
    passed = np.arange(70) % 3 > 0
    totals = np.where(passed, counts.sum(axis=0), 1)
    write_loom(tmp_path / "corpus" / "half.loom", counts, n_counts=totals, filter_pass=passed.astype(int))
    lines = [f"ENSG{number:011d},{'protein_coding' if number % 2 else 'lncRNA'}" for number in range(90)]
    (tmp_path / "g.csv").write_text("\n".join(["ensembl_id,gene_type", *lines]) + "\n")
    given = ("--gene-table", str(tmp_path / "g.csv"), "--overwrite")
    assert warnings_of(tmp_path, capsys, *given) == []
    totals[50] += 1
    write_loom(tmp_path / "corpus" / "half.loom", counts, n_counts=totals, filter_pass=passed.astype(int))
    assert "column sums in 1 of" in warnings_of(tmp_path, capsys, *given)[0]


def test_totals_that_are_computed_are_not_compared(spark, tmp_path, counts, capsys):
    write_loom(tmp_path / "corpus" / "odd.loom", counts, n_counts=np.ones(70))
    assert warnings_of(tmp_path, capsys, "--compute-n-counts") == []


def test_inspect_says_it_too(tmp_path, counts, capsys):
    path = write_loom(tmp_path / "odd.loom", counts, n_counts=np.ones(70))
    assert main(["inspect", path]) == 0
    assert "warning" in capsys.readouterr().out
