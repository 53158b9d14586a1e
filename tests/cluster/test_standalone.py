"""A standalone cluster of bare machines, spark-submit, the packed environment; and machines that are lost under way."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom
from machines import MINOR
from processes import SUPPORT
from standalone_cluster import standalone_cluster
from submission import assert_lost_at_work, by, is_success, submitted, switch_off_at_work
from tables import stored_records

pytestmark = [pytest.mark.cluster, pytest.mark.standalone, pytest.mark.slow]

SOURCES = 8

JOB = "environment/jobs/run.py"
IN_WINDOWS = SUPPORT / "in_windows.py"
SLOWLY_IN_WINDOWS = SUPPORT / "slowly_in_windows.py"

WINDOW = 1_600_000
"""Rows of a window with which the corpus falls into several bundles: then digests are shuffled and merged."""

SMALL = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.memoryOverhead": "512m",
    "spark.driver.memory": "512m",
}
"""What differs here from a cluster of real machines."""

VARYING = (
    (rb"(part-\d+)-[0-9a-f]{8}\.parquet", rb"\1.parquet"),
    (rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z| UTC)", b""),
    (rf"\b{re.escape(MINOR)}\.\d+\b".encode(), MINOR.encode()),
)
"""What may differ in a record: random names, times, and by how little the Pythons of two machines differ."""

TIMES = {"metrics.csv", "metrics.parquet"}
"""Files of a result that say nothing but how long it took, and where."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that driver and workers see; a gigabyte or two, so it is not kept."""
    folder = tmp_path_factory.mktemp("standalone")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def corpus(place):
    """Sources of several row groups each, so that there are several sweeps."""
    rng = np.random.default_rng(31)
    for number in range(SOURCES):
        write_loom(place / "corpus" / f"study{number}.loom", random_counts(rng, 4_000, 1_500, density=0.25))
    return place / "corpus"


@pytest.fixture
def out(place):
    """Where every run writes, for a result names the place of its expression table."""
    yield place / "out"
    shutil.rmtree(place / "out", ignore_errors=True)


@pytest.fixture(scope="module")
def reference(place, corpus):
    """A local run: the folder that it left, and its content."""
    out = place / "out"
    command = [sys.executable, "-m", "median_spark", "run", str(corpus), "--by", "source", "--out", str(out)]
    subprocess.run([*command, "--master", "local[2]", "--quiet"], check=True)
    found = content(out)
    out.rename(place / "reference")
    return place / "reference", found


@pytest.fixture
def cluster(tmp_path, bare):
    with standalone_cluster(tmp_path / "cluster", bare) as started:
        yield started
    shutil.rmtree(tmp_path / "cluster")


