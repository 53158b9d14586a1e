"""Which layout a source has, and the options of reading that follow; the layouts are data, in `known_layouts`.

Recognition is never a guess: a source has a layout if it has all of its marks. Options that were given win, and a
source that can be read with the options as they are is read so.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from median_spark.errors import InputError, counted, listed
from median_spark.matrices.contract import CountMatrix, Flags, brief, like_ensembl
from median_spark.matrices.formats import open_matrix
from median_spark.matrices.known_layouts import AUTO_LAYOUT, LAYOUTS, NO_LAYOUT, Layout
from median_spark.matrices.options import ReadOptions
from median_spark.options import CELLS, GENE_MAP, LAYOUT, READING, Takes

_FILTER = ("filter_attr", "filter_value", "no_cell_filter")
_TOTALS = ("n_counts_attr", "compute_n_counts")
_FEWEST_MARKS = 1

_CELLS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class AppliedLayout:
    """What was recognised of a source, and what was therefore done.

    Attributes
    ----------
    name : str
        Name of the layout.
    implied : mapping of str to object
        Options of reading that follow and were not given, by their names in `median_spark.options.READING`.
    """

    name: str
    implied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What was done, as neutral mentions of options."""
        done = [
            f"{option}" if option.takes is Takes.NOTHING else option.given(*_words(self.implied[option.name]))
            for option in READING
            if option.name in self.implied
        ]
        return f"read as with {' '.join(done)}" if done else "read without further options"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        implied = {name: list(value) if isinstance(value, tuple) else value for name, value in self.implied.items()}
        return {"name": self.name, "implied": implied}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Self | None:
        """Read what `as_json` wrote; None stays None."""
        if document is None:
            return None
        implied = document["implied"].items()
        return cls(
            document["name"], {name: tuple(value) if isinstance(value, list) else value for name, value in implied}
        )


@dataclass(frozen=True)
class OpenSource:
    """A matrix, open for reading, with the options that its layout has completed."""

    matrix: CountMatrix
    options: ReadOptions
    layout: AppliedLayout | None


@contextmanager
def open_source(location: str, options: ReadOptions) -> Iterator[OpenSource]:
    """Open a matrix and recognise its layout, until the block ends.

    InputError as of `open_matrix`, or if the source does not have the layout that the options insist on, or has one
    that cannot be read.
    """
    with open_matrix(location, options.names, options.layer) as matrix:
        layout = _recognised(matrix, options)
        if layout is None:
            yield OpenSource(matrix, options, None)
            return
        _require_counts(matrix, layout)
        implied = (
            {} if options.layout == AUTO_LAYOUT and _suffices(matrix, options) else _implied(matrix, layout, options)
        )
        completed = _completed(options, implied)
        applied = AppliedLayout(layout.name, implied)
        _require_gene_map(matrix, layout, completed)
        if not layout.opened_by_names and (completed.layer == options.layer or _is_open(matrix, completed.layer)):
            matrix.use_names(completed.names)
            yield OpenSource(matrix, completed, applied)
            return
    with open_matrix(location, completed.names, completed.layer) as matrix:
        yield OpenSource(matrix, completed, applied)


def lacking(matrix: CountMatrix, layout: Layout) -> list[str]:
    """Return the marks of a layout that a source lacks, for people."""
    missing = []
    if matrix.format_name not in layout.formats:
        missing.append(f"the format {' or '.join(layout.formats)}")
    if not matrix.location.lower().endswith(layout.ending):
        missing.append(f"a name that ends in {layout.ending}")
    for what, wanted, held in (
        ("the attribute of cells", layout.cells, matrix.attributes("cell")),
        ("the attribute of rows", layout.rows, matrix.attributes("row")),
        ("the attribute of the file", layout.file, matrix.file_attributes() if layout.file else []),
        ("the layer", layout.layers, matrix.layers() if layout.layers else []),
    ):
        missing += [f"{what} '{name}'" for name in wanted if name not in held]
    return missing


def resembles(matrix: CountMatrix) -> str | None:
    """Say which layout a source without one resembles most and what it lacks; None if it has no mark of any."""
    best: tuple[float, Layout, list[str]] | None = None
    for layout in LAYOUTS:
        missing = lacking(matrix, layout)
        marks = len(layout.cells) + len(layout.rows) + len(layout.file) + len(layout.layers) + bool(layout.ending)
        absent = len(missing) - (matrix.format_name not in layout.formats)
        share = (marks - absent) / max(1, marks)
        if missing and marks - absent >= _FEWEST_MARKS and (best is None or share > best[0]):
            best = share, layout, missing
    if best is None:
        return None
    _, layout, missing = best
    return f"{layout.name} ({layout.title}), but it lacks {' and '.join(missing)}"


def layout_warnings(matrix: CountMatrix, name: str | None, passed: Flags) -> list[str]:
    """Return what users should know about the cells that pass because of the layout of a source."""
    layout = _by_name(name) if name is not None else None
    if layout is None or not layout.full_length or layout.full_length_in not in matrix.attributes("cell"):
        return []
    cells = dict.fromkeys(layout.full_length, 0)
    for first in range(0, matrix.shape[1], _CELLS_AT_ONCE):
        last = min(first + _CELLS_AT_ONCE, matrix.shape[1])
        values = matrix.cell_values(layout.full_length_in, first, last)
        for term in cells:
            cells[term] += int(((values == term).to_numpy(dtype=np.bool_) & passed[first:last]).sum())
    held = {term: number for term, number in cells.items() if number}
    if not held:
        return []
    assays = " and ".join(f"{counted(number, 'cell')} of {layout.full_length[term]}" for term, number in held.items())
    others = CELLS.given(f"{layout.full_length_in} not in {json.dumps(list(held))}")
    return [
        f"it holds {assays}, whose counts grow with the length of a gene: they must be normalised for length before "
        f"they are compared with those of other assays; {others} leaves them out"
    ]


def current(applied: AppliedLayout | None) -> bool:
    """Say whether today's layout of that name implies what it did when a source was converted."""
    if applied is None or not applied.implied:
        return True
    layout = _by_name(applied.name)
    if layout is None:
        return False
    return all(_still_implied(layout, name, value) for name, value in applied.implied.items())


def _still_implied(layout: Layout, name: str, value: Any) -> bool:
    if name in layout.implies:
        return bool(layout.implies[name] == value)
    return bool(layout.filter_if_there) if name in _FILTER else name == "layer" and value in layout.counts_in


def _by_name(name: str) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.name == name), None)


def _recognised(matrix: CountMatrix, options: ReadOptions) -> Layout | None:
    if options.layout == NO_LAYOUT:
        return None
    if options.layout == AUTO_LAYOUT:
        return next((layout for layout in LAYOUTS if not lacking(matrix, layout)), None)
    layout = _by_name(options.layout)
    assert layout is not None  # ReadOptions has checked the name
    missing = lacking(matrix, layout)
    if missing:
        message = (
            f"{matrix.location}: this is not the layout '{layout.name}' ({layout.title}) that was asked for: it lacks "
            f"{' and '.join(missing)}: {LAYOUT.given(AUTO_LAYOUT)} recognises the layout of each source"
        )
        raise InputError(message, kind="another layout")
    return layout


def _suffices(matrix: CountMatrix, options: ReadOptions) -> bool:
    """Say whether a source has all that the options name, so that it is read as before layouts were known."""
    cells, rows = matrix.attributes("cell"), matrix.attributes("row")
    if options.cell_filter and options.names.filter_pass not in cells:
        return False
    if not options.compute_n_counts and options.names.n_counts not in cells:
        return False
    if options.names.gene_id in rows or options.names.gene_id == "index":
        return True
    try:
        matrix.gene_ids()
    except InputError:
        return False
    return True


def _implied(matrix: CountMatrix, layout: Layout, options: ReadOptions) -> dict[str, Any]:
    """Return the options that a layout implies for a source, but for those that were given."""
    implied = dict(layout.implies)
    if layout.filter_if_there:
        there = layout.filter_if_there in matrix.attributes("cell")
        implied |= {"filter_attr": layout.filter_if_there} if there else {"no_cell_filter": True}
    if layout.counts_in:
        held = set(matrix.layers())
        if layout.counts_looked_for:
            held &= {*matrix.count_layers(), *(name for name in held if _is_open(matrix, name))}
        chosen = next((name for name in layout.counts_in if name in held), None)
        implied |= {"layer": chosen} if chosen is not None else {}
    given = {option.name for option in READING if option.field in _given(options)}
    if not options.cell_filter:  # also where a query or a list replaces the filter
        given |= set(_FILTER)
    for group in (_FILTER, _TOTALS):
        if given & set(group):
            given |= set(group)
    return {name: value for name, value in implied.items() if name not in given}


def _is_open(matrix: CountMatrix, layer: str) -> bool:
    return matrix.place in {layer, f"layer '{brief(layer)}'"}


def _given(options: ReadOptions) -> frozenset[str]:
    return options.given | options.names.given


def _completed(options: ReadOptions, implied: Mapping[str, Any]) -> ReadOptions:
    names: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for option in READING:
        if option.name in implied:
            value = option.sets if option.takes is Takes.NOTHING else implied[option.name]
            (names if option.owner == "AttributeNames" else fields)[option.field] = value
    gene_table = options.gene_table
    completed = replace(options, names=replace(options.names, **names), **fields)
    # The table stays as it was given: all sources of a corpus must have one, whatever their ids look like.
    object.__setattr__(completed, "gene_table", gene_table)
    return completed


def _require_counts(matrix: CountMatrix, layout: Layout) -> None:
    if layout.replaced_by:
        instead = matrix.location[: -len(layout.ending)] + layout.replaced_by
        message = (
            f"{matrix.location}: this file of the layout '{layout.name}' ({layout.title}) holds no counts; they are in "
            f"{instead}: name that file, or all such files with a pattern that ends in *{layout.replaced_by}"
        )
        raise InputError(message, kind="no counts")


def _require_gene_map(matrix: CountMatrix, layout: Layout, options: ReadOptions) -> None:
    if not layout.needs_gene_map or options.gene_map is not None:
        return
    matrix.use_names(options.names)
    ids = matrix.gene_ids()
    if not like_ensembl(ids):
        message = (
            f"{matrix.location}: the layout '{layout.name}' ({layout.title}) names genes by symbols, such as "
            f"{listed(ids[:3].tolist(), 3)}, and there is no map from symbols to Ensembl ids: give {GENE_MAP:…}"
        )
        raise InputError(message, kind="gene map missing")


def _words(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
