"""A short readable account of what a matrix, an expression table or a result holds, and whether it can be used."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from median_spark import storage
from median_spark.corpus_inspection import describe_corpus
from median_spark.errors import InputError, MedianSparkError, TableError, counted, listed
from median_spark.expression import SourceRecord, open_table, require_uniform
from median_spark.geneformer import DictionaryFigures, group_text
from median_spark.genes import RowCounts
from median_spark.guard import read_guarded
from median_spark.matrices import FoundSources, ReadOptions, find_sources, matrix_at, open_matrix
from median_spark.matrices.chosen_cells import COMPUTED, of_location
from median_spark.matrices.contract import brief
from median_spark.matrices.known_layouts import AUTO_LAYOUT
from median_spark.matrices.layouts import open_source, resembles
from median_spark.matrices.suggestions import check, find_suggestions
from median_spark.options import Style, worded
from median_spark.results import ResultSummary, layout, read_provenance, read_summary

_OWN_COLUMNS = ("cell", "n_values")
"""Columns of the tables of cells that say nothing about a cell."""

_LISTED = 50
Findings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Inspection:
    """What a path holds, and whether it can be used.

    Attributes
    ----------
    findings : tuple of (str, str)
        Field and finding, with neutral mentions of options (see `median_spark.options`); empty if nothing is known.
    problem : MedianSparkError or None
        Why it cannot be used, as the command that uses it would say; None if it can.
    """

    findings: Findings
    problem: MedianSparkError | None = None

    @property
    def pairs(self) -> Findings:
        """Field and finding, with options named as arguments of Python functions."""
        return self.worded(Style.ARGUMENTS)

    def worded(self, style: Style) -> Findings:
        """Return field and finding, with options named in the words of a style."""
        return tuple((worded(field, style), worded(finding, style)) for field, finding in self.findings)

    def concluded(self, field: str, finding: str) -> "Inspection":
        """Return the inspection with a last finding, if there are findings at all."""
        return replace(self, findings=(*self.findings, (field, finding)) if self.findings else ())


def inspect(path: str, options: ReadOptions | None = None) -> list[tuple[str, str]]:
    """Describe what a path holds, as pairs of field and finding; see `examine` for whether it can be used.

    Parameters
    ----------
    path : str
        Path or URI of a matrix, a folder of matrices, an expression table, a result, or the folder of a run.
    options : ReadOptions, optional
        Options that a matrix would be converted with.

    Returns
    -------
    list of (str, str)
        Field and finding; several may have one field.

    Raises
    ------
    InputError
        If it is none of these, or nothing of it can be read.
    TableError
        If a table or result is too damaged to be described.

    Examples
    --------
    >>> import median_spark
    >>> findings = dict(median_spark.inspect("corpus/database1/data/study1.loom"))
    >>> findings["can be used"]
    'yes, in 1 unit of work'
    """
    inspection = examine(path, options)
    if inspection.problem is not None and not inspection.findings:
        raise inspection.problem
    return list(inspection.pairs)


def examine(path: str, options: ReadOptions | None = None) -> Inspection:
    """Describe what a path holds, and say why it cannot be used if it cannot.

    Parameters
    ----------
    path : str
        Path or URI of a matrix, a folder of matrices, an expression table, a result, or the folder of a run.
    options : ReadOptions, optional
        Options that a matrix would be converted with.

    Returns
    -------
    Inspection
        Findings, and the problem if there is one.

    Raises
    ------
    StorageError
        If the storage does not answer.

    Examples
    --------
    >>> import median_spark
    >>> inspection = median_spark.examine("corpus/database1/data/study1.loom")
    >>> inspection.problem is None
    True
    """
    location = storage.canonical(path)
    kind = storage.kind(location)
    if kind == "file":
        return _examine_matrix(location, of_location(location, options or ReadOptions()))
    held = set(storage.names_in(location))
    if "format.json" in held:
        return _gathered(location, _table(location))
    if layout.SUMMARY in held:
        return _gathered(location, _result(location))
    if {"expression", "medians"} & held:
        return _examine_run(location, held)
    matrix = matrix_at(location, held)
    if matrix is not None:
        return _examine_matrix(matrix, of_location(matrix, options or ReadOptions()))
    what = "name a matrix, a folder of matrices, an expression table, a result, or the folder of a run"
    try:
        found = find_sources([location])
    except InputError as error:
        return Inspection((), InputError(f"{error.text}: {what}"))
    return _examine_corpus(location, found, options or ReadOptions())


def _examine_corpus(location: str, found: FoundSources, options: ReadOptions) -> Inspection:
    findings, problem = describe_corpus(location, found, options)
    inspection = Inspection(tuple(findings))
    return inspection if problem is None else _rejected(location, inspection, problem)


def _examine_run(location: str, held: set[str]) -> Inspection:
    """Describe the table and the result of a run, the one also if the other is damaged."""
    whole = Inspection((("run", location),))
    for name, describe in (("expression", _table), ("medians", _result)):
        if name in held:
            inner = storage.join(location, name)
            part = _gathered(inner, describe(inner))
            findings = part.findings
            if part.problem is not None and not findings:
                findings = ((name, f"cannot be used: {part.problem.text}"),)
            whole = Inspection(whole.findings + findings, whole.problem or part.problem)
    return whole


def _gathered(location: str, findings: Iterator[tuple[str, str]]) -> Inspection:
    """Return the findings up to the error that ends them."""
    gathered: list[tuple[str, str]] = []
    try:
        for finding in findings:
            gathered.append(finding)  # noqa: PERF402  (findings before the error are kept)
    except (InputError, TableError) as error:
        return _rejected(location, Inspection(tuple(gathered)), error)
    return Inspection(tuple(gathered))


def _rejected(location: str, inspection: Inspection, error: MedianSparkError) -> Inspection:
    return replace(inspection, problem=error).concluded("can be used", f"no: {error.without(location)}")


def _examine_matrix(location: str, options: ReadOptions) -> Inspection:
    """Examine a matrix in the guarded child, step by step: if one hangs or crashes it, the results of others remain."""
    inspection = Inspection(())
    try:
        for step in (_described, _judged):
            done: Inspection = read_guarded(location, step, location, options)
            if done.problem is not None and not done.findings:
                inspection = _rejected(location, inspection, done.problem)
            else:
                inspection = Inspection(inspection.findings + done.findings, done.problem)
            if done.problem is not None:
                break
        else:
            return inspection
        suggestions = read_guarded(location, find_suggestions, location, options) if inspection.findings else []
    except InputError as error:  # it hangs or crashes what reads it
        if inspection.problem is None:
            return _rejected(location, inspection, error)
        return inspection.concluded("would be with", f"unknown: {error.without(location)}")
    return inspection.concluded("would be with", " ".join(suggestions)) if suggestions else inspection


def _described(location: str, options: ReadOptions) -> Inspection:
    return _gathered(location, _description(location, options))


def _judged(location: str, options: ReadOptions) -> Inspection:
    return _gathered(location, _outline(location, options))


def _description(location: str, options: ReadOptions) -> Iterator[tuple[str, str]]:
    with open_matrix(location, options.names, options.layer) as matrix:
        yield "matrix", location
        yield from matrix.describe()


def _outline(location: str, options: ReadOptions) -> Iterator[tuple[str, str]]:
    with open_source(location, options) as source:
        if source.layout is not None:
            yield "layout", f"{source.layout.name}, {source.layout.text}"
        elif options.layout == AUTO_LAYOUT and (resembled := resembles(source.matrix)) is not None:
            yield "layout", f"none that is known; it resembles {resembled}"
        outline = check(source)
        yield from _row_counts(outline.row_counts)
        yield "cells passing", f"{outline.cells_passed:,} of {outline.cells:,}"
        for warning in outline.warnings:
            yield "warning", warning
        sampled = "" if len(outline.units) == 1 else "; only some of its counts were looked at"
        yield "can be used", f"yes, in {counted(len(outline.units), 'unit')} of work{sampled}"


def _row_counts(row_counts: RowCounts) -> Iterator[tuple[str, str]]:
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
        yield "rows summed", f"{counted(row_counts.summed_rows, 'duplicate row')} of a gene"


def _table(location: str) -> Iterator[tuple[str, str]]:
    table = open_table(location)
    records = table.sources()
    yield "expression table", table.location
    yield "sources", f"{len(records):,}"
    for record in records[:_LISTED]:
        cells = f"{record.cells_passed:,} of {counted(record.cells, 'cell')}"
        yield "", f"{record.source}: {cells}, {record.values:,} values"
    if len(records) > _LISTED:
        yield "", f"… and {len(records) - _LISTED:,} more"
    yield "cells passing", f"{sum(r.cells_passed for r in records):,} of {sum(r.cells for r in records):,}"
    known = _known_of_cells(records)
    if known:
        yield "known of cells", known
    values, parts = sum(record.values for record in records), [part for record in records for part in record.parts]
    yield "values", f"{values:,}"
    size = sum(part.size for part in parts)
    per_value = f", {size / values:.1f} bytes per value" if values else ""
    yield "stored", f"{size:,} bytes in {counted(len(parts), 'part')}{per_value}"
    for failure in table.failures():
        yield "failed source", f"{failure.source}: {failure.reason}"
    require_uniform(table.location, records)
    yield "genes", f"{len(table.universe(records)):,} in the universe"
    yield "target sum", f"{records[0].target_sum:g}"
    yield "can be used", "yes"


def _known_of_cells(records: list[SourceRecord]) -> str:
    """Return what can be asked of cells by its name, and how many sources have it if not all do."""
    sources = Counter(name for record in records for name, _ in record.cell_columns if name not in _OWN_COLUMNS)
    names = dict.fromkeys([*COMPUTED, *sorted(sources)])
    shown = [
        brief(name)
        + ("" if sources[name] == len(records) else f" ({sources[name]:,} of {counted(len(records), 'source')})")
        for name in names
        if sources[name]
    ]
    more = len(shown) - _LISTED
    return ", ".join(shown[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _result(location: str) -> Iterator[tuple[str, str]]:
    summary, provenance = read_summary(location), read_provenance(location)
    yield "result", location
    yield "sources", _known(summary.sources)
    yield "cells passing", f"{_known(summary.cells_passed)} of {_known(summary.cells)}"
    yield "values", f"{summary.values:,}"
    if summary.worst_digest_rank_error is None:
        yield "medians", summary.medians_are
    yield from result_figures(summary)
    yield "target sum", "unknown" if summary.target_sum is None else f"{summary.target_sum:,g}"
    yield "compression", f"{summary.compression:g}"
    if summary.groups_apart is not None:
        yield "groups apart", listed(summary.groups_apart) or "none"
    yield "written", f"{provenance.written} by median_spark {provenance.software.get('median_spark')}"
    for failure in provenance.failed_sources:
        yield "failed source", f"{failure.source}: {failure.reason}"


def _known(number: int | None) -> str:
    return "an unknown number" if number is None else f"{number:,}"


def result_figures(summary: ResultSummary) -> Findings:
    """Return what a result says of its genes, its medians and its dictionaries, as pairs of field and finding."""
    figures = [
        (
            "genes",
            f"{summary.genes:,}: {summary.genes_detected:,} detected, "
            f"{summary.genes_in_more_than_100_cells:,} in more than 100 cells, "
            f"{summary.genes_in_more_than_1000_cells:,} in more than 1,000; "
            f"median detection count {summary.median_detection_count:,g}",
        )
    ]
    if summary.worst_digest_rank_error is not None:
        error = (
            f"exact; the digests alone are off by up to {summary.worst_digest_rank_error:.2%} of a gene's ranks "
            f"({summary.p99_digest_rank_error:.2%} at the 99th percentile of genes)"
        )
        figures.append(("medians", error))
    if summary.geneformer is not None:
        figures.append(("dictionaries", _dictionaries(summary.geneformer)))
    return tuple(figures)


def _dictionaries(figures: DictionaryFigures) -> str:
    """Return what is in the dictionaries that a tokenizer loads, and what was left out of them."""
    left_out = [
        f"{counted(number, noun)} {why}"
        for number, noun, why in (
            (figures.genes_in_fewer_cells, "gene", f"detected in fewer than {counted(figures.min_cells, 'cell')}"),
            (figures.genes_without_usable_median, "gene", "whose median is no number above 0"),
            (figures.genes_told_apart_by_case, "gene", "whose id differs from another's by case only"),
            (figures.ambiguous_names, "name", "of several genes"),
        )
        if number
    ]
    group = f" of {group_text(figures.dictionary_of)}" if figures.dictionary_of else ""
    factors = f"{figures.factor}s{group}: " if group or figures.factor == "mean" else ""
    return (
        f"{factors}{counted(figures.genes, 'gene')} after the special tokens {', '.join(figures.tokens)}; "
        f"{counted(figures.spellings, 'id or name', 'ids and names')} map to them"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )
