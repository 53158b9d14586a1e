"""The log file: what is said goes there too, with times and levels; a log that cannot be written stops nothing."""

import logging
import re
from pathlib import Path

import pytest

from median_spark.cli.log import LOGGER, active_logger, close_log, log, open_log
from median_spark.errors import OutputError


@pytest.fixture
def path(tmp_path):
    yield tmp_path / "run.log"
    close_log()


@pytest.fixture
def state():
    return list(LOGGER.handlers), LOGGER.propagate


def test_lines_have_a_time_and_a_level(path):
    path.write_text("before\n")
    open_log(str(path))
    log(logging.WARNING, "one\ntwo \udcff")
    close_log()
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "", line) for line in lines[1:]] == [
        "WARNING one",
        "WARNING two \\udcff",
    ]


def test_without_a_log_file_nothing_is_logged(path, caplog):
    log(logging.ERROR, "one")
    assert (caplog.messages, active_logger()) == ([], None)


def test_closing_restores_the_logger(path, state):
    open_log(str(path))
    assert active_logger() is LOGGER
    close_log()
    assert (list(LOGGER.handlers), LOGGER.propagate) == state


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(OutputError, match=r"no/run\.log: the log file cannot be written \(No such file or directory\)"):
        open_log(str(tmp_path / "no" / "run.log"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_once_and_ends_the_log(capsys, state):
    open_log("/dev/full")
    log(logging.INFO, "one\ntwo")
    assert (list(LOGGER.handlers), LOGGER.propagate) == state
    assert capsys.readouterr().err == (
        "warning: /dev/full: the log file cannot be written (No space left on device); the work goes on\n"
    )
