"""Fixtures of the tests of DataFrames."""

import pytest

from median_spark.spark.dataframe import gene_medians as frames_module


@pytest.fixture(autouse=True, scope="module")
def few_merge_partitions():
    """Spare these tests the empty tasks that Spark would run beside each of theirs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(frames_module, "_MERGE_PARTITIONS", 2)
        yield
