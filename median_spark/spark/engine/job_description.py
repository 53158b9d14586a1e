"""What Spark's own pages say about the jobs of this package: a description on classic sessions, a tag on Spark Connect.

Knows nothing of what the jobs compute.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from pyspark.sql import SparkSession

_DESCRIPTION = "spark.job.description"


def job_description(spark: SparkSession, text: str) -> AbstractContextManager[None]:
    """Describe the Spark jobs that this thread starts while a block runs; restore the caller's description after it.

    A classic session shows the text as the job's description. With Spark Connect, whose server describes jobs itself,
    it becomes one of the operation's tags.
    """
    ours = f"median_spark: {text}"
    return _tagged(spark, ours) if is_connect(spark) else _with_description(spark, ours)


def is_connect(spark: SparkSession) -> bool:
    """Say whether a session is one of Spark Connect, whose class is not always a subclass of the classic one."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


@contextlib.contextmanager
def _with_description(spark: SparkSession, text: str) -> Iterator[None]:
    context = spark.sparkContext
    before = context.getLocalProperty(_DESCRIPTION)
    context.setJobDescription(text)
    try:
        yield
    except KeyboardInterrupt:
        raise  # this thread's connection to the JVM may still wait for an answer: nothing can be asked of it safely
    except BaseException:
        with contextlib.suppress(Exception):  # a JVM that is gone must not hide what went wrong before
            context.setLocalProperty(_DESCRIPTION, before)
        raise
    context.setLocalProperty(_DESCRIPTION, before)


@contextlib.contextmanager
def _tagged(spark: SparkSession, text: str) -> Iterator[None]:
    tag = text.replace(",", "")  # tags are kept in one list, parted by commas
    if tag in spark.getTags():
        yield
        return
    spark.addTag(tag)
    try:
        yield
    finally:
        spark.removeTag(tag)
