"""The command line in this process: what it prints, and its exit statuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from looms import random_counts, write_loom

from median_spark import storage
from median_spark.cli import main


def ended(*arguments):
    """Return the exit status, also where argparse ends the process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(8)
    for name in ("a/study1", "b/study1"):
        write_loom(tmp_path / "corpus" / f"{name}.loom", random_counts(rng, 60, 40))
    return tmp_path / "corpus"


@pytest.mark.parametrize("command", ["run", "convert", "medians", "inspect", "report", "demo"])
def test_help_explains_every_command(capsys, command):
    assert ended(command, "--help") == 0
    assert "exit status: 0 done; 1 some sources failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("run",),
        ("run", "x"),
        ("run", "x", "--out", "y", "--on-error", "maybe"),
        ("run", "x", "--out", "y", "--gene-tabel", "z"),
        ("verify", "x", "y", "--genes", "0"),
        ("medians", "--out", "y"),
    ],
)
def test_unusable_arguments_exit_with_2(capsys, arguments):
    assert ended(*arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1  # not below a usage that fills a screen
    assert " --help' explains all options)" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--gene-tabel=x", "median-spark run: error: there is no option --gene-tabel; did you mean --gene-table? ("),
        ("--password=secret", "median-spark run: error: there is no option --password ("),
    ],
)
def test_an_option_that_there_is_not_is_named_with_one_that_is_like_it(capsys, option, said):
    assert ended("run", "x", "--out", "y", option) == 2
    assert capsys.readouterr().err.startswith(said)


def test_what_needs_no_pandas_starts_without():
    code = "import sys, median_spark.cli; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.spark
def test_a_run_prints_its_figures_and_where_they_are(spark, corpus, tmp_path, capsys):
    assert ended("run", corpus, "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "sources       2 converted, 0 unchanged"
    assert lines[1].startswith("cells         80 of 80 pass, ")
    assert "80 cells are few: pretraining takes millions of cells" in said.out
    assert f"results       {tmp_path}/out/medians" in lines
    assert lines[-1] == f"report        {tmp_path}/out/medians/report.html"
    assert sum(line.split()[0].startswith(("ENSG", "most")) for line in lines) == 3
    assert len(lines) <= 15
    assert said.err.count("converted 2 of 2 sources, 80 of 80 cells") == 1
    assert ended("run", corpus, "--out", tmp_path / "out") == 0
    assert "sources       0 converted, 2 unchanged" in capsys.readouterr().out


@pytest.mark.spark
def test_the_result_folder_holds_what_is_promised(spark, corpus, tmp_path):
    assert ended("run", corpus, "--out", tmp_path / "out", "--quiet") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["expression", "lock", "medians"]
    assert sorted(path.name for path in (tmp_path / "out" / "medians").iterdir()) == [
        "detected_gene_median_dict.pickle",
        "detection_counts.png",
        "digests.parquet",
        "gene_detection_counts_dict.pickle",
        "geneformer",
        "medians.csv",
        "medians.parquet",
        "metrics.csv",
        "metrics.parquet",
        "provenance.json",
        "report.html",
        "sources.parquet",
        "summary.json",
        "total_gene_median_dict.pickle",
        "total_gene_tdigest_dict.pickle",
    ]


@pytest.mark.spark
def test_a_second_run_at_the_same_time_is_refused_and_names_the_first(spark, corpus, tmp_path, capsys):
    with storage.locked(str(tmp_path / "out"), "the first run"):
        assert ended("run", corpus, "--out", tmp_path / "out") == 2
    assert f"out: 'the first run' (process {os.getpid()} on" in capsys.readouterr().err
    assert not (tmp_path / "out" / "expression").exists()


@pytest.mark.spark
def test_quiet_says_nothing(spark, corpus, tmp_path, capfd):
    assert ended("run", corpus, "--out", tmp_path / "out", "--quiet") == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.spark
def test_steps_one_by_one_equal_a_run(spark, corpus, tmp_path):
    assert ended("run", corpus, "--out", tmp_path / "out", "--quiet") == 0
    assert ended("convert", corpus, "--out", tmp_path / "x", "--quiet") == 0
    assert ended("medians", tmp_path / "x", "--out", tmp_path / "r", "--quiet") == 0
    names = ["medians.csv", "total_gene_tdigest_dict.pickle", "total_gene_median_dict.pickle"]
    names += [f"geneformer/{name}" for name in ("gene_median_dictionary.pkl", "token_dictionary.pkl")]
    for name in [*names, "geneformer/ensembl_mapping_dict.pkl"]:
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "out" / "medians" / name).read_bytes()


