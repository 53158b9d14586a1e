"""The summary of a command: lines of two columns, at most 15, with what is wrong last."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

MOST_LINES = 15


class Mark(Enum):
    """What kind of line it is, which decides its colour and its level in a log."""

    PLAIN = ""
    WARNING = "33"  # the numbers are the terminal's: yellow, red
    FAILED = "31"


@dataclass(frozen=True)
class Line:
    """A label and a finding; the label is empty where it is that of the line above.

    `details` are the findings that this one sums up, if any.
    """

    label: str
    finding: str
    mark: Mark = Mark.PLAIN
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problems:
    """Lines about things that are wrong, or to look at, of which only the first are shown if there are many.

    Attributes
    ----------
    lines : sequence of Line
        All of them.
    place : str
        File that lists all of them.
    needed : bool
        True if they are shown even if all lines do not fit with them.
    headed : bool
        True if the first line counts the others.
    """

    lines: Sequence[Line]
    place: str
    needed: bool = True
    headed: bool = False

    def first(self, most: int) -> list[Line]:
        """Return as many lines as fit; the last one counts those that do not."""
        if len(self.lines) <= most or not most:
            return list(self.lines[:most])
        if self.headed and most <= 2:
            return [replace(self.lines[0], finding=f"{self.lines[0].finding}, see {self.place}")]
        shown = self.lines[: most - 1]
        rest = len(self.lines) - len(shown)
        label = self.lines[len(shown)].label
        if shown and label in {"", shown[-1].label}:
            label, text = "", f"… and {rest:,} more in {self.place}"
        else:  # of another kind than those that are shown
            text = f"{rest:,}, see {self.place}"
        return [*shown, Line(label, text, self.lines[-1].mark)]


@dataclass(frozen=True)
class Summary:
    """What a command says when the work is done.

    Attributes
    ----------
    figures : list of Line
        Figures and places, always shown: no more than leave a line for each of the problems and the page.
    genes : list of Line
        A few genes, shown only if all lines fit with them.
    problems : list of Problems
        Layouts, warnings and failures.
    page : str
        Path of the report page, the last line; empty where there is none.
    """

    figures: list[Line]
    genes: list[Line] = field(default_factory=list)
    problems: list[Problems] = field(default_factory=list)
    page: str = ""

    def lines(self) -> list[Line]:
        """Return at most `MOST_LINES` lines."""
        end = [Line("report", self.page)] if self.page else []
        room = MOST_LINES - len(self.figures) - len(end)
        sizes = [len(each.lines) for each in self.problems]
        while sum(sizes) > room and max(sizes, default=0) > 1:
            sizes[sizes.index(max(sizes))] -= 1
        if sum(sizes) > room:
            sizes = [size if each.needed else 0 for each, size in zip(self.problems, sizes, strict=True)]
        problems = [line for each, size in zip(self.problems, sizes, strict=True) for line in each.first(size)]
        genes = self.genes if len(problems) + len(self.genes) <= room else []
        return [*self.figures, *genes, *problems, *end]

    def warnings(self) -> list[str]:
        """Return all warnings, one by one where a line sums up several."""
        lines = [line for line in self._all() if line.label == "warning"]
        return [text for line in lines for text in line.details or (line.finding,)]

    def notes(self) -> list[str]:
        """Return all notes."""
        return [line.finding for line in self._all() if line.label == "note"]

    def _all(self) -> list[Line]:
        return [*self.figures, *(line for each in self.problems for line in each.lines)]


def aligned(lines: Sequence[Line]) -> list[str]:
    """Return lines of text with their findings in one column."""
    width = max((len(line.label) for line in lines), default=0)
    return [f"{line.label:<{width}}  {line.finding}" for line in lines]
