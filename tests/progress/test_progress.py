"""What is shown while the work goes on: on a terminal, in a pipe, in a log, and to reporters of others."""

import io
import logging

import pytest
from rich.console import Console

from median_spark.progress import (
    BothReporters,
    ConvertState,
    LogLines,
    PlainLines,
    SilentProgress,
    StageState,
    TerminalBar,
    reporter,
    stage_reporter,
)
from median_spark.progress import lines as module
from median_spark.progress.pace import rough_span


class Older:
    """A reporter as version 0.1 knows it."""

    def __init__(self):
        self.said = []

    note = convert_state = lambda self, what: self.said.append(what)
    working = SilentProgress.working


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which only tests let pass."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


class TestPlainLines:
    def test_say_how_far_a_stage_is_every_ten_seconds(self, clock):
        stream = io.StringIO()
        lines = PlainLines(stream)
        with lines.working("digesting 9 values"):
            for done in range(9):
                clock[0] += 4
                lines.stage_state(StageState(done, 8))
        assert stream.getvalue().splitlines() == [
            "digesting 9 values",
            "  2 of 8 tasks done in 12.0 s, about 24 s left",
            "  5 of 8 tasks done in 24.0 s, about 12 s left",
            "  done in 36.0 s",
        ]

    def test_do_not_guess_from_the_first_tasks_for_these_include_the_start_of_workers(self, clock):
        stream = io.StringIO()
        lines = PlainLines(stream)
        with lines.working("digesting"):
            clock[0] += 30
            lines.stage_state(StageState(1, 7))  # no "3 min left"
            clock[0] += 10
            lines.stage_state(StageState(5, 7))  # 4 in 10 s, but watched for a third of the start only
            clock[0] += 10
            lines.stage_state(StageState(6, 7))
        assert stream.getvalue().splitlines() == [
            "digesting",
            "  1 of 7 tasks done in 30.0 s",
            "  5 of 7 tasks done in 40.0 s",
            "  6 of 7 tasks done in 50.0 s, about 4 s left",
            "  done in 50.0 s",
        ]

    def test_do_not_guess_what_is_left_before_anything_is_done(self, clock):
        stream = io.StringIO()
        lines = PlainLines(stream)
        with lines.working("merging"):
            clock[0] += 11
            lines.stage_state(StageState(0, 1, "file"))
        assert "  0 of 1 file done in 11.0 s\n" in stream.getvalue()

    def test_give_the_time_of_the_look_and_the_conversion_together(self, clock):
        stream = io.StringIO()
        lines = PlainLines(stream)
        for done in (100, 200, 300, 400):  # the first hundred cells were converted during a look of 19.5 s
            lines.convert_state(ConvertState(done // 100, 4, done, 400, done * 9, seconds=clock[0] - 980.5))
            clock[0] += 20
        assert stream.getvalue().splitlines() == [
            "converted 2 of 4 sources, 200 of 400 cells, 1,800 values in 39.5 s",
            "converted 3 of 4 sources, 300 of 400 cells, 2,700 values in 1 min 00 s, about 20 s left",
            "converted 4 of 4 sources, 400 of 400 cells, 3,600 values in 1 min 20 s",
        ]

    def test_give_the_time_of_the_look_if_that_has_converted_all(self, clock):
        stream = io.StringIO()
        PlainLines(stream).convert_state(ConvertState(5, 5, 2_500, 2_500, 9, seconds=19.5))
        assert stream.getvalue() == "converted 5 of 5 sources, 2,500 of 2,500 cells, 9 values in 19.5 s\n"


def drawn(console, bar):
    """What a bar shows now."""
    return "".join(segment.text for line in console.render_lines(bar.get_renderable()) for segment in line)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (59.4, "about 59 s"), (170, "about 3 min"), (3_660, "about 1 h 01 min")],
)
def test_an_estimate_claims_no_more_than_it_knows(seconds, words):
    assert rough_span(seconds) == words


