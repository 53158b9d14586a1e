"""YARN and HDFS: spark-submit in client and cluster mode, with inputs, table and result on HDFS.

Also the step of EMR, machines that are lost, containers that take too much memory, and archives that are replaced.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hadoop_cluster import hadoop_cluster
from looms import random_counts, write_loom
from machines import SPARK_HOME, wait_for
from submission import assert_lost_at_work, submitted, switch_off_at_work
from tables import content_anywhere

import median_spark
from median_spark import storage

pytestmark = [pytest.mark.cluster, pytest.mark.yarn, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]
SOURCES = 6

SITE = {
    "spark.yarn.jars": f"local:{SPARK_HOME}/jars/*",  # the machines have Spark, as those of EMR
    "spark.executor.instances": "2",
}
"""What a cluster has set for all its jobs, but for their addresses."""

SMALL = {
    "spark.executor.instances": "1",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.memoryOverhead": "1500m",
    "spark.task.maxFailures": "1",
    "spark.excludeOnFailure.enabled": "false",
}
"""What a job needs that only has to fail."""

SPREAD = {
    "spark.executor.instances": "2",
    "spark.executor.cores": "1",
    "spark.executor.memoryOverhead": "10g",  # a machine has room for one
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "200s",
}
"""What a job needs to begin with an executor on either machine."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yarn")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hadoop(place, bare):
    """A cluster whose machines have Java, Spark and a Python without packages."""
    java = Path(shutil.which("java")).resolve()
    with hadoop_cluster(place / "hadoop", {"JAVA_HOME": str(java.parents[1]), **bare}) as started:
        yield started


@pytest.fixture(scope="module")
def corpus(place):
    """A folder of looms, with a gene table beside it."""
    rng = np.random.default_rng(77)
    for number in range(SOURCES):
        write_loom(place / "corpus" / f"study{number}.loom", random_counts(rng, 1_500, 1_200, 0.2))
    lines = [f"ENSG{number:011d},protein_coding" for number in range(0, 1_500, 2)]
    (place / "gene_info_table.csv").write_text("\n".join(["ensembl_id,gene_type", *lines]) + "\n")
    return place / "corpus"


@pytest.fixture(scope="module")
def bucket(hadoop, corpus, archive):
    """A folder of HDFS that holds what docs/emr.md puts into a bucket."""
    location = f"{hadoop.hdfs}/bucket"
    for path in [*corpus.iterdir(), corpus.parent / "gene_info_table.csv"]:
        storage.write_bytes(f"{location}/{path.relative_to(corpus.parent)}", path.read_bytes())
    storage.write_bytes(f"{location}/median_spark/run.py", (CHECKOUT / "jobs" / "run.py").read_bytes())
    hadoop.put(archive, f"{location}/median_spark/environment.tar.gz")
    return location


@pytest.fixture(scope="module")
def expected(place, corpus):
    """What a local run gives."""
    command = [
        sys.executable,
        "-m",
        "median_spark",
        "run",
        str(corpus),
        "--by",
        "source",
        "--out",
        str(place / "local"),
    ]
    table = ["--gene-table", str(place / "gene_info_table.csv")]
    subprocess.run([*command, *table, "--master", "local[2]", "--quiet"], check=True)
    return content_anywhere(place / "local" / "medians")


def run(edge, hadoop, bucket, *options, archive="environment.tar.gz", **properties):
    """Submit a job in client mode as the documentation says."""
    return submitted(
        edge,
        hadoop.environment,
        *("--master", "yarn", "--deploy-mode", "client"),
        *("--properties-file", "environment/conf/spark-cluster.conf"),
        *("--archives", f"{bucket}/median_spark/{archive}#environment"),
        *("environment/jobs/run.py", f"{bucket}/corpus", "--gene-table", f"{bucket}/gene_info_table.csv", *options),
        properties=SITE | properties,
    )


def step_arguments(bucket):
    """Return the arguments of the step that EMR gets, with a folder of HDFS in the place of the bucket."""
    step = json.loads((CHECKOUT / "conf" / "emr" / "step.json").read_text())
    program, *arguments = step["Steps"][0]["HadoopJarStep"]["Args"]
    assert program == "spark-submit"
    return [argument.replace("s3://${BUCKET}", bucket) for argument in arguments]


def killed_for_memory(job):
    """Return the ids of the executors that YARN has ended because they took too much, by the event log."""
    removed = job.logged("ExecutorRemoved")  # Spark may log one twice
    return {event["Executor ID"] for event in removed if "memory limits" in event["Removed Reason"]}


def assert_complete(out):
    left = [file.path for file in storage.files_below(out) if file.path.endswith(".tmp") or "/staging/" in file.path]
    assert left == []


