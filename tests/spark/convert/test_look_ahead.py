"""Looking at sources in the driver while Spark starts."""

import time

import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom

from median_spark.expression import Looking, WantedSource, conversion_fingerprint, create_table, open_table
from median_spark.guard import DEFAULT_LIMITS
from median_spark.job_options import ConvertOptions
from median_spark.matrices import ReadOptions, find_sources
from median_spark.preparation import prepare_conversion
from median_spark.progress import SilentProgress
from median_spark.spark.convert import look_ahead
from median_spark.spark.convert.convert import execute_conversion
from median_spark.spark.convert.look_ahead import looking_ahead
from median_spark.spark.engine.later import LaterSession, started

READING = ReadOptions()
SECONDS = 60


@pytest.fixture
def corpus(tmp_path):
    """A loom, an h5ad and one that is no matrix."""
    random = np.random.default_rng(5)
    write_loom(tmp_path / "in" / "a.loom", random_counts(random, 60, 40))
    write_h5ad(tmp_path / "in" / "b.h5ad", random_counts(random, 50, 30))
    (tmp_path / "in" / "no.loom").write_bytes(b"nothing")
    return str(tmp_path / "in")


@pytest.fixture
def wanted(corpus):
    return [
        WantedSource(source, conversion_fingerprint(source.name, source.file, READING.as_json()))
        for source in find_sources([corpus])
    ]


@pytest.fixture
def looking(tmp_path):
    return Looking(create_table(str(tmp_path / "table")), READING, 20_000_000, None, "run")


def ahead(looking, wanted):
    return looking_ahead(looking, wanted, {"median_spark": "0"}, DEFAULT_LIMITS)


def wait_for(outcomes, number):
    until = time.monotonic() + SECONDS
    while len(outcomes) < number and time.monotonic() < until:
        time.sleep(0.01)


class TestLookingAhead:
    def test_stages_small_sources_and_tells_which_cannot_be_read(self, looking, wanted):
        with ahead(looking, wanted) as outcomes:
            wait_for(outcomes, 3)
        staged = [outcomes[one.conversion] for one in wanted[:2]]
        assert {one.batch for one in staged} == looking.table.staging.batches()
        assert "no.loom" in outcomes[wanted[2].conversion].error

    def test_ends_with_the_block(self, looking, wanted):
        with ahead(looking, wanted) as outcomes:
            wait_for(outcomes, 1)
        done = len(outcomes)
        time.sleep(0.3)
        assert 1 <= len(outcomes) == done

    def test_ends_when_the_environment_changes_for_the_reader_would_be_started_again(
        self, looking, wanted, monkeypatch
    ):
        begun = []

        def stage_batch(sources, *_):
            begun.append(sources)
            monkeypatch.setenv("MEDIAN_SPARK_TEST", "changed")
            return ["outcome"]

        monkeypatch.setattr(look_ahead, "stage_batch", stage_batch)
        with ahead(looking, wanted) as outcomes:
            wait_for(outcomes, 1)
            time.sleep(0.1)
        assert len(begun) == len(outcomes) == 1

    def test_leaves_to_the_workers_what_ends_in_another_error(self, looking, wanted, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(look_ahead, "stage_batch", full)
        with ahead(looking, wanted) as outcomes:
            time.sleep(0.1)
        assert outcomes == {}

    def test_does_not_wait_for_its_end_when_spark_does_not_start(self, looking, wanted, monkeypatch):
        monkeypatch.setattr(look_ahead, "stage_batch", lambda *_: time.sleep(SECONDS))
        begin, failure = time.monotonic(), RuntimeError("not started")
        with pytest.raises(RuntimeError, match="not started"), ahead(looking, wanted):
            raise failure
        assert time.monotonic() - begin < SECONDS / 2


@pytest.mark.spark
class TestAConversionWithASparkToBeStarted:
    def converted(self, spark, corpus, out, starts_in=None):
        """Convert; Spark is started when that many sources were looked at, or is there already."""

        def start():
            until = time.monotonic() + SECONDS
            staging = open_table(out).staging
            while len(staging.batches()) < starts_in and time.monotonic() < until:
                time.sleep(0.01)
            return spark

        session = started(spark) if starts_in is None else LaterSession(start, pending=True)
        plan = prepare_conversion(corpus, out, READING, ConvertOptions(on_error="skip"))
        return execute_conversion(plan, session, SilentProgress())

    @pytest.mark.parametrize("starts_in", [0, 1, 2])
    def test_makes_the_same_table(self, spark, corpus, tmp_path, starts_in):
        expected = self.converted(spark, corpus, str(tmp_path / "x"))
        done = self.converted(spark, corpus, str(tmp_path / "y"), starts_in)
        assert done.converted == expected.converted
        assert [one.source for one in done.failures] == ["no"]
        assert len(self.parts(tmp_path / "y")) == 2
        assert self.parts(tmp_path / "y") == self.parts(tmp_path / "x")

    def parts(self, table):
        """Return the parts of each source, whose names are drawn at random."""
        return sorted((file.parent.name, file.read_bytes()) for file in table.glob("values/*/*.parquet"))
