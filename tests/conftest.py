"""Fixtures: one Spark session for all tests that need one, a demo corpus, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from examples import ALL
from median_spark.demo import write_demo

# Helpers that assert: pytest explains what failed there, too.
pytest.register_assert_rewrite(
    "browser",
    "connect_server",
    "hadoop_cluster",
    "machines",
    "processes",
    "reading",
    "report_folders",
    "standalone_cluster",
    "store_servers",
    "submission",
)

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
settings.register_profile(
    "all", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=ALL
)
settings.register_profile("quick", settings.get_profile("all"), max_examples=15)
# For make test-seeds: --hypothesis-seed alone decides the examples, not what earlier runs have kept.
settings.register_profile("seeds", settings.get_profile("all"), derandomize=False, database=None)
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what -m does not name
def pytest_collection_modifyitems(items):
    """Take properties for slow tests where they are tried on all examples, and begin files that take longest first.

    Those are the ones with slow tests that start Spark, then others that start it. The last file to be begun must not
    keep one process busy by itself.
    """
    if PROFILE == "all":
        for item in items:
            if getattr(item, "obj", None) is not None and is_hypothesis_test(item.obj):
                item.add_marker("slow")
    on_spark = [item for item in items if item.get_closest_marker("spark")]
    long = {item.path for item in on_spark}
    longest = {item.path for item in on_spark if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in longest, item.path not in long))


def _forget_the_name_of_the_test():
    """Take it out of the environment: a guard starts another child when that changes, in half a second."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    _forget_the_name_of_the_test()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call():
    _forget_the_name_of_the_test()


@pytest.fixture(scope="session")
def spark():
    """A local session of two cores, started when the first test asks for it.

    Its JVM does not compile much, and its shuffles have few partitions: tests have few rows.
    """
    from median_spark.spark.engine.session import session_with_classes

    with session_with_classes(None, "local[2]", tables_only=True) as session:
        session.conf.set("spark.sql.shuffle.partitions", "3")
        yield session


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder of the demo corpus; not to be written to."""
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo(str(folder))
    return folder


@pytest.fixture(scope="session")
def demo_expression(spark, demo, tmp_path_factory):
    """The expression table of the demo corpus, read with its gene table; not to be written to."""
    from median_spark import ReadOptions, convert, read_gene_table

    out = tmp_path_factory.mktemp("demo_expression") / "x"
    reading = ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))
    convert(str(demo), str(out), spark=spark, reading=reading)
    return str(out)


@pytest.fixture(scope="session")
def demo_values(demo):
    """The values of each gene of the demo corpus and its number of sources, by the independent implementation."""
    from oracle import corpus_values, read_types

    return corpus_values(sorted(demo.rglob("*.loom")), read_types(demo / "gene_info_table.csv"))


@pytest.fixture(scope="session")
def real_data():
    """A folder with real looms in corpus/ and gene_info_table.csv, named by MEDIAN_SPARK_REAL_DATA."""
    named = os.environ.get("MEDIAN_SPARK_REAL_DATA")
    if not named:
        pytest.skip("needs real data: MEDIAN_SPARK_REAL_DATA names no folder")
    return Path(named)
