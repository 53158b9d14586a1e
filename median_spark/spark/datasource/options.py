"""What ``spark.read.option(...)`` says about reading matrices, as `ReadOptions` and the files that are meant.

Knows nothing of Spark: options come as text, as Spark hands them over.
"""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from median_spark.display import printable
from median_spark.errors import InputError, MedianSparkError, UsageError, listed
from median_spark.matrices import Format, ReadOptions, SourceFile
from median_spark.matrices.options import read_options_of
from median_spark.matrices.sources import find_sources
from median_spark.options import READING, Option, Style, Takes

_PATHS = {"path", "paths"}
"""Under these names Spark hands over what `load` was given: one path, or a JSON list."""


def _split(text: str) -> tuple[str, ...]:
    """Return the values between commas; one that has a comma is in double quotes, as in a CSV."""
    return tuple(next(csv.reader([text], skipinitialspace=True, strict=True), []))


_PARSERS: dict[Takes, tuple[Callable[[str], Any], str]] = {
    Takes.NOTHING: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    Takes.NUMBER: (float, "a number"),
    Takes.TYPES: (lambda text: tuple(kind.strip() for kind in text.split(",") if kind.strip()), ""),
    Takes.VALUES: (_split, "values with commas between them"),
    Takes.GENE_TABLE: (_split, "paths with commas between them"),
}
"""How the text of an option becomes its value, where it is not the value itself, and what it must be."""

DEFAULT_UNIT_ENTRIES = 5_000_000
"""Fewer than convert reads at once: a first look should come soon, and a notebook's workers may be small."""

_ENTRIES = "unit_entries"

OPTIONS = (*(option.name for option in READING), _ENTRIES)
"""Every option of reading, named as on the command line, and `unit_entries` of `median_spark.convert`."""


def read_options(options: Mapping[str, str]) -> ReadOptions:
    """Return what decides the values; a gene table and a gene map are read."""
    texts = _plain(options)
    unknown = sorted(set(texts) - set(OPTIONS) - _PATHS)
    if unknown:
        message = f"the reader's option {listed(unknown)} is unknown; there are {listed(sorted(OPTIONS), len(OPTIONS))}"
        raise UsageError(message)
    chosen = {option.name: _parsed(option, texts[option.name]) for option in READING if option.name in texts}
    reading = read_options_of(chosen)
    if reading.gene_table is not None:
        reading.gene_table.universe(reading.gene_types)  # rejected before anything is read if there is none
    return reading


def _parsed(option: Option, text: str) -> Any:
    parse, must_be = _PARSERS.get(option.takes, (str, ""))
    try:
        return parse(text)
    except (ValueError, KeyError, csv.Error) as error:
        why = f" ({error})" if isinstance(error, csv.Error) else ""
        message = f"the reader's option '{option.name}' must be {must_be}, not '{text}'{why}"
        raise UsageError(message) from error


def unit_entries(options: Mapping[str, str]) -> int:
    """Return how many entries other than zero a task should read at most."""
    text = _plain(options).get(_ENTRIES, str(DEFAULT_UNIT_ENTRIES))
    if not text.isdecimal() or int(text) < 1:
        message = f"the reader's option '{_ENTRIES}' must be a whole number above 0, not '{text}'"
        raise UsageError(message)
    return int(text)


def chosen_sources(options: Mapping[str, str], one: Format) -> Sequence[SourceFile]:
    """Return the matrices of a format that `load` was asked for, ascending by name; see `find_sources`."""
    texts = _plain(options)
    paths = [*json.loads(texts.get("paths", "[]")), texts.get("path")]
    sources = find_sources([path for path in paths if path], [one])
    for source in sources:
        if source.problem is not None:
            raise InputError(source.problem)
    for note in sources.notes():
        print(printable(note), file=sys.stderr)
    return sources


def _plain(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options under their own names: Spark's readers ignore case, and the command line has dashes."""
    return {name.lower().replace("-", "_"): text for name, text in options.items()}


class worded_for_readers:  # noqa: N801 (used as a statement)
    """Let errors of median_spark name options as Spark's reader takes them: beyond this, they are Spark's text."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MedianSparkError):
            error.args = tuple(error.worded(Style.READER).split("\n"))
