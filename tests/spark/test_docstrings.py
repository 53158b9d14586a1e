"""Every public function and class has an example in its docstring, and does what the example says."""

import doctest
import inspect
import shutil

import pytest

import median_spark
from median_spark import ReadOptions, read_gene_table, run

pytestmark = pytest.mark.spark

RETURNED = {
    "ConversionSummary", "CorpusMedians", "DictionaryFigures", "FailureRecord", "FoundSources", "GeneDigests",
    "GeneMap",
    "GeneTable", "Inspection", "ProgressReporter", "ResultSummary", "RunSummary", "SourceFile", "SourceRecord", "Stage",
    "Verification",
}  # fmt: skip
"""Classes that nobody makes by hand."""


def is_error(value):
    return isinstance(value, type) and issubclass(value, Exception)


CALLED = [
    name
    for name in median_spark.__all__
    if callable(getattr(median_spark, name)) and name not in RETURNED and not is_error(getattr(median_spark, name))
]


@pytest.fixture(scope="module")
def folder(spark, demo, tmp_path_factory):
    """A folder with the demo corpus and a run of it, under the names that the examples use."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(demo, folder / "corpus")
    genes = read_gene_table(str(folder / "corpus" / "gene_info_table.csv"))
    run(str(folder / "corpus"), str(folder / "result"), spark=spark, reading=ReadOptions(gene_table=genes))
    return folder


@pytest.mark.parametrize("name", CALLED)
def test_the_example_of(name, spark, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    value = getattr(median_spark, name)
    examples = doctest.DocTestParser().get_doctest(inspect.getdoc(value), {"spark": spark}, name, None, 0)
    assert examples.examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    assert runner.run(examples).failed == 0


def test_every_public_name_is_documented():
    assert [name for name in median_spark.__all__ if not inspect.getdoc(getattr(median_spark, name))] == []
