"""The cells of jobs/notebook.py as they stand, one after another, against a Spark Connect server."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from connect_server import remote_session
from looms import random_counts, write_loom

pytestmark = [pytest.mark.cluster, pytest.mark.notebook]

NOTEBOOK = Path(__file__).parents[2] / "jobs" / "notebook.py"
HEADING = "# Databricks notebook source\n"
PARTING = "\n# COMMAND ----------\n"

LEFT_OUT = ()
"""Magic cells that are not run here, by their first line; text (%md) is no code and is not among them."""


@pytest.fixture(scope="module")
def remote(connect):
    with remote_session(connect.url) as session:
        yield session


class Widgets:
    """The part of Databricks' dbutils.widgets that notebooks use: a text field has a default until someone fills it."""

    def __init__(self, filled):
        self._values = dict(filled)
        self.declared = []

    def text(self, name, default):
        self.declared.append(name)
        self._values.setdefault(name, default)

    def get(self, name):
        return self._values[name]


class Platform:
    """What Databricks calls dbutils."""

    def __init__(self, **filled):
        self.widgets = Widgets(filled)


def cells():
    """Split the notebook as Databricks does: its Python cells, numbered, and the first lines of other magics."""
    text = NOTEBOOK.read_text()
    assert text.startswith(HEADING)
    code, magics = [], []
    for number, cell in enumerate(text.removeprefix(HEADING).split(PARTING)):
        lines = [line for line in cell.strip().splitlines() if line]
        if not lines[0].startswith("# MAGIC"):
            assert not any(line.startswith("# MAGIC") for line in lines)
            code.append((number, cell))
        elif not lines[0].startswith("# MAGIC %md"):
            magics.append(lines[0])
    return code, tuple(magics)


def run_cells(**given):
    """Run the Python cells in one namespace, as a notebook has it, and return that."""
    namespace = {"__name__": "__main__", **given}
    for number, cell in cells()[0]:
        exec(compile(cell, f"cell {number} of {NOTEBOOK.name}", "exec"), namespace)
    return namespace


def test_no_cell_is_left_out_but_those_that_are_listed():
    code, magics = cells()
    assert magics == LEFT_OUT
    assert len(code) >= 10


def test_it_runs_as_it_stands(remote, tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("MEDIAN_SPARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MEDIAN_SPARK_OUT", str(tmp_path / "out"))
    run_cells(spark=remote)
    said = capsys.readouterr().out
    assert "sources converted now, 0 were up to date" in said
    assert "all equal" in said
    assert f"report: {tmp_path}/out/medians/report.html" in said
    found = pickle.loads((tmp_path / "out/medians/detected_gene_median_dict.pickle").read_bytes())
    assert f"detected_gene_median_dict.pickle: {len(found):,} entries" in said


def test_widgets_choose_the_corpus_and_what_workers_hold(remote, tmp_path, capsys):
    rng = np.random.default_rng(5)
    for name in ("one", "two"):
        write_loom(tmp_path / "in" / f"{name}.loom", random_counts(rng, 200, 300, density=0.3))
    (tmp_path / "in" / "torn.loom").write_bytes(b"no loom")
    shown, pages = [], []
    dbutils = Platform(
        corpus=str(tmp_path / "in"), out=str(tmp_path / "out"), unit_memory="200kB", window_memory="32kB"
    )
    found = run_cells(spark=remote, dbutils=dbutils, display=shown.append, displayHTML=pages.append)
    assert dbutils.widgets.declared == ["corpus", "gene_table", "out", "unit_memory", "window_memory"]
    assert [record.source for record in found["conversion"].records] == ["one", "two"]
    assert all(len(record.parts) > 1 for record in found["conversion"].records)
    assert [failure.source for failure in found["conversion"].failures] == ["torn"]
    assert [frame.count() for frame in shown] == [10, 10]
    assert len(pages) == 1
    assert "left out: " in capsys.readouterr().out