def content(out):
    """Return of every file of a run what must be the same, whatever ran it: all but times and random names."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = re.sub(r"(part-\d+)-[0-9a-f]{8}\.parquet", r"\1.parquet", path.relative_to(out).as_posix())
        if path.suffix != ".jsonl":  # sources come to files of records in the order in which they are complete
            found[name] = None if path.name in TIMES or path.name == "lock" else comparable(path)
    for source, record in stored_records(out / "expression").items():
        fields = {name: value for name, value in record.items() if name != "common"}
        found[f"record of {source}"] = fingerprint_of(json.dumps(fields, sort_keys=True).encode())
    assert not [name for name in found if name.startswith("expression/staging/")]
    return found


def comparable(path):
    """Return what of a file must be the same: fields, or a fingerprint."""
    read = path.read_bytes()
    if path.suffix == ".parquet" and not path.name.startswith("part-"):
        plain = BytesIO()  # the record of the run, with its times, is in the metadata
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), plain)
        read = plain.getvalue()
    return fingerprint_of(read) if path.suffix in {".json", ".html"} else hashlib.sha256(read).hexdigest()


def fingerprint_of(text):
    """Return a fingerprint of a text without times and random names."""
    for pattern, what in VARYING:
        text = re.sub(pattern, what, text)
    return hashlib.sha256(text).hexdigest()


def differing(found, expected):
    """Return the names of the files in which two runs differ."""
    return sorted(
        name for name in found.keys() | expected.keys() if found.get(name, "none") != expected.get(name, "none")
    )


def run(edge, bare, cluster, archive, *program):
    """Submit a job as the documentation says."""
    return submitted(
        edge,
        bare,
        *("--master", cluster.url),
        *("--properties-file", "environment/conf/spark-cluster.conf"),
        *("--archives", f"{archive}#environment"),
        *program,
        properties=SMALL,
    )


def test_the_archive_says_which_machines_it_fits_and_brings_no_spark(archive):
    fits = re.fullmatch(
        rf"median_spark-[\d.]+-cp{MINOR.replace('.', '')}-(\w+)_(\d+)_(\d+)_(\w+)\.tar\.gz", archive.name
    )
    assert fits
    with tarfile.open(archive) as packed:
        entries = packed.getmembers()
        text = packed.extractfile("README.txt").read().decode()
    names = [entry.name for entry in entries]
    assert f"Python {MINOR}" in text
    assert f"{fits[2]}.{fits[3]} or newer" in text
    assert fits[4] in text
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert {(entry.mtime, entry.uid, entry.uname) for entry in entries} == {(entries[0].mtime, 0, "")}
    site = f"lib/python{MINOR}/site-packages"
    assert f"{site}/numpy/__init__.py" in names
    assert not [name for name in names if name.startswith((f"{site}/pyspark", f"{site}/py4j"))]


def test_a_cluster_of_bare_machines_writes_the_same_bytes(edge, bare, cluster, archive, corpus, reference, out):
    with run(edge, bare, cluster, archive, JOB, corpus, "--by", "source", "--out", out) as job:
        assert job.end() == 0, job.said()
    assert not differing(content(out), reference[1])
    at_work = {event["Task Info"]["Executor ID"] for event in job.logged("TaskEnd") if is_success(event)}
    assert len(at_work) == 2


def test_a_machine_that_is_lost_while_matrices_are_read(edge, bare, cluster, archive, corpus, reference, out):
    with run(edge, bare, cluster, archive, JOB, corpus, "--by", "source", "--out", out) as job:
        loss = switch_off_at_work(job, cluster.workers[0], "median_spark: look")
        assert len(stored_records(out / "expression")) < SOURCES
        assert job.end() == 0, job.said()
    assert_lost_at_work(job, loss)
    assert not differing(content(out), reference[1])


def test_a_machine_that_is_lost_while_medians_are_computed(edge, bare, cluster, archive, corpus, reference, out):
    shutil.copytree(reference[0] / "expression", out / "expression")
    with run(edge, bare, cluster, archive, JOB, corpus, "--by", "source", "--out", out) as job:
        loss = switch_off_at_work(job, cluster.workers[0], "median_spark: digest")
        assert not (out / "medians").exists()
        assert job.end() == 0, job.said()
    assert_lost_at_work(job, loss)
    assert not differing(content(out), reference[1])


def test_a_machine_that_is_lost_with_what_it_has_shuffled(edge, bare, cluster, archive, reference, out):
    """The medians of several bundles: what it had digested is done again, too."""
    expression = reference[0] / "expression"
    local = [sys.executable, str(IN_WINDOWS), str(WINDOW), "medians", str(expression), "--out", str(out), "--quiet"]
    subprocess.run([*local, "--master", "local[2]"], check=True)
    expected = content(out)
    shutil.rmtree(out)
    with run(edge, bare, cluster, archive, SLOWLY_IN_WINDOWS, WINDOW, "medians", expression, "--out", out) as job:
        loss = switch_off_at_work(job, cluster.workers[0], "median_spark: digest", done=1)
        assert job.end() == 0, job.said()
    assert_lost_at_work(job, loss)
    done = [event for event in job.logged("TaskEnd") if is_success(event)]
    tasks = [{(event["Stage ID"], event["Task Info"]["Index"]) for event in done if by(loss.executors, event)}]
    tasks += [{(event["Stage ID"], event["Task Info"]["Index"]) for event in done if not by(loss.executors, event)}]
    assert tasks[0]
    assert tasks[0] <= tasks[1]
    assert not differing(content(out), expected)
    medians = "total_gene_median_dict.pickle"
    assert expected[medians] == reference[1][f"medians/{medians}"]
    assert expected["digests.parquet"] != reference[1]["medians/digests.parquet"]


def test_workers_without_the_environment_say_what_they_need(edge, bare, cluster, corpus, out):
    with submitted(
        edge,
        bare,
        *("--master", cluster.url, "--properties-file", "environment/conf/spark-cluster.conf"),
        *("environment/jobs/run.py", corpus, "--out", out),
        properties={**SMALL, "spark.excludeOnFailure.enabled": "false", "spark.task.maxFailures": "1"},
    ) as job:
        assert job.end() == 2
    said = job.said().splitlines()[-1]
    assert said.startswith("error: ")
    assert "--archives" in said
