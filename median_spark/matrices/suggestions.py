"""Options that would make a matrix usable, found by trying one after the other."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from median_spark.errors import InputError
from median_spark.genes import GeneTable, plain_id
from median_spark.guard import beat
from median_spark.matrices import CountMatrix, ReadOptions, SourceOutline, open_matrix, outline, read_unit, select_rows
from median_spark.matrices.cell_filter import filter_values, passing_cells, shown
from median_spark.matrices.contract import like_ensembl
from median_spark.matrices.layouts import OpenSource, open_source
from median_spark.matrices.options import AUTO_LAYER
from median_spark.options import (
    ALLOW_NON_INTEGER,
    COMPUTE_N_COUNTS,
    FILTER_VALUE,
    GENE_ID_ATTR,
    GENE_TABLE,
    GENE_TYPE_ATTR,
    LAYER,
    N_COUNTS_ATTR,
    NO_CELL_FILTER,
    STRIP_VERSION,
    Option,
)

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
    """One option that could be given: the neutral mention of it, perhaps with a note, and its effect."""

    text: str
    apply: Callable[[ReadOptions], ReadOptions]


def find_suggestions(location: str, options: ReadOptions) -> list[str]:
    """Return mentions of the options that would make a matrix usable; none if it is, or if nothing would."""
    helpful = _way_out(location, options, _problem(location, options), set())
    return [suggestion.text for suggestion in _needed(location, options, helpful or [])]


def _way_out(location: str, options: ReadOptions, problem: str | None, seen: set[str]) -> list[Suggestion] | None:
    """Return what leads from a problem to none, None if nothing does. What leads to a problem `seen` is no progress."""
    if problem is None:
        return []
    seen.add(problem)
    for suggestion in _candidates(location, options) if len(seen) <= _MOST else ():
        changed = suggestion.apply(options)
        left = _problem(location, changed)
        if left is None or left not in seen:
            further = _way_out(location, changed, left, seen)
            if further is not None:
                return [suggestion, *further]
    return None


def check(source: OpenSource) -> SourceOutline:
    """Look at a matrix as a conversion does; the counts are read, too, if they are a single unit of work."""
    matrix, options = source.matrix, source.options
    outlined = outline(matrix, options, layout=source.layout)
    if len(outlined.units) == 1:
        read_unit(matrix, select_rows(matrix, options), outlined.units[0], options)
    return outlined


def _needed(location: str, options: ReadOptions, helpful: list[Suggestion]) -> list[Suggestion]:
    """Leave out what was tried on the way and is not needed in the end."""
    for suggestion in list(helpful):
        others = [other for other in helpful if other is not suggestion]
        if _problem(location, reduce(lambda tried, other: other.apply(tried), others, options)) is None:
            helpful = others
    return helpful


def _problem(location: str, options: ReadOptions) -> str | None:
    """Return the kind of what keeps a matrix from being used, None if nothing does; without a kind, the whole text."""
    beat()  # each attempt opens the file again
    try:
        with open_source(location, options) as source:
            check(source)
    except InputError as error:
        return error.kind or error.text
    return None


def _candidates(location: str, options: ReadOptions) -> Iterator[Suggestion]:
    """Yield what could be given, the likelier before the last resort."""
    try:
        with open_source(location, options) as source:
            matrix, completed = source.matrix, source.options
            suggestions = [*_of_layers(matrix), *_of_genes(matrix, completed), *_of_cells(matrix, completed)]
    except InputError:
        suggestions = []
    yield from suggestions
    if options.layer != AUTO_LAYER:
        yield _value(LAYER, AUTO_LAYER)
    if not options.allow_non_integer:
        yield _set(ALLOW_NON_INTEGER, f"{ALLOW_NON_INTEGER} (if these are counts all the same)", True)


def _of_layers(matrix: CountMatrix) -> Iterator[Suggestion]:
    for name in matrix.count_layers():
        yield _value(LAYER, name)


def _of_genes(matrix: CountMatrix, options: ReadOptions) -> Iterator[Suggestion]:
    names = matrix.attributes("row")
    for name in (*names, "index"):
        yield from _attribute(matrix, options, GENE_ID_ATTR, name, lambda other: like_ensembl(other.gene_ids()))
    if not options.strip_version:
        yield _set(STRIP_VERSION, f"{STRIP_VERSION}", True)
    for name in names:
        yield from _attribute(matrix, options, GENE_TYPE_ATTR, name, lambda other: _has_types(other, options))
    if options.gene_table is None:
        try:
            ids = map(plain_id, matrix.gene_ids().tolist())  # as a table would have them
        except InputError:  # the attribute that holds the ids must be given first
            return
        yield _set(GENE_TABLE, f"{GENE_TABLE:…}", GeneTable("", dict.fromkeys(ids, options.gene_types[0])))


def _has_types(matrix: CountMatrix, options: ReadOptions) -> bool:
    types = matrix.gene_types()
    return types is not None and bool(np.isin(types, options.gene_types).any())


def _of_cells(matrix: CountMatrix, options: ReadOptions) -> Iterator[Suggestion]:
    if options.cell_filter:
        yield from _of_filter(matrix, options)
    if options.compute_n_counts:
        return
    held = matrix.attributes("cell")
    for name in (name for name in _TOTALS if name in held):
        yield from _attribute(matrix, options, N_COUNTS_ATTR, name, _has_totals)
    yield _set(COMPUTE_N_COUNTS, f"{COMPUTE_N_COUNTS}", True)


def _has_totals(matrix: CountMatrix) -> bool:
    last = min(matrix.cells_per_tile(), matrix.shape[1])
    return np.array_equal(matrix.n_counts(0, last), matrix.cell_totals(0, last))


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
        yield Suggestion(f"{NO_CELL_FILTER}", lambda options: replace(options, cell_filter=False, filter_values=()))
        return
    likely = _likely(texts)
    if likely:
        yield _set(FILTER_VALUE, FILTER_VALUE.given(*likely), tuple(likely))
        return
    more = f" and {len(held) - _SHOWN:,} more" if len(held) > _SHOWN else ""
    placeholder = "=…" if any(str(value).startswith("-") for value in held) else "…"
    values = ", ".join(shown(value) for value in held[:_SHOWN])
    for value in held[:_SHOWN]:
        yield _set(FILTER_VALUE, f"{FILTER_VALUE:{placeholder}} (one or more of {values}{more})", (str(value),))


def _likely(texts: list[str]) -> list[str]:
    """Return the texts that mean that a cell passes, if each of all texts is known to say yes or no."""
    plain = {text: text.strip().lower() for text in texts}
    passing = [text for text in texts if plain[text] in _PASS]
    known = all(word in _PASS | _FAIL for word in plain.values())
    return passing if known and len({plain[text] for text in passing}) == 1 else []


def _attribute(
    matrix: CountMatrix, options: ReadOptions, option: Option, name: str, fits: Callable[[CountMatrix], bool]
) -> Iterator[Suggestion]:
    """Yield the naming of an attribute if the matrix, read with that name, fits."""
    beat()
    suggestion = _value(option, name)
    named = suggestion.apply(options)
    with (
        contextlib.suppress(InputError),  # it is of another kind, or there is none of that name
        open_matrix(matrix.location, named.names, named.layer) as other,
    ):
        if fits(other):
            yield suggestion


def _value(option: Option, value: str) -> Suggestion:
    return _set(option, option.given(value), value)


def _set(option: Option, text: str, value: object) -> Suggestion:
    """Return what sets the field of an option."""
    changed: dict[str, Any] = {option.field: value}
    if option.owner == "AttributeNames":
        return Suggestion(text, lambda options: replace(options, names=replace(options.names, **changed)))
    return Suggestion(text, lambda options: replace(options, **changed))
