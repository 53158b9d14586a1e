"""What would have to be given for a matrix that cannot be used as it is: found by trying one option after the other."""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.guard import beat
from median_spark.matrices import CountMatrix, ReadOptions, SourceOutline, open_matrix, outline, read_unit, select_rows
from median_spark.matrices.cell_filter import filter_values, passing_cells, shown
from median_spark.matrices.contract import like_ensembl
from median_spark.matrices.options import AUTO_LAYER, OPTIONS

_TOTALS = ("total_counts", "nCount_RNA", "nCounts_RNA", "n_umi", "n_umis", "nUMI", "total_umis", "n_counts_all")
"""Names under which other programs keep the total counts of cells."""

_PASS = {"true", "t", "yes", "y", "pass", "passed", "keep", "kept", "full", "good", "ok", "1", "1.0"}
_FAIL = {"false", "f", "no", "n", "fail", "failed", "drop", "dropped", "remove", "removed", "discard", "discarded"} | {
    "minimal", "bad", "0", "0.0", ""
}  # fmt: skip
"""What filters say in lower case, as texts, of cells that pass and of cells that do not."""

_MOST = 8  # there are no more things to give
_SHOWN = 8


@dataclass(frozen=True)
class Suggestion:
    """One thing that could be given.

    Attributes
    ----------
    text : str
        The option as it is written on the command line, perhaps with a note in parentheses.
    apply : function
        Return options with this one given.
    """

    text: str
    apply: Callable[[ReadOptions], ReadOptions]


def find_suggestions(location: str, options: ReadOptions) -> list[str]:
    """Return the options of the command line that would make a matrix usable; none if it is, or if nothing would.

    Parameters
    ----------
    location : str
        The matrix, as canonical path or URI.
    options : ReadOptions
        With which it cannot be used.
    """
    found: list[Suggestion] = []
    tried, problem = options, _problem(location, options)
    while problem is not None:
        for remedy in _candidates(location, tried):
            changed = remedy.apply(tried)
            left = _problem(location, changed)
            if _kind(left) != _kind(problem) and len(found) < _MOST:
                found.append(remedy)
                tried, problem = changed, left
                break
        else:
            return []
    return [remedy.text for remedy in _needed(location, options, found)]


def check(matrix: CountMatrix, options: ReadOptions) -> SourceOutline:
    """Look at a matrix as a conversion does; the counts are read, too, if they are a single unit of work.

    Raises
    ------
    InputError
        If it cannot be converted.
    """
    seen = outline(matrix, options)
    if len(seen.units) == 1:
        read_unit(matrix, select_rows(matrix, options), seen.units[0], options)
    return seen


def _needed(location: str, options: ReadOptions, found: list[Suggestion]) -> list[Suggestion]:
    """Leave out what was tried on the way and is not needed in the end."""
    for remedy in list(found):
        others = [other for other in found if other is not remedy]
        tried = options
        for other in others:
            tried = other.apply(tried)
        if _problem(location, tried) is None:
            found = others
    return found


def _problem(location: str, options: ReadOptions) -> str | None:
    """Say why a matrix cannot be used with some options, None if it can."""
    beat()  # each attempt opens the file again
    try:
        with open_matrix(location, options.names, options.layer) as matrix:
            check(matrix, options)
    except InputError as error:
        return str(error).removeprefix(f"{location}: ")
    return None


def _kind(problem: str | None) -> list[str]:
    """Return the first words of a problem without numbers: they identify it, while later words name examples."""
    words = problem.split() if problem else []
    return [word for word in words if not word.replace(",", "").isdecimal()][:5]


def _candidates(location: str, options: ReadOptions) -> Iterator[Suggestion]:
    """Yield what could be given, the likelier before the last resort."""
    try:
        with open_matrix(location, options.names, options.layer) as matrix:
            found = [*_of_layers(matrix), *_of_genes(matrix, options), *_of_cells(matrix, options)]
    except InputError:
        found = []
    yield from found
    if options.layer != AUTO_LAYER:
        yield _layer(AUTO_LAYER)
    if not options.allow_non_integer:
        yield Suggestion(
            "--allow-non-integer (if these are counts all the same)",
            lambda given: replace(given, allow_non_integer=True),
        )


def _of_layers(matrix: CountMatrix) -> Iterator[Suggestion]:
    for name in matrix.count_layers():
        yield _layer(name)


