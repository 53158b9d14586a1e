"""A short readable account of what a matrix, an expression table or a result holds, and whether it can be used."""

from collections.abc import Iterator
from dataclasses import dataclass

from median_spark import storage
from median_spark.errors import InputError, MedianSparkError, TableError, counted, listed
from median_spark.expression import open_table, require_uniform
from median_spark.genes import RowCounts
from median_spark.guard import read_guarded
from median_spark.matrices import ReadOptions, open_matrix
from median_spark.matrices.suggestions import check, find_suggestions
from median_spark.results import layout, read_provenance, read_summary

_LISTED = 50
Pairs = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Inspection:
    """What lies at a path.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Field and finding; empty if nothing can be told about the path.
    problem : MedianSparkError or None
        Why it cannot be used, as the command that uses it would say; None if it can.
    """

    pairs: tuple[tuple[str, str], ...]
    problem: MedianSparkError | None = None


def inspect(path: str, options: ReadOptions | None = None) -> list[tuple[str, str]]:
    """Describe what lies at a path, as pairs of field and finding; see `examine` for whether it can be used.

    Parameters
    ----------
    path : str
        A matrix, an expression table, a result, or the folder of a run, as path or URI.
    options : ReadOptions, optional
        With which a matrix would be converted.

    Raises
    ------
    InputError
        If it is none of these, or nothing of it can be read.
    TableError
        If nothing can be told of a table or result because it is damaged.
    """
    found = examine(path, options)
    if found.problem is not None and not found.pairs:
        raise found.problem
    return list(found.pairs)


def examine(path: str, options: ReadOptions | None = None) -> Inspection:
    """Describe what lies at a path, and say why it cannot be used if it cannot.

    Parameters
    ----------
    path : str
        A matrix, an expression table, a result, or the folder of a run, as path or URI.
    options : ReadOptions, optional
        With which a matrix would be converted.

    Raises
    ------
    StorageError
        If the storage does not answer.
    """
    location = storage.canonical(path)
    found = storage.kind(location)
    if found == "file":
        return _examine_matrix(location, options or ReadOptions())
    held = set(storage.names_in(location))
    if "format.json" in held:
        return _gathered(location, _table(location))
    if layout.SUMMARY in held:
        return _gathered(location, _result(location))
    if {"expression", "medians"} & held:
        return _examine_run(location, held)
    what = "there is no such file or folder" if found == "nothing" else "this folder holds none of these"
    message = f"{location}: {what}: name a matrix, an expression table, a result, or the folder of a run"
    return Inspection((), InputError(message))


def _examine_run(location: str, held: set[str]) -> Inspection:
    """Describe the table and the result of a run, the one also if the other is damaged."""
    pairs: tuple[tuple[str, str], ...] = (("run", location),)
    problem: MedianSparkError | None = None
    for name, describe in (("expression", _table), ("medians", _result)):
        if name in held:
            inner = storage.join(location, name)
            found = _gathered(inner, describe(inner))
            pairs += found.pairs or ((name, f"cannot be used: {found.problem}"),)
            problem = problem or found.problem
    return Inspection(pairs, problem)


def _gathered(location: str, pairs: Pairs) -> Inspection:
    """Return what is told, up to the error that ends it."""
    told: list[tuple[str, str]] = []
    try:
        for pair in pairs:
            told.append(pair)  # noqa: PERF402  (what is told before the error is kept)
    except (InputError, TableError) as error:
        if told:
            told.append(_verdict(location, error))
        return Inspection(tuple(told), error)
    return Inspection(tuple(told))


def _verdict(location: str, error: MedianSparkError) -> tuple[str, str]:
    return "can be used", f"no: {_sentence(location, error)}"


def _sentence(location: str, error: MedianSparkError) -> str:
    return str(error).removeprefix(f"{location}: ")


