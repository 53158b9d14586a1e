"""Dictionaries of means and of one group, from an expression table on Spark to the files that a tokenizer loads."""

import json
import pickle

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom

from median_spark import GeneformerOptions, ResultOptions, convert, medians
from median_spark.cli import main
from median_spark.errors import UsageError
from median_spark.results import read_summary

pytestmark = pytest.mark.spark

ASSAYS = ("10x 3' v3, nuclei", "Smart-seq2")


@pytest.fixture(scope="module")
def expression(spark, tmp_path_factory):
    """A table of two looms, with cells of both assays each."""
    folder = tmp_path_factory.mktemp("dictionaries")
    rng = np.random.default_rng(0)
    for number in range(2):
        assay = np.array(ASSAYS, dtype=object)[np.arange(60) % 2]
        write_loom(folder / "corpus" / f"s{number}.loom", random_counts(rng, 30, 60), col_assay=assay)
    convert(str(folder / "corpus"), str(folder / "expression"), spark=spark)
    return str(folder / "expression")


def dictionary_of(result):
    pickled = pickle.loads((result / "geneformer" / "gene_median_dictionary.pkl").read_bytes())
    assert json.loads((result / "geneformer" / "gene_median_dictionary.json").read_text()) == pickled
    return pickled


def column_of(file, column, **group):
    """Return {gene: value} of a table's rows, those of a group."""
    table = pq.read_table(file)
    for name, value in group.items():
        table = table.filter(pc.field(name) == value)
    return dict(zip(table["gene"].to_pylist(), table[column].to_pylist(), strict=True))


@pytest.mark.parametrize("factor", ["median", "mean"])
def test_a_groups_dictionaries_have_its_medians_or_means(spark, expression, tmp_path, factor):
    group = {"assay": ASSAYS[0]}
    outputs = ResultOptions(GeneformerOptions(factor=factor, dictionary_of=group), by=("assay",))
    summary = medians(expression, str(tmp_path / "r"), spark=spark, outputs=outputs)
    assert dictionary_of(tmp_path / "r") == column_of(tmp_path / "r" / "by_group.parquet", factor, **group)
    assert (summary.geneformer.factor, summary.geneformer.dictionary_of) == (factor, group)
    assert read_summary(str(tmp_path / "r")).geneformer == summary.geneformer
    provenance = json.loads((tmp_path / "r" / "provenance.json").read_text())
    assert provenance["parameters"]["geneformer"]["dictionary_of"] == group


def test_the_command_line_takes_both(spark, expression, tmp_path, capsys):
    result = tmp_path / "r"
    options = ["--by", "assay,source", "--factor", "mean", "--dictionary-of", f"source=s1,assay={ASSAYS[0]}"]
    assert main(["medians", expression, "--out", str(result), *options]) == 0
    group = {"assay": ASSAYS[0], "source": "s1"}
    assert dictionary_of(result) == column_of(result / "by_group.parquet", "mean", **group)
    assert f"means of source=s1,assay={ASSAYS[0]}: 30 genes" in " ".join(capsys.readouterr().out.split())


def test_of_the_corpus_may_have_means(spark, expression, tmp_path):
    outputs = ResultOptions(GeneformerOptions(factor="mean"))
    medians(expression, str(tmp_path / "r"), spark=spark, outputs=outputs)
    assert dictionary_of(tmp_path / "r") == column_of(tmp_path / "r" / "medians.parquet", "mean")


def test_a_group_that_does_not_exist_ends_the_job_before_it_computes(spark, expression, tmp_path):
    outputs = ResultOptions(GeneformerOptions(dictionary_of={"assay": "10x"}), by=("assay",))
    with pytest.raises(UsageError, match=r"no group 'assay=10x'; there are 2 groups: .*nuclei.*Smart-seq2"):
        medians(expression, str(tmp_path / "r"), spark=spark, outputs=outputs)
    assert not (tmp_path / "r").exists()


def test_a_group_needs_its_columns(expression, tmp_path, capsys):
    command = ["medians", expression, "--out", str(tmp_path / "r"), "--dictionary-of", "assay=10x"]
    assert main(command) == 2
    assert "error: --dictionary-of needs --by with its columns for 'assay=10x'" in capsys.readouterr().err
    assert main([*command, "--by", "sex"]) == 2
    assert "--dictionary-of needs a value of each, as in 'sex=…', not 'assay=10x'" in capsys.readouterr().err