@pytest.mark.spark
def test_a_run_speaks_of_its_own_inputs_only(spark, corpus, tmp_path, capsys):
    assert ended("run", corpus, "--out", tmp_path / "out", "--quiet") == 0
    assert ended("run", corpus / "a", "--out", tmp_path / "out", "--quiet") == 0
    summary = json.loads((tmp_path / "out" / "medians" / "summary.json").read_text())
    assert (summary["sources"], summary["cells"]) == (1, 40)
    assert ended("run", corpus / "a", "--out", tmp_path / "out") == 0
    assert "also holds 2 sources of earlier runs that these medians leave out: 'a/study1'" in capsys.readouterr().err


@pytest.mark.spark
def test_skipped_sources_exit_with_1_and_are_listed_everywhere(spark, corpus, tmp_path, capsys):
    (corpus / "broken.loom").write_bytes(b"no HDF5")
    assert ended("run", corpus, "--out", tmp_path / "out", "--on-error", "skip") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == "failed        1 source"
    assert "broken.loom: this is not an HDF5 file" in lines[-2]
    assert ended("run", corpus, "--out", tmp_path / "out", "--on-error", "skip", "--quiet") == 1
    said = capsys.readouterr()
    assert (said.out, "failed  1 source" in said.err) == ("", True)
    for name in ("summary.json", "provenance.json"):
        failed = json.loads((tmp_path / "out" / "medians" / name).read_text())["failed_sources"]
        assert [source["source"] for source in failed] == ["broken"]
        assert "not an HDF5 file" in failed[0]["reason"]


@pytest.mark.spark
def test_a_failing_source_exits_with_2_and_one_sentence(spark, corpus, tmp_path, capsys):
    (corpus / "broken.loom").write_bytes(b"no HDF5")
    assert ended("run", corpus, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"error: {corpus}/broken.loom: this is not an HDF5 file")
    assert "Traceback" not in said
    assert "hint" not in said
    assert not (tmp_path / "out" / "medians").exists()


@pytest.mark.spark
def test_where_an_option_helps_a_hint_names_the_command_that_lists_all_of_them(spark, corpus, tmp_path, capsys):
    assert ended("run", corpus, "--out", tmp_path / "out", "--filter-attr", "sound") == 2
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "take every cell with --no-cell-filter" in error
    assert hint == "hint: 'median-spark inspect FILE' shows what a file holds and all options that make it usable"


@pytest.mark.spark
def test_the_gene_table_makes_the_universe(spark, corpus, tmp_path):
    table = tmp_path / "genes.csv"
    genes = [f"ENSG{number:011d}" for number in (3, 1, 2, 999)]
    pd.DataFrame({"ensembl_id": genes, "gene_type": ["protein_coding", "miRNA", "rRNA", "miRNA"]}).to_csv(table)
    assert ended("run", corpus, "--out", tmp_path / "out", "--gene-table", table, "--quiet") == 0
    medians = pd.read_csv(tmp_path / "out" / "medians" / "medians.csv")
    assert medians.gene.tolist() == sorted([genes[0], genes[1], genes[3]])
    assert np.isnan(medians["median"].iloc[2])


