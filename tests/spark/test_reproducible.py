"""The same bytes, whatever runs it and however it came about."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import SUPPORT, python_workers
from tables import fingerprint
from windows import bundles

from median_spark import MedianOptions, ReadOptions, ResultOptions, convert, medians, read_gene_table, remove_sources
from median_spark.spark.medians import corpus, refine

try:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
except ImportError:  # numpy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__

pytestmark = [pytest.mark.spark, pytest.mark.slow]

WINDOW = 60_000
"""Rows of a window with which the demo corpus falls into several bundles: then values are shuffled and merged."""

WHOLE = (sys.executable, "-m", "median_spark", "run")
IN_WINDOWS = (sys.executable, str(SUPPORT / "in_windows.py"), str(WINDOW), "run")


@pytest.fixture(scope="module")
def options(demo):
    return ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))


@pytest.fixture(scope="module")
def references(spark, demo, options, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference")
    convert(str(demo), str(out / "x"), spark=spark, reading=options)
    assert bundles(out / "x", WINDOW) > 2
    medians(str(out / "x"), str(out / "r"), spark=spark, outputs=ResultOptions(gene_table=options.gene_table))
    medians(
        str(out / "x"),
        str(out / "w"),
        spark=spark,
        options=MedianOptions(window_rows=WINDOW),
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    found = fingerprint(out / "r"), fingerprint(out / "w")
    assert found[0]["digests"] != found[1]["digests"]  # but exact medians are the same
    assert found[0]["total_gene_median_dict.pickle"] == found[1]["total_gene_median_dict.pickle"]
    return found


@pytest.fixture(scope="module")
def reference(references):
    """What comes out where one window holds the corpus."""
    return references[0]


@pytest.fixture(scope="module")
def in_windows(references):
    """What comes out where it does not."""
    return references[1]


def command(demo, out, *more, program=WHOLE):
    """Return the command line of a run in a process of its own."""
    table = str(demo / "gene_info_table.csv")
    return [*program, str(demo), "--gene-table", table, "--out", str(out), "--quiet", *more]


@pytest.mark.parametrize("master", ["local[1]", "local[2]", "local[8]"])
def test_any_number_of_cores(demo, tmp_path, reference, master):
    subprocess.run(command(demo, tmp_path / "out", "--master", master), check=True)
    assert fingerprint(tmp_path / "out" / "medians") == reference


@pytest.mark.parametrize("master", ["local[1]", "local[8]"])
def test_any_number_of_cores_in_several_bundles(demo, tmp_path, in_windows, master):
    subprocess.run(command(demo, tmp_path / "out", "--master", master, program=IN_WINDOWS), check=True)
    assert fingerprint(tmp_path / "out" / "medians") == in_windows


def test_a_processor_without_newer_instructions(demo, tmp_path, reference):
    """As in a cluster of unlike machines: numpy then has other loops, and other last bits in logarithms and sines."""
    supported = [feature for feature in __cpu_dispatch__ if __cpu_features__[feature]]
    without = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(supported), "ARROW_USER_SIMD_LEVEL": "NONE"}
    written = []
    for name, environment in (("newer", dict(os.environ)), ("older", without)):
        subprocess.run(command(demo, tmp_path / name, "--by", "source"), check=True, env=environment)
        result = tmp_path / name / "medians"
        found = fingerprint(result)
        assert {name: found[name] for name in reference} == reference
        written.append({**found, "summary": (result / "summary.json").read_bytes()})
    assert written[0] == written[1]


def test_two_executors_with_speculative_copies_of_tasks(demo, tmp_path, reference):
    submit = [
        str(Path(sys.executable).with_name("spark-submit")),
        *("--master", "local-cluster[2,1,1024]"),
        *("--conf", "spark.speculation=true"),
        *("--conf", "spark.speculation.multiplier=1.01"),
        *("--conf", "spark.speculation.quantile=0.1"),
        *("--conf", "spark.speculation.interval=10ms"),
        *("--conf", "spark.speculation.minTaskRuntime=1ms"),
        *("--conf", "spark.ui.enabled=false"),
        *("--conf", "spark.driver.host=127.0.0.1"),
        str(Path(__file__).parents[2] / "jobs" / "run.py"),
    ]
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    subprocess.run(command(demo, tmp_path / "out", program=submit), check=True, env=environment, cwd=tmp_path)
    assert fingerprint(tmp_path / "out" / "medians") == reference


@pytest.mark.parametrize("partitions", [1, 7])
def test_any_number_of_shuffle_partitions(spark, demo, options, tmp_path, in_windows, monkeypatch, partitions):
    for module in (corpus, refine):
        monkeypatch.setattr(module, "merge_partitions", lambda _: partitions)
    convert(str(demo), str(tmp_path / "x"), spark=spark, reading=options)
    medians(
        str(tmp_path / "x"),
        str(tmp_path / "r"),
        spark=spark,
        options=MedianOptions(window_rows=WINDOW),
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    assert fingerprint(tmp_path / "r") == in_windows


def test_source_by_source_in_any_order_from_either_end(spark, demo, options, tmp_path, reference, in_windows):
    for folder in sorted(demo.iterdir(), reverse=True):
        if folder.is_dir():
            # Named from the corpus's root, as a conversion in one go names them.
            (tmp_path / "in" / folder.name).parent.mkdir(exist_ok=True)
            (tmp_path / "in" / folder.name).symlink_to(folder)
            convert(str(tmp_path / "in"), str(tmp_path / "x"), spark=spark, reading=options)
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark, outputs=ResultOptions(gene_table=options.gene_table))
    assert fingerprint(tmp_path / "r") == reference
    medians(
        str(tmp_path / "x"),
        str(tmp_path / "w"),
        spark=spark,
        options=MedianOptions(window_rows=WINDOW),
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    assert fingerprint(tmp_path / "w") == in_windows


def test_inputs_in_any_order_on_the_command_line(spark, demo, options, tmp_path):
    inputs = [str(demo / "database1"), str(demo / "database2" / "data" / "study2.loom")]
    results = []
    for number, order in enumerate([inputs, inputs[::-1]]):
        convert(order, str(tmp_path / f"x{number}"), spark=spark, reading=options)
        medians(
            str(tmp_path / f"x{number}"),
            str(tmp_path / f"r{number}"),
            spark=spark,
            outputs=ResultOptions(gene_table=options.gene_table),
        )
        results.append(fingerprint(tmp_path / f"r{number}"))
    assert results[0] == results[1]


def test_a_source_removed_and_added_again(spark, demo, options, tmp_path, reference):
    convert(str(demo), str(tmp_path / "x"), spark=spark, reading=options)
    remove_sources(str(tmp_path / "x"), ["database1/data/study2"])
    medians(
        str(tmp_path / "x"),
        str(tmp_path / "without"),
        spark=spark,
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    fresh = tmp_path / "fresh-corpus"
    for path in demo.rglob("*.loom"):
        if path.stem != "study2" or "database2" in str(path):
            (fresh / path.relative_to(demo)).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path.relative_to(demo)).symlink_to(path)
    convert(str(fresh), str(tmp_path / "y"), spark=spark, reading=options)
    medians(
        str(tmp_path / "y"),
        str(tmp_path / "scratch"),
        spark=spark,
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    assert fingerprint(tmp_path / "without") == fingerprint(tmp_path / "scratch") != reference
    convert(str(demo), str(tmp_path / "x"), spark=spark, reading=options)
    medians(
        str(tmp_path / "x"), str(tmp_path / "with"), spark=spark, outputs=ResultOptions(gene_table=options.gene_table)
    )
    assert fingerprint(tmp_path / "with") == reference


@pytest.mark.parametrize("program", [WHOLE, IN_WINDOWS], ids=["one bundle", "several bundles"])
def test_tasks_that_fail_and_are_tried_again(demo, tmp_path, references, program):
    process = subprocess.Popen(command(demo, tmp_path / "out", "--master", "local[2,50]", program=program))
    killed = []

    def kill_workers():
        while process.poll() is None and len(killed) < 4:
            for pid in python_workers(process.pid)[:1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(pid)
                time.sleep(2)  # a worker needs as long to start
            time.sleep(0.02)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    assert process.wait() == 0
    killer.join()
    assert len(killed) >= 2
    assert fingerprint(tmp_path / "out" / "medians") == references[program is IN_WINDOWS]
