"""What Spark's pages show of our jobs: each is described, and what the caller had set is as it was."""

import pyarrow as pa
import pytest
from looms import write_looms
from windows import bundles

from median_spark import ConvertOptions, MedianOptions, ResultOptions, convert, medians, run, table_medians
from median_spark.errors import EngineError, InputError
from median_spark.spark.engine import tasks
from median_spark.spark.engine.job_description import job_description

pytestmark = pytest.mark.spark

WINDOW = 30_000
GROUP = "cell 7 of a notebook"
IN_UNITS = ConvertOptions(unit_entries=20_000)
"""What makes two units of each source; a source of one unit is converted where it is looked at."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    names = [f"study{number}" for number in range(3)]
    return str(write_looms(tmp_path_factory.mktemp("described") / "corpus", names, 5, 60, 1_000, density=0.4))


@pytest.fixture
def jobs(spark):
    """A function that returns the jobs since the last call, oldest first, as Spark's status store has them."""
    context = spark.sparkContext._jsc.sc()
    told = set()

    def since():
        context.listenerBus().waitUntilEmpty(30_000)
        found = context.statusStore().jobsList(None)
        new = [job for job in (found.apply(place) for place in range(found.size())) if job.jobId() not in told]
        told.update(job.jobId() for job in new)
        return sorted(new, key=lambda job: job.jobId())

    since()
    return since


def texts(found):
    return [job.description().get() if job.description().isDefined() else None for job in found]


def test_every_job_of_a_run_is_described(spark, corpus, jobs, tmp_path):
    outputs = ResultOptions(by=("source",), digest_pickles=str(tmp_path / "pickles"))
    run(corpus, str(tmp_path / "out"), spark=spark, conversion=IN_UNITS, outputs=outputs)
    assert texts(jobs()) == [
        "median_spark: look at 3 sources",
        "median_spark: convert 3 sources, 6 units",
        f"median_spark: digest {values_of(tmp_path / 'out' / 'expression'):,} values in 1 sweep",
        "median_spark: work on 3 sources by themselves",
    ]


def values_of(expression):
    from median_spark.expression import open_table

    return sum(record.values for record in open_table(str(expression)).sources())


def test_every_job_of_medians_in_several_bundles_is_described(spark, corpus, jobs, tmp_path):
    convert(corpus, str(tmp_path / "x"), spark=spark)
    jobs()
    count = bundles(tmp_path / "x", WINDOW)
    assert count > 1
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark, options=MedianOptions(window_rows=WINDOW))
    found = texts(jobs())
    assert all(text.startswith("median_spark: ") for text in found)
    digesting = [text for text in found if " digest " in text]
    assert digesting
    assert all(text.endswith(f"sweeps of {count} bundles, merge by gene") for text in digesting)
    assert any(text.startswith("median_spark: refine ") and text.endswith(", round 1") for text in found)


def test_the_callers_own_description_comes_back(spark, corpus, jobs, tmp_path):
    context = spark.sparkContext
    context.setJobDescription("mine")
    try:
        convert(corpus, str(tmp_path / "x"), spark=spark)
        table_medians(str(tmp_path / "x"), spark=spark)
        ours = texts(jobs())
        spark.range(3).count()
        own = texts(jobs())
    finally:
        context.setLocalProperty("spark.job.description", None)
    assert all(text.startswith("median_spark: ") for text in ours)
    assert set(own) == {"mine"}
    spark.range(3).count()
    assert set(texts(jobs())).isdisjoint({"mine", *ours})


def test_a_description_ends_with_a_job_that_failed(spark, jobs):
    def fail(number):
        message = f"task {number} is broken"
        raise InputError(message)
        yield

    context = spark.sparkContext
    context.setJobDescription("mine")
    try:
        frame = tasks.run_tasks(spark, 1, pa.schema([("n", pa.int64())]), fail)
        with pytest.raises(EngineError, match=r"failing: the Spark job failed: .*task 0 is broken"):
            tasks.collect(frame, None, "failing")
        assert context.getLocalProperty("spark.job.description") == "mine"
    finally:
        context.setLocalProperty("spark.job.description", None)
    assert set(texts(jobs())) == {"median_spark: failing"}


def test_descriptions_nest(spark):
    context = spark.sparkContext
    with job_description(spark, "outer"):
        with job_description(spark, "inner"):
            assert context.getLocalProperty("spark.job.description") == "median_spark: inner"
        assert context.getLocalProperty("spark.job.description") == "median_spark: outer"
    assert context.getLocalProperty("spark.job.description") is None


@pytest.mark.slow
def test_jobs_belong_to_the_callers_group_so_that_a_notebook_can_cancel_them(spark, corpus, jobs, tmp_path):
    context = spark.sparkContext
    context.setJobGroup(GROUP, "a cell")
    try:
        run(corpus, str(tmp_path / "out"), spark=spark, conversion=IN_UNITS)
    finally:
        for name in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
            context.setLocalProperty(name, None)
    found = jobs()
    assert "median_spark: convert 3 sources, 6 units" in texts(found)
    assert {job.jobGroup().get() if job.jobGroup().isDefined() else None for job in found} == {GROUP}