def _examine_matrix(location: str, options: ReadOptions) -> Inspection:
    """Examine a matrix in the guarded child, step by step: if one hangs or crashes it, the results of others remain."""
    pairs: tuple[tuple[str, str], ...] = ()
    problem: MedianSparkError | None = None
    try:
        for step in (_described, _judged):
            found: Inspection = read_guarded(location, step, location, options)
            problem = found.problem
            pairs += found.pairs
            if problem is not None:
                if pairs and not found.pairs:
                    pairs += (_verdict(location, problem),)
                break
        remedies = read_guarded(location, find_suggestions, location, options) if pairs and problem is not None else []
    except InputError as error:  # it hangs or crashes what reads it
        if problem is not None:
            return Inspection((*pairs, ("would be with", f"unknown: {_sentence(location, error)}")), problem)
        return Inspection((*pairs, _verdict(location, error)) if pairs else (), error)
    return Inspection(pairs + ((("would be with", " ".join(remedies)),) if remedies else ()), problem)


def _described(location: str, options: ReadOptions) -> Inspection:
    return _gathered(location, _description(location, options))


def _judged(location: str, options: ReadOptions) -> Inspection:
    return _gathered(location, _outline(location, options))


def _description(location: str, options: ReadOptions) -> Pairs:
    with open_matrix(location, options.names, options.layer) as matrix:
        yield "matrix", location
        yield from matrix.describe()


def _outline(location: str, options: ReadOptions) -> Pairs:
    with open_matrix(location, options.names, options.layer) as matrix:
        seen = check(matrix, options)
        yield from _row_counts(seen.row_counts)
        yield "cells passing", f"{seen.cells_passed:,} of {seen.cells:,}"
        for warning in seen.warnings:
            yield "warning", warning
        sampled = "" if len(seen.units) == 1 else "; only some of its counts were looked at"
        yield "can be used", f"yes, in {counted(len(seen.units), 'unit')} of work{sampled}"


def _row_counts(row_counts: RowCounts) -> Pairs:
    yield "genes chosen", f"{row_counts.genes:,} in {counted(row_counts.selected_rows, 'row')} of {row_counts.rows:,}"
    left_out = {
        "whose id is none, such as " + listed(list(row_counts.no_id_examples), 3): row_counts.no_id_rows,
        "that the gene map lacks": row_counts.unmapped_rows,
        "of another gene type": row_counts.other_type_rows,
        "with an id that the gene table lacks": row_counts.unknown_rows,
        "of another type than the gene table says": row_counts.disputed_rows,
    }
    for why, rows in left_out.items():
        if rows:
            yield "rows left out", f"{rows:,} {why}"
    if row_counts.summed_rows:
        yield "rows summed", f"{row_counts.summed_rows:,} whose gene stands in another row too"


def _table(location: str) -> Pairs:
    table = open_table(location)
    records = table.sources()
    yield "expression table", table.location
    yield "sources", f"{len(records):,}"
    for record in records[:_LISTED]:
        yield (
            "",
            f"{record.source}: {record.cells_passed:,} of {counted(record.cells, 'cell')}, {record.values:,} values",
        )
    if len(records) > _LISTED:
        yield "", f"… and {len(records) - _LISTED:,} more"
    yield "cells passing", f"{sum(r.cells_passed for r in records):,} of {sum(r.cells for r in records):,}"
    yield "values", f"{sum(r.values for r in records):,}"
    size = sum(part.size for record in records for part in record.parts)
    values = sum(record.values for record in records)
    yield (
        "stored",
        f"{size:,} bytes in {counted(sum(len(r.parts) for r in records), 'part')}"
        + (f", {size / values:.1f} bytes a value" if values else ""),
    )
    for failure in table.failures():
        yield "failed source", f"{failure.source}: {failure.reason}"
    require_uniform(table.location, records)
    yield "genes", f"{len(table.universe(records)):,} in the universe"
    yield "target sum", f"{records[0].target_sum:g}"
    yield "can be used", "yes"


def _result(location: str) -> Pairs:
    figures, provenance = read_summary(location).as_json(), read_provenance(location)
    yield "result", location
    dictionaries = figures.pop("geneformer") or {}
    figures |= {f"geneformer {field}": figure for field, figure in dictionaries.items()}
    del figures["failed_sources"]
    for field, figure in figures.items():
        known = f"{figure:,}" if isinstance(figure, (int, float)) else str(figure)
        yield field.replace("_", " "), "unknown" if figure is None else known
    yield "written", str(provenance.written)
    yield "by", f"median_spark {provenance.software.get('median_spark')}"
    for failure in provenance.failed_sources:
        yield "failed source", f"{failure.source}: {failure.reason}"
