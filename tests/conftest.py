"""Fixtures: one Spark session for all tests that need one, a demo corpus, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from median_spark.demo import write_demo

# Helpers that assert: pytest explains what failed there, too.
pytest.register_assert_rewrite(
    "browser",
    "connect_server",
    "hadoop_cluster",
    "processes",
    "reading",
    "report_folders",
    "standalone_cluster",
    "store_servers",
)

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
# For make test-seeds: --hypothesis-seed alone decides the examples, not what earlier runs have kept.
settings.register_profile("seeds", settings.get_profile("default"), derandomize=False, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items):
    """Bring files that start Spark to the front: the last to be begun must not keep one process busy by itself."""
    long = {item.path for item in items if item.get_closest_marker("spark")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def spark():
    """A local session of two cores, started when the first test asks for it."""
    from median_spark.spark.engine.session import spark_session

    with spark_session("local[2]") as session:
        yield session


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder of the demo corpus; not to be written to."""
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo(str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data():
    """A folder with real looms in corpus/ and gene_info_table.csv, named by MEDIAN_SPARK_REAL_DATA."""
    named = os.environ.get("MEDIAN_SPARK_REAL_DATA")
    if not named:
        pytest.skip("needs real data: MEDIAN_SPARK_REAL_DATA names no folder")
    return Path(named)
