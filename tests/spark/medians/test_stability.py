"""Stability on Spark: the file, the sentence, and the same bytes in any bundles and at any time."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from looms import write_looms

from median_spark import MedianOptions, ResultOptions, convert, medians, table_medians
from median_spark.cli import main
from median_spark.report.texts import percent
from median_spark.results import STABILITY_SCHEMA, stability_figures

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def expression(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stability")
    names = [f"s{number:02d}" for number in range(17)]
    write_looms(folder / "corpus", names, seed=3, rows=40, cells=80, density=0.3)
    convert(str(folder / "corpus"), str(folder / "expression"), spark=spark)
    return str(folder / "expression")


def test_is_written_on_request_the_same_in_any_bundles(spark, expression, tmp_path):
    tables = {}
    for name, window in (("one", "384MB"), ("several", 3_000)):
        options = MedianOptions(stability=True, window_rows=window)
        medians(expression, str(tmp_path / name), spark=spark, options=options)
        tables[name] = pq.read_table(tmp_path / name / "stability.parquet")
    assert tables["one"].schema.equals(STABILITY_SCHEMA)
    assert tables["one"].equals(tables["several"])
    corpus = pq.read_table(tmp_path / "one" / "medians.parquet", columns=["gene", "n_cells", "median"])
    assert tables["one"].select(corpus.column_names).to_pylist() == corpus.to_pylist()
    assert stability_figures(tables["one"]).buckets == 16
    changes = tables["one"]["change_1_2"].to_numpy()
    assert 0 < np.median(changes) < np.median(tables["one"]["change_1_16"].to_numpy()) < 1
    page = (tmp_path / "one" / "report.html").read_text()
    assert "if as many cells again were added" in page
    in_memory = table_medians(expression, spark=spark, options=MedianOptions(stability=True))
    assert in_memory.stability.equals(tables["one"])


def test_is_not_written_unless_asked_for(spark, expression, tmp_path):
    medians(expression, str(tmp_path / "r"), spark=spark, outputs=ResultOptions(by=("source",)))
    assert not (tmp_path / "r" / "stability.parquet").exists()
    assert table_medians(expression, spark=spark).stability is None


def test_the_command_line_says_the_sentence(spark, expression, tmp_path, capsys):
    command = ["medians", expression, "--out", str(tmp_path / "r"), "--stability", "--no-exact", "--by", "source"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    figures = stability_figures(pq.read_table(tmp_path / "r" / "stability.parquet"))
    moves = percent(figures.if_doubled).replace("\u00a0", "")
    assert f"half of the genes would move by less than {moves} if as many cells" in said


def test_of_few_sources_says_that_there_is_no_answer(spark, tmp_path, capsys):
    write_looms(tmp_path / "corpus", ["a", "b"], seed=3, rows=40, cells=80)
    command = ["run", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), "--stability"]
    assert main(command) == 0
    assert "no answer: it takes at least four sources" in " ".join(capsys.readouterr().out.split())
    table = pq.read_table(tmp_path / "out" / "medians" / "stability.parquet")
    assert table["change_1_2"].null_count == 0
    assert table["change_1_4"].null_count == len(table)