class TestTerminalBar:
    @pytest.fixture
    def console(self):
        return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)

    def test_has_a_bar_as_soon_as_a_stage_says_how_far_it_is(self, console):
        bar = TerminalBar(console)
        with bar.working("digesting [bold]"):
            bar._stage.refresh()
            before = console.file.getvalue()
            bar.stage_state(StageState(3, 12))
            bar._stage.refresh()
            drawn = console.file.getvalue()
        assert "digesting [bold]" in before
        assert "━" not in before
        assert "━━━━━" in drawn
        assert "3 of 12 tasks" in drawn
        last = console.file.getvalue().split("\r")[-1]
        assert "12 tasks" not in last
        assert "━" not in last

    def test_says_what_is_left_as_soon_as_the_pace_tells(self, console, clock):
        bar = TerminalBar(console)
        bar.convert_state(ConvertState(0, 9, 0, 900, 0))
        before = drawn(console, bar._bar)
        for done in (100, 200, 300):
            clock[0] += 30
            bar.convert_state(ConvertState(done // 100, 9, done, 900, done))
        assert "left" not in before
        assert "about 3 min left" in drawn(console, bar._bar)
        bar.close()
        with bar.working("digesting"):
            for done in (1, 2):
                clock[0] += 10
                bar.stage_state(StageState(done, 4))
            assert "2 of 4 tasks, about 20 s left" in drawn(console, bar._stage)

    def test_takes_states_after_the_end_of_a_stage(self, console):
        bar = TerminalBar(console)
        with bar.working("digesting"):
            pass
        said = console.file.getvalue()
        bar.stage_state(StageState(1, 1))
        assert console.file.getvalue() == said

    def test_is_taken_away_when_the_work_breaks_off(self, console):
        bar = TerminalBar(console)
        with pytest.raises(ValueError, match="broken"), bar.working("digesting"):
            raise ValueError("broken")  # noqa: EM101
        assert bar._stage is None
        with bar.working("again"):
            bar.stage_state(StageState(1, 2))

    def test_needs_one_line(self, console):
        console.width = 80
        bar = TerminalBar(console)
        with bar.working("digesting 1,234,567,890 values in 1,234 sweeps"):
            bar.stage_state(StageState(1_033, 1_234))
            bar._stage.refresh()
            assert len(console.render_lines(bar._stage.get_renderable(), console.options)) == 1
        bar.convert_state(ConvertState(12, 1_234, 1_234_567, 12_345_678, 1_234_567_890))
        assert len(console.render_lines(bar._bar.get_renderable(), console.options)) == 1
        bar.close()


class TestWhoIsTold:
    def test_reporters_without_the_method_are_not_told_how_far_a_stage_is(self):
        assert stage_reporter(SilentProgress()) is None
        assert stage_reporter(Older()) is None
        assert stage_reporter(PlainLines(None)) is not None

    def test_both_are_told_what_they_want_to_know(self):
        stream, older = io.StringIO(), Older()
        both = BothReporters(older, PlainLines(stream))
        with both.working("digesting"):
            both.note("hello")
            both.stage_state(StageState(1, 2))
        both.convert_state(ConvertState(1, 1, 2, 2, 3))
        assert older.said == ["hello", ConvertState(1, 1, 2, 2, 3)]
        assert stream.getvalue().splitlines()[:2] == ["digesting", "hello"]
        assert "converted 1 of 1 source, 2 of 2 cells, 3 values" in stream.getvalue()

    def test_quiet_is_silent_and_asks_for_nothing(self):
        with reporter(quiet=True) as progress:
            assert stage_reporter(progress) is None

    @pytest.mark.parametrize("quiet", [False, True])
    def test_a_logger_is_told_all_the_same(self, quiet, caplog):
        logger = logging.getLogger("median_spark.test")
        with caplog.at_level(logging.INFO, logger.name), reporter(quiet=quiet, logger=logger) as progress:
            progress.note("starting\x1b[2J")
        assert caplog.messages == ["starting\\x1b[2J"]

    def test_warnings_are_logged_as_such(self, caplog):
        with caplog.at_level(logging.INFO, "median_spark.test"):
            LogLines(logging.getLogger("median_spark.test")).note("warning: odd")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
