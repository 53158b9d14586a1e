"""Fixtures: one Spark session for all tests that need one, a demo corpus, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from median_spark.demo import write_demo

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("default")

REAL_DATA = Path(os.environ.get("MEDIAN_SPARK_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def spark():
    """A local session of two cores, started when the first test asks for it."""
    from median_spark.spark.session import spark_session

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
    """The folder with real looms and a real gene table, if it is there."""
    if not (REAL_DATA / "corpus").is_dir():
        pytest.skip(f"needs real data: {REAL_DATA}/corpus is not there (set MEDIAN_SPARK_REAL_DATA)")
    return REAL_DATA
