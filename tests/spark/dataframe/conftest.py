"""Fixtures of the tests of DataFrames."""

import pytest

from median_spark.spark.dataframe import gene_medians as frames_module


@pytest.fixture(autouse=True, scope="module")
def few_shuffle_partitions(spark):
    """Spare these tests the hundreds of empty tasks that Spark would run beside each of theirs."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "3")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(frames_module, "_MERGE_PARTITIONS", 2)
        yield
    spark.conf.set("spark.sql.shuffle.partitions", before)
