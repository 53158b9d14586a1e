"""The properties of a Spark that is started here."""

import sys

import pytest

from median_spark.spark.engine import session
from median_spark.spark.engine.processor import DISABLED

OPTIONS = "spark.driver.extraJavaOptions"


@pytest.fixture
def own(monkeypatch):
    """Return a function that gives the properties, on a processor that sorts faster without one of numpy's features."""
    monkeypatch.setattr(session, "worker_environment", lambda: {DISABLED: "X86_V4"})
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)

    def properties(master=None, classes="", *, tables_only=False):
        return session._own_properties(master, classes, tables_only=tables_only)

    return properties


def test_the_jvm_compiles_quickly_for_tables_and_hot_loops_well_for_dataframes(own):
    assert "-XX:TieredStopAtLevel=1" in own(tables_only=True)[OPTIONS].split()
    assert "-XX:TieredStopAtLevel=1" not in own()[OPTIONS]
    assert "-XX:Tier4BackEdgeThreshold=400000" in own()[OPTIONS].split()


def test_the_jvm_gets_the_options_of_its_classes_and_of_its_log(own):
    options = own(classes="-XX:SharedArchiveFile=a.jsa")[OPTIONS]
    assert options.endswith("-XX:SharedArchiveFile=a.jsa")
    assert "log4j2.properties" in options


def test_workers_leave_features_of_numpy_where_they_have_this_processor_and_this_numpy(own, monkeypatch):
    name = f"spark.executorEnv.{DISABLED}"
    assert own()[name] == own("local[2]")[name] == "X86_V4"
    assert name not in own("spark://host:7077")
    monkeypatch.setenv("PYSPARK_PYTHON", "/usr/bin/other-python")
    assert name not in own()
