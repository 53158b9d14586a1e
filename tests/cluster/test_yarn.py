"""YARN and HDFS: spark-submit in client mode with the packed environment, and inputs, table and result on HDFS."""

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
from standalone_cluster import SPARK_HOME, bare_environment, bare_python, submitted
from tables import content_anywhere

from median_spark import storage

pytestmark = [pytest.mark.cluster, pytest.mark.yarn, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]
SOURCES = 6

SMALL = {
    "spark.yarn.jars": f"local:{SPARK_HOME}/jars/*",  # the machines have Spark, as those of EMR
    "spark.executor.instances": "2",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.memoryOverhead": "1500m",
    "spark.driver.memory": "512m",
    "spark.driver.memoryOverhead": "1500m",
}
"""What differs here from a cluster of real machines."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yarn")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def archive(place):
    """The packed environment, made as `make package` makes it, unless MEDIAN_SPARK_ARCHIVE names one of this state."""
    given = os.environ.get("MEDIAN_SPARK_ARCHIVE")
    if given:
        return Path(given).absolute()
    subprocess.run([sys.executable, str(CHECKOUT / "conf/package/pack.py"), "--out", str(place / "dist")], check=True)
    (made,) = (place / "dist").glob("*linux*.tar.gz")
    return made


@pytest.fixture(scope="module")
def hadoop(place):
    """A cluster whose machines have Java, Spark and a Python without packages."""
    environment = bare_environment(bare_python(place / "bare"), place / "home")
    java = Path(shutil.which("java")).resolve()
    with hadoop_cluster(place / "hadoop", {"JAVA_HOME": str(java.parents[1]), **environment}) as started:
        yield started


@pytest.fixture(scope="module")
def corpus(place, hadoop):
    """Looms and a gene table on disk, and the same on HDFS; returns the local folder."""
    rng = np.random.default_rng(77)
    for number in range(SOURCES):
        write_loom(place / "corpus" / f"study{number}.loom", random_counts(rng, 1_500, 1_200, 0.2))
    lines = [f"ENSG{number:011d},protein_coding" for number in range(0, 1_500, 2)]
    (place / "gene_info_table.csv").write_text("\n".join(["ensembl_id,gene_type", *lines]) + "\n")
    bucket = f"{hadoop.hdfs}/bucket"
    for path in [*(place / "corpus").iterdir(), place / "gene_info_table.csv"]:
        storage.write_bytes(f"{bucket}/{path.relative_to(place)}", path.read_bytes())
    return place / "corpus"


@pytest.fixture(scope="module")
def expected(place, corpus):
    """What a local run gives."""
    command = [
        sys.executable,
        "-m",
        "median_spark",
        "run",
        str(corpus),
        "--out",
        str(place / "local"),
        "--by",
        "source",
    ]
    table = ["--gene-table", str(place / "gene_info_table.csv")]
    subprocess.run([*command, *table, "--master", "local[2]", "--quiet"], check=True)
    return content_anywhere(place / "local" / "medians")


@pytest.fixture(scope="module")
def edge(place, archive):
    """The folder on the machine that submits in client mode, with the environment unpacked as the driver needs it."""
    with tarfile.open(archive) as packed:
        packed.extractall(place / "edge" / "environment", filter="tar")
    return place / "edge"


def test_client_mode_writes_the_same_bytes(hadoop, edge, archive, corpus, expected):
    assert corpus.is_dir()
    bucket, out = f"{hadoop.hdfs}/bucket", f"{hadoop.hdfs}/bucket/client"
    with submitted(
        edge,
        hadoop.environment,
        *("--master", "yarn", "--deploy-mode", "client"),
        *("--properties-file", "environment/conf/spark-cluster.conf"),
        *("--archives", f"{archive}#environment"),
        *("environment/jobs/run.py", f"{bucket}/corpus", "--gene-table", f"{bucket}/gene_info_table.csv"),
        *("--by", "source", "--out", out),
        properties=SMALL,
    ) as job:
        assert job.end() == 0, job.said()[-6000:]
    assert content_anywhere(f"{out}/medians") == expected
    left = [file.path for file in storage.files_below(out) if file.path.endswith(".tmp") or "/staging/" in file.path]
    assert left == []
