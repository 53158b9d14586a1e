"""The summary of a command: at most 15 lines, aligned, what is wrong last."""

import io
import sys

import pytest

from median_spark.cli.console import say_summary
from median_spark.cli.summary import MOST_LINES, Line, Mark, Problems, Summary, aligned

FIGURES = [Line("sources", "5 converted, 0 unchanged"), Line("cells", "10 of 10 pass")]
GENES = [Line("most cells", "A"), Line("", "B"), Line("", "C")]


def warnings(number, place="provenance.json"):
    return Problems([Line("warning", f"thing {each}", Mark.WARNING) for each in range(number)], place)


class TestLines:
    def test_all_are_shown_where_they_fit(self):
        summary = Summary(FIGURES, GENES, [warnings(2)], "out/report.html")
        assert summary.lines() == [*FIGURES, *GENES, *warnings(2).lines, Line("report", "out/report.html")]

    @pytest.mark.parametrize("sizes", [(0,), (3,), (9,), (10,), (11,), (400,), (1, 50), (50, 1), (20, 30, 40)])
    @pytest.mark.parametrize("figures", [2, 11])
    def test_are_never_more_than_fifteen_and_end_with_the_page(self, sizes, figures):
        summary = Summary([Line("n", "1")] * figures, GENES, [warnings(size) for size in sizes], "report.html")
        lines = summary.lines()
        assert len(lines) <= MOST_LINES
        assert lines[:figures] == summary.figures
        assert lines[-1] == Line("report", "report.html")

    def test_the_genes_give_way_to_warnings(self):
        lines = Summary(FIGURES, GENES, [warnings(10)], "report.html").lines()
        assert lines == [*FIGURES, *warnings(10).lines, Line("report", "report.html")]

    def test_the_warnings_left_out_are_counted_and_their_place_is_named(self):
        lines = Summary(FIGURES, GENES, [warnings(30), warnings(1)], "report.html").lines()
        assert [line.finding for line in lines[-4:-1]] == ["thing 9", "… and 20 more in provenance.json", "thing 0"]
        assert lines[-3].mark is Mark.WARNING

    def test_a_group_with_room_for_one_line_is_counted(self):
        assert warnings(7, "groups.csv").first(1) == [Line("warning", "7, see groups.csv", Mark.WARNING)]

    @pytest.mark.parametrize("room", [1, 2])
    def test_a_line_that_counts_the_others_names_their_place_where_none_fits(self, room):
        lines = [Line("failed", "2 sources", Mark.FAILED), *(Line("", name, Mark.FAILED) for name in ("a", "b"))]
        headed = Problems(lines, "summary.json", headed=True)
        assert headed.first(room) == [Line("failed", "2 sources, see summary.json", Mark.FAILED)]
        assert headed.first(3) == lines

    def test_lines_left_out_are_counted_under_their_own_label(self):
        lines = [
            Line("warning", "2 apart", Mark.WARNING),
            Line("apart", "a", Mark.WARNING),
            Line("", "b", Mark.WARNING),
        ]
        assert Problems(lines, "groups.csv").first(2) == [lines[0], Line("apart", "2, see groups.csv", Mark.WARNING)]

    def test_findings_stand_in_one_column(self):
        assert aligned([*FIGURES, Line("", "more")]) == [
            "sources  5 converted, 0 unchanged",
            "cells    10 of 10 pass",
            "         more",
        ]

    def test_only_warnings_are_given_as_such(self):
        failed = Problems([Line("failed", "1 source", Mark.FAILED)], "summary.json")
        summary = Summary([*FIGURES, Line("note", "few")], problems=[warnings(20), failed])
        assert (len(summary.warnings()), summary.notes()) == (20, ["few"])


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestColours:
    LINES = (Line("a", "fine"), Line("b", "\x1b[2Jodd", Mark.WARNING), Line("c", "broken", Mark.FAILED))

    @pytest.fixture
    def said(self, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")

        def say(stream):
            monkeypatch.setattr(sys, "stdout", stream)
            say_summary(self.LINES, kept="x")
            return stream.getvalue().splitlines()

        return say

    def test_are_yellow_for_warnings_and_red_for_failures_on_a_terminal(self, said):
        assert said(Terminal()) == ["a  fine", "\x1b[33mb  \\x1b[2Jodd\x1b[0m", "\x1b[31mc  broken\x1b[0m"]

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_are_none_where_they_are_not_wanted(self, said, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        assert said(Terminal()) == ["a  fine", "b  \\x1b[2Jodd", "c  broken"]

    def test_are_none_in_a_pipe(self, said):
        assert said(io.StringIO()) == ["a  fine", "b  \\x1b[2Jodd", "c  broken"]
