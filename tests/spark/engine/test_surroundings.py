"""Odd surroundings: a foreign Spark, few open files, no home, hostile modules in the current folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyspark
import pytest
from looms import random_counts, write_loom

from median_spark.spark.engine.surroundings import NEEDED_FILES, use_loopback, use_own_spark

OWN = Path(pyspark.__file__).parent
ENOUGH = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surroundings")
    write_loom(folder / "study.loom", random_counts(np.random.default_rng(3), 30, 20))
    return folder


def ended(script, *arguments, cwd=None, **variables):
    """Run the command line as "$@" in a shell script with few variables of the environment."""
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "median_spark", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=ENOUGH | variables,
    )


class TestTheSparkThatIsStarted:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch):
        for name in ("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_LOCAL_IP"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)

    @pytest.mark.parametrize("conf", ["conf", "conf/deeper"])
    def test_is_pyspark_s_own_where_another_is_named(self, monkeypatch, tmp_path, conf):
        monkeypatch.setenv("SPARK_HOME", str(tmp_path))
        monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path / conf))
        use_own_spark()
        assert os.environ["SPARK_HOME"] == str(OWN)
        assert "SPARK_CONF_DIR" not in os.environ

    def test_keeps_properties_that_belong_to_no_other_spark(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
        monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path / "conf"))
        use_own_spark()
        assert os.environ["SPARK_CONF_DIR"] == str(tmp_path / "conf")

    def test_is_the_one_named_where_pyspark_is_part_of_it(self, monkeypatch, tmp_path):
        (tmp_path / "python" / "pyspark").mkdir(parents=True)
        monkeypatch.setattr(pyspark, "__file__", str(tmp_path / "python" / "pyspark" / "__init__.py"))
        monkeypatch.setenv("SPARK_HOME", str(tmp_path))
        use_own_spark()
        assert os.environ["SPARK_HOME"] == str(tmp_path)

    @pytest.mark.parametrize(
        ("master", "before", "after"),
        [
            (None, None, "127.0.0.1"),
            ("local[2]", None, "127.0.0.1"),
            ("local[2]", "10.0.0.7", "10.0.0.7"),
            ("spark://host:7077", None, None),
        ],
    )
    def test_uses_the_loopback_if_it_is_local(self, monkeypatch, master, before, after):
        if before:
            monkeypatch.setenv("SPARK_LOCAL_IP", before)
        use_loopback(master)
        assert os.environ.get("SPARK_LOCAL_IP") == after


@pytest.mark.parametrize("limit", [100, 250, NEEDED_FILES - 1])
def test_too_few_open_files_are_said_before_the_work(corpus, tmp_path, limit):
    done = ended(f'ulimit -n {limit}; "$@"', "run", corpus, "--out", tmp_path / "out")
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert said[-1].startswith(
        f"error: Spark needs {NEEDED_FILES} open files or more and this process may open {limit}:"
    )
    assert len(said) == 1
    assert not (tmp_path / "out").exists()


HOSTILE = ("h5py", "numpy", "pyarrow", "pandas", "pyspark", "cloudpickle", "numba", "socket", "typing", "platform")


@pytest.fixture
def hostile(corpus, tmp_path):
    """A folder with a loom beside modules that leave a mark when they are run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "study.loom").write_bytes((corpus / "study.loom").read_bytes())
    for name in HOSTILE:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\n")
    return folder


def test_a_module_in_the_current_folder_is_not_imported(hostile):
    done = ended('"$@"', "inspect", "study.loom", cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert not (hostile.parent / "ran").exists()


@pytest.mark.spark
@pytest.mark.slow
def test_workers_import_nothing_from_the_current_folder_and_an_odd_environment_stops_no_run(hostile, tmp_path):
    foreign = tmp_path / "spark-2.4"
    (foreign / "bin").mkdir(parents=True)
    (foreign / "bin" / "spark-submit").write_text("#!/bin/sh\nexit 7\n")
    arguments = ["run", ".", "--out", "out", "--master", "local[1]", "--quiet"]
    java = {name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}
    script = 'ulimit -S -n 300; "$@"'
    done = ended(script, *arguments, cwd=hostile, SPARK_HOME=str(foreign), **java)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert sorted({path.name for path in hostile.iterdir()} - {f"{name}.py" for name in HOSTILE}) == [
        "out",
        "study.loom",
    ]