def test_client_mode_writes_the_same_bytes(hadoop, edge, bucket, expected):
    out = f"{bucket}/client"
    with run(edge, hadoop, bucket, "--by", "source", "--out", out) as job:
        assert job.end() == 0, job.said()[-6000:]
    assert content_anywhere(f"{out}/medians") == expected
    assert_complete(out)
    assert not killed_for_memory(job)


def test_the_step_of_emr_runs_in_cluster_mode_as_it_stands(hadoop, place, bucket, expected):
    (place / "submitting").mkdir()
    arguments = step_arguments(bucket)
    assert not [argument for argument in arguments if "s3:" in argument or "$" in argument]
    with submitted(
        place / "submitting",  # nothing of median_spark is on the machine that submits
        hadoop.environment,
        *arguments,
        properties=SITE | {"spark.master": "yarn"},
        as_defaults=True,
    ) as job:
        assert job.end() == 0, job.said()[-6000:]
    found = content_anywhere(f"{bucket}/run1/medians")
    assert found == {name: expected[name] for name in found}
    assert "medians.csv" in found
    assert_complete(f"{bucket}/run1")
    assert not killed_for_memory(job)
    said = [path.read_text() for path in hadoop.folder.glob("node*/logs/*/container_*_000001/stdout")]
    assert [text for text in said if f"{SOURCES} converted" in text]  # that of client mode has none


def test_a_machine_that_is_lost_under_way(hadoop, edge, bucket, expected):
    out = f"{bucket}/lost"
    with run(edge, hadoop, bucket, "--by", "source", "--out", out, **SPREAD) as job:
        wait_for(lambda: all(node.executors() for node in hadoop.nodes), job)
        (victim,) = [node for node in hadoop.nodes if not node.has_driver()]
        loss = switch_off_at_work(job, victim, "median_spark: look")
        assert job.end() == 0, job.said()[-6000:]
    hadoop.replace(victim)
    assert_lost_at_work(job, loss)
    assert content_anywhere(f"{out}/medians") == expected
    assert_complete(out)


def test_an_executor_that_takes_more_memory_than_it_has_is_ended(hadoop, edge, bucket):
    """Four Python workers beside a JVM, with the overhead of none."""
    small = SMALL | {"spark.executor.cores": "4", "spark.executor.memoryOverhead": "384m"}
    with run(edge, hadoop, bucket, "--out", f"{bucket}/greedy", **small) as job:
        assert job.end() == 2, job.said()[-6000:]
    assert killed_for_memory(job) == {"1"}
    said = job.said().splitlines()[-1]
    assert said.startswith("error: ")
    assert "spark.executor.memoryOverhead" in said


def other_environment(folder, version, time):
    """Pack an environment whose median_spark calls itself another version; its packages are those of the tests."""
    tree = folder / version
    shutil.copytree(
        Path(median_spark.__file__).parent, tree / "lib" / "median_spark", ignore=shutil.ignore_patterns("__pycache__")
    )
    versions = tree / "lib" / "median_spark" / "versions.py"
    versions.write_text(versions.read_text().replace(f'"{median_spark.__version__}"', f'"{version}"'))
    (tree / "bin").mkdir()
    lib = '$(dirname "$(dirname "$(readlink -f "$0")")")/lib'
    script = tree / "bin" / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{lib}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    with tarfile.open(tree.with_suffix(".tar.gz"), "w:gz") as packed:
        packed.add(tree, ".")
    os.utime(packed.name, (time, time))
    return packed.name


def test_an_archive_that_is_replaced_under_its_name(hadoop, edge, bucket, tmp_path):
    """A machine keeps an archive by name and time: one that is put in its place with the same time is not fetched."""

    def version_found(archive, *options):
        hadoop.put(archive, f"{bucket}/median_spark/replaced.tar.gz", *options)
        with run(edge, hadoop, bucket, "--out", f"{bucket}/mixed", archive="replaced.tar.gz", **SMALL | SPREAD) as job:
            assert job.end() == 2, job.said()[-6000:]
        before, _, worker = job.said().splitlines()[-1].partition(" and a worker ")
        assert before.startswith("error: ")
        assert f"different versions of median_spark: the driver runs {median_spark.__version__} (" in before
        return worker.split()[0]

    assert version_found(other_environment(tmp_path, "7.0", 1_700_000_000), "-p") == "7.0"
    assert version_found(other_environment(tmp_path, "8.0", 1_700_000_000), "-p") == "7.0"
    assert version_found(other_environment(tmp_path, "9.0", 1_700_000_000)) == "9.0"
