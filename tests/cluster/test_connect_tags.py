"""What a Connect server's event log says of our jobs: each carries a tag that says what it does."""

import json

import numpy as np
import pytest
from connect_server import connect_server, remote_session
from looms import random_counts, write_loom

from median_spark import MedianOptions, convert, medians
from median_spark.spark.convert import conversion
from median_spark.spark.engine.job_description import job_description

pytestmark = [pytest.mark.cluster, pytest.mark.connect]

WINDOW = 30_000


def tags_of_jobs(events):
    """Return the tags of each job, in the order in which they were started."""
    (log,) = events.iterdir()
    started = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    jobs = [event for event in started if event["Event"] == "SparkListenerJobStart"]
    return [event["Properties"].get("spark.job.tags", "") for event in jobs]


def test_every_job_of_ours_is_tagged_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "SMALL_BYTES", -1)  # so that the sources have a job of their own
    rng = np.random.default_rng(5)
    for number in range(3):
        write_loom(tmp_path / "corpus" / f"study{number}.loom", random_counts(rng, 60, 1_000, density=0.4))
    events = tmp_path / "events"
    events.mkdir()
    logged = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{events}",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    with connect_server(tmp_path, logged) as server, remote_session(server.url) as remote:
        remote.addTag("theirs")
        convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=remote)
        medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=remote, options=MedianOptions(window_rows=WINDOW))
        with job_description(remote, "theirs") as lent:
            assert lent is None
        assert remote.getTags() == {"theirs"}
        remote.range(7).count()
    tags = tags_of_jobs(events)
    ours = [tag for tag in tags if "median_spark: " in tag]
    assert tags[: len(ours)] == ours
    assert len(tags) > len(ours) >= 4
    assert all("theirs" in tag for tag in tags)
    assert "median_spark: look at 3 sources" in ours[0]
    assert "median_spark: convert 3 sources 3 units" in ours[1]
    assert "median_spark: digest " in ours[2]
    assert "median_spark: refine " in ours[-1]
