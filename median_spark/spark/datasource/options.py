"""What ``spark.read.option(...)`` says about reading matrices, as `ReadOptions` and the files that are meant.

Knows nothing of Spark: options come as text, as Spark hands them over.
"""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from median_spark.display import printable
from median_spark.errors import InputError, UsageError, listed
from median_spark.genes import read_gene_map, read_gene_table
from median_spark.matrices import AttributeNames, ReadOptions, SourceFile
from median_spark.matrices.sources import find_sources

_PATHS = {"path", "paths"}
"""Under these names Spark hands over what `load` was given: one path, or a JSON list."""

DEFAULT_UNIT_ENTRIES = 5_000_000
"""Fewer than convert reads at once: a first look should come soon, and a notebook's workers may be small."""


def _flag(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        message = f"the reader's option '{name}' must be true or false, not '{text}'"
        raise UsageError(message)
    return text.lower() == "true"


def _not(name: str, text: str) -> bool:
    return not _flag(name, text)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        message = f"the reader's option '{name}' must be a number, not '{text}'"
        raise UsageError(message) from error


def _types(name: str, text: str) -> tuple[str, ...]:
    return tuple(kind.strip() for kind in text.split(",") if kind.strip())


def _values(name: str, text: str) -> tuple[str, ...]:
    """Return values with commas between them; one that has a comma is in double quotes, as in a CSV."""
    try:
        return tuple(next(csv.reader([text], skipinitialspace=True, strict=True), []))
    except csv.Error as error:
        message = f"the reader's option '{name}' must be values with commas between them, not '{text}' ({error})"
        raise UsageError(message) from error


def _text(name: str, text: str) -> str:
    return text


_READ: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "gene_table": ("gene_table", lambda name, text: read_gene_table(text)),
    "gene_types": ("gene_types", _types),
    "gene_map": ("gene_map", lambda name, text: read_gene_map(text)),
    "strip_version": ("strip_version", _flag),
    "no_cell_filter": ("cell_filter", _not),
    "filter_value": ("filter_values", _values),
    "compute_n_counts": ("compute_n_counts", _flag),
    "target_sum": ("target_sum", _number),
    "layer": ("layer", _text),
    "allow_non_integer": ("allow_non_integer", _flag),
}
"""By the command line's name: the field of `ReadOptions`, and how its text is read."""

_NAMES = {
    "n_counts_attr": "n_counts",
    "filter_attr": "filter_pass",
    "gene_id_attr": "gene_id",
    "gene_type_attr": "gene_type",
    "cell_id_attr": "cell_id",
}
"""By the command line's name: the field of `AttributeNames`."""

_ENTRIES = "unit_entries"

OPTIONS = (*_READ, *_NAMES, _ENTRIES)
"""All that may be said of reading: the command line's options, and `unit_entries` of `median_spark.convert`."""


def read_options(options: Mapping[str, str]) -> ReadOptions:
    """Return what decides the values; a gene table and a gene map are read.

    Parameters
    ----------
    options : mapping of str to str
        As a Spark reader was given them.

    Raises
    ------
    UsageError
        If an option is unknown, or its text is not what it must be.
    GeneTableError, GeneMapError, InputError
        If the gene table or the gene map cannot be read.
    """
    given = _plain(options)
    unknown = sorted(set(given) - set(OPTIONS) - _PATHS)
    if unknown:
        message = f"the reader's option {listed(unknown)} is unknown; there are {listed(sorted(OPTIONS), len(OPTIONS))}"
        raise UsageError(message)
    chosen = {field: read(name, given[name]) for name, (field, read) in _READ.items() if name in given}
    names = AttributeNames(**{field: given[name] for name, field in _NAMES.items() if name in given})
    found = ReadOptions(names=names, **chosen)
    if found.gene_table is not None:
        found.gene_table.universe(found.gene_types)  # refused before anything is read if there is none
    return found


def unit_entries(options: Mapping[str, str]) -> int:
    """Return how many entries other than zero a task should read at most.

    Raises
    ------
    UsageError
        If it is not a whole number above 0.
    """
    text = _plain(options).get(_ENTRIES, str(DEFAULT_UNIT_ENTRIES))
    if not text.isdecimal() or int(text) < 1:
        message = f"the reader's option '{_ENTRIES}' must be a whole number above 0, not '{text}'"
        raise UsageError(message)
    return int(text)


def chosen_sources(options: Mapping[str, str], suffix: str) -> Sequence[SourceFile]:
    """Find the matrices of one format that `load` was asked for, ascending by name.

    Parameters
    ----------
    options : mapping of str to str
        As a Spark reader was given them.
    suffix : str
        By which files of the format end, such as ``.loom``.

    Raises
    ------
    InputError
        If a path is not there, is not of the format, or holds or matches none, or a file that cannot be read.
    UsageError
        If no path was given, two files would have the same name, or one file two names.
    """
    given = _plain(options)
    several = json.loads(given["paths"]) if "paths" in given else []
    found = find_sources([*several, *([given["path"]] if given.get("path") else [])], [suffix])
    for source in found:
        if source.problem is not None:
            raise InputError(source.problem)
    for note in found.notes():
        print(printable(note), file=sys.stderr)
    return found


def _plain(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options as the tables above name them."""
    return {name.lower().replace("-", "_"): text for name, text in options.items()}