def _of_genes(matrix: CountMatrix, options: ReadOptions) -> Iterator[Suggestion]:
    for name in [*matrix.attributes("row"), "index"]:
        beat()
        remedy = _attribute("gene_id", name)
        named = remedy.apply(options)
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                if like_ensembl(other.gene_ids()):
                    yield remedy
        except InputError:  # it is no attribute of strings, or there is none of that name: it is not what is sought
            continue
    if not options.strip_version:
        yield Suggestion("--strip-version", lambda given: replace(given, strip_version=True))
    for name in matrix.attributes("row"):
        beat()
        remedy = _attribute("gene_type", name)
        named = remedy.apply(options)
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                types = other.gene_types()
        except InputError:  # see above
            continue
        if types is not None and np.isin(types, options.gene_types).any():
            yield remedy
    if options.gene_table is None:
        try:
            ids = matrix.gene_ids().tolist()
        except InputError:  # what holds the ids must be given first
            return
        table = GeneTable("", dict.fromkeys(ids, options.gene_types[0]))
        yield Suggestion("--gene-table CSV", lambda given: replace(given, gene_table=table))


def _of_cells(matrix: CountMatrix, options: ReadOptions) -> Iterator[Suggestion]:
    if options.cell_filter:
        yield from _of_filter(matrix, options)
    if options.compute_n_counts:
        return
    held = matrix.attributes("cell")
    for name in (name for name in _TOTALS if name in held):
        beat()
        remedy = _attribute("n_counts", name)
        named = remedy.apply(options)
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                last = min(other.cells_per_tile(), other.shape[1])
                if np.array_equal(other.n_counts()[:last], other.cell_totals(0, last)):
                    yield remedy
        except InputError:  # it is no column of numbers
            continue
    yield Suggestion("--compute-n-counts", lambda given: replace(given, compute_n_counts=True))


def _of_filter(matrix: CountMatrix, options: ReadOptions) -> Iterator[Suggestion]:
    """Where no cell passes, choose among the values of the filter; where there is no choice, take every cell."""
    held = []
    with contextlib.suppress(InputError):  # it is missing, or no filter at all
        held = [value for value, _ in filter_values(matrix.filter_pass())]
    with contextlib.suppress(InputError):  # it holds texts
        if passing_cells(matrix, options).any():
            return
    texts = [value for value in held if isinstance(value, str)]
    if not texts and not 1 < len(held) <= _SHOWN:
        yield Suggestion("--no-cell-filter", lambda given: replace(given, cell_filter=False, filter_values=()))
        return
    likely = _likely(texts)
    if likely:
        words = " ".join(shlex.quote(value) for value in likely)
        yield Suggestion(f"--filter-value {words}", lambda given: replace(given, filter_values=tuple(likely)))
        return
    more = f" and {len(held) - _SHOWN:,} more" if len(held) > _SHOWN else ""
    given_as = "=VALUE" if any(str(value).startswith("-") for value in held) else " VALUE"
    values = ", ".join(shown(value) for value in held[:_SHOWN])
    choice = f"--filter-value{given_as} (one or more of {values}{more})"
    for value in held[:_SHOWN]:
        yield Suggestion(choice, lambda given, value=str(value): replace(given, filter_values=(value,)))  # type: ignore[misc]


def _likely(texts: list[str]) -> list[str]:
    """Return the texts that mean that a cell passes, if each of all texts is known to say yes or no."""
    plain = {text: text.strip().lower() for text in texts}
    passing = [text for text in texts if plain[text] in _PASS]
    known = all(word in _PASS | _FAIL for word in plain.values())
    return passing if known and len({plain[text] for text in passing}) == 1 else []


def _layer(name: str) -> Suggestion:
    return Suggestion(_written("--layer", name), lambda given: replace(given, layer=name))


def _attribute(field: str, name: str) -> Suggestion:
    """Return what names an attribute of `AttributeNames`."""
    changed: dict[str, Any] = {field: name}
    return Suggestion(
        _written(OPTIONS[field], name), lambda given: replace(given, names=replace(given.names, **changed))
    )


def _written(option: str, value: str) -> str:
    """Return an option with its value as a shell takes it; a value that looks like an option follows an equals sign."""
    return f"{option}={shlex.quote(value)}" if value.startswith("-") else f"{option} {shlex.quote(value)}"
