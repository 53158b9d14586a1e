"""Plans: what keeps sources from being converted is said once for all that share it."""

import pytest

from median_spark.errors import InputError
from median_spark.expression import FailureRecord
from median_spark.job_options import ConvertOptions
from median_spark.preparation import stop_at_failures


def failures(**sentences):
    return [FailureRecord(name, f"/in/{name}.loom", f"/in/{name}.loom: {text}") for name, text in sentences.items()]


def lines(found):
    with pytest.raises(InputError) as refused:
        stop_at_failures(found, ConvertOptions())
    return str(refused.value).splitlines()


def test_one_failure_is_one_sentence():
    assert lines(failures(a="is cut off")) == ["/in/a.loom: is cut off"]


def test_a_sentence_that_several_sources_share_is_said_once():
    found = failures(a="no cell passes", b="is cut off", c="no cell passes", d="no cell passes", e="no cell passes")
    assert lines(found) == [
        "5 sources cannot be converted:",
        "  4 sources ('a', 'c', 'd' and 1 more): no cell passes",
        "  /in/b.loom: is cut off",
    ]


def test_failures_that_are_skipped_stop_nothing():
    stop_at_failures(failures(a="is cut off"), ConvertOptions(on_error="skip"))