@pytest.mark.spark
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "{tmp}/nowhere", "--out", "{tmp}/out"], "nowhere: there is no such file or folder"),
        (
            ["run", "{tmp}/empty", "--out", "{tmp}/out"],
            "file in this folder or below it; it is empty",
        ),
        (["run", "{tmp}/corpus", "--out", "{tmp}/full"], "full: this folder contains files other than"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/file"], "file: this is a file"),
        (["run", "{tmp}/corpus", "--out", "/proc/nothing/here"], "/proc/nothing/here: this folder cannot be created"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/out", "--target-sum", "-1"], "--target-sum must be a number above 0"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/out", "--compression", "7"], "--compression must lie between 20 and"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/out", "--gene-table", "{tmp}/no.csv"], "no.csv: there is no"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/out", "--gene-types", "tRNA"], "no gene is of a chosen type"),
        (["run", "{tmp}/corpus", "--out", "{tmp}/out", "--n-counts-attr", "total"], "'total' is missing; it has"),
        (["medians", "{tmp}/corpus", "--out", "{tmp}/out"], "this is no expression table"),
        (["inspect", "{tmp}/empty"], "name a matrix, a folder of matrices, an expression table"),
        (["demo", "--out", "{tmp}/corpus"], "needs a new or empty folder"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_and_nothing_is_left(spark, corpus, tmp_path, capsys, arguments, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    assert ended(*(argument.format(tmp=tmp_path) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.parquet"))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_debug_shows_where_it_went_wrong(tmp_path):
    with pytest.raises(Exception, match="no such file"):
        main(["inspect", str(tmp_path / "no.loom"), "--debug"])


def test_inspect_and_demo_need_no_java(tmp_path):
    script = (
        "import sys; from median_spark.cli import main; "
        "sys.exit(main(['demo', '--out', 'd']) or main(['inspect', 'd/database1/data/study1.loom']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/nonexistent", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "can be used" in done.stdout
    assert "yes" in done.stdout


def test_without_java_one_sentence_says_what_to_do(corpus, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "median_spark", "run", str(corpus), "--out", str(tmp_path / "out")],
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Spark needs Java 17 or newer and there is none on this machine: install one")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_old_java_is_named(tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "median_spark.spark.engine.java"],
        env={"PATH": "/usr/bin:/bin", "JAVA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is version 11: install one" in done.stderr


def only_document(said):
    """Return the one JSON document on standard output."""
    return json.loads(said.out)


def figures_in(result):
    """Return the figures of a result's summary.json."""
    document = json.loads((result / "summary.json").read_text())
    del document["format_version"]
    return document


@pytest.mark.spark
class TestJson:
    def test_a_run_says_what_it_did_and_what_failed(self, spark, corpus, tmp_path, capsys):
        (corpus / "broken.loom").write_bytes(b"no HDF5")
        out = tmp_path / "out"
        assert ended("run", corpus, "--out", out, "--on-error", "skip", "--json") == 1
        said = capsys.readouterr()
        document = only_document(said)
        assert "converted 2 of 2 sources" in said.err
        assert list(document) == [
            "command", "median_spark", "conversion", "summary", "failures", "warnings", "notes", "paths"
        ]  # fmt: skip
        conversion = document["conversion"]
        assert (conversion["converted"], conversion["unchanged"]) == (["a/study1", "b/study1"], [])
        assert (conversion["cells"], conversion["cells_passed"], conversion["rows_summed"]) == (80, 80, 0)
        assert document["summary"] == figures_in(out / "medians")
        assert [failure["source"] for failure in document["failures"]] == ["broken"]
        assert "not an HDF5 file" in document["failures"][0]["reason"]
        assert [note[:16] for note in document["notes"]] == ["80 cells are few"]
        assert document["paths"] == {
            "expression": f"{out}/expression",
            "result": f"{out}/medians",
            "report": f"{out}/medians/report.html",
        }

    def test_the_steps_do_too_also_when_quiet(self, spark, corpus, tmp_path, capsys):
        table, result = tmp_path / "x", tmp_path / "r"
        assert ended("convert", corpus, "--out", table, "--json", "--quiet") == 0
        said = capsys.readouterr()
        assert only_document(said)["paths"] == {"expression": str(table)}
        assert said.err == ""
        assert ended("medians", table, "--out", result, "--json") == 0
        medians = only_document(capsys.readouterr())
        assert ended("merge", result, "--out", tmp_path / "m", "--json") == 0
        merged = only_document(capsys.readouterr())
        for document, folder in ((medians, result), (merged, tmp_path / "m")):
            assert document["summary"] == figures_in(folder)
            assert document["paths"] == {"result": str(folder), "report": f"{folder}/report.html"}
        assert ended("verify", table, result, "--json") == 0
        verified = only_document(capsys.readouterr())
        assert verified["differences"] == []
        assert verified["compared"]

    def test_errors_leave_standard_output_empty(self, spark, tmp_path, capsys):
        assert ended("run", tmp_path / "nowhere", "--out", tmp_path / "out", "--json") == 2
        said = capsys.readouterr()
        assert (said.out, "there is no such file or folder" in said.err) == ("", True)


def test_inspect_gives_a_document_also_of_what_cannot_be_used(corpus, capsys):
    assert ended("inspect", corpus / "a/study1.loom", "--json") == 0
    document = only_document(capsys.readouterr())
    assert (document["usable"], document["problem"]) == (True, None)
    assert {"field": "cells passing", "finding": "40 of 40"} in document["findings"]
    assert ended("inspect", corpus / "a/study1.loom", "--json", "--n-counts-attr", "total") == 2
    document = only_document(capsys.readouterr())
    assert not document["usable"]
    assert "'total' is missing" in document["problem"]


@pytest.mark.spark
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_the_log_file_has_all_that_is_said_also_when_quiet(spark, corpus, tmp_path, capsys, quiet):
    (corpus / "broken.loom").write_bytes(b"no HDF5")
    log = tmp_path / "run.log"
    arguments = ["run", corpus, "--out", tmp_path / "out", "--log-file", log, *quiet]
    assert ended(*arguments) == 2
    assert log.read_text().splitlines()[-1].split(" ", 2)[2].startswith(f"ERROR error: {corpus}/broken.loom: this is")
    assert ended(*arguments, "--on-error", "skip") == 1
    said = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert any(line.startswith("INFO converted 2 of 2 sources, 80 of 80 cells") for line in said)
    assert any(line.startswith("INFO digesting ") for line in said)
    assert "ERROR failed        1 source" in said
    assert f"INFO report        {tmp_path}/out/medians/report.html" in said
    assert (capsys.readouterr().out == "") == bool(quiet)


def test_a_log_file_that_cannot_be_opened_exits_with_2(corpus, tmp_path, capsys):
    arguments = ["merge", tmp_path, "--out", tmp_path / "out", "--log-file", tmp_path / "no" / "run.log"]
    assert ended(*arguments) == 2
    assert "the log file cannot be written (No such file or directory)" in capsys.readouterr().err
