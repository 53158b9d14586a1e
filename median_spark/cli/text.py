"""What commands say when the work is done, in words."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from median_spark import storage
from median_spark.cli.summary import Line, Mark, Problems, Summary, aligned
from median_spark.errors import InputError, counted, listed, once_each, shared_sentences
from median_spark.expression import FailureRecord
from median_spark.inspection import Inspection, result_figures
from median_spark.options import Style, worded
from median_spark.preparation import distinct_problems
from median_spark.report import FEW_CELLS
from median_spark.report.comparison import compare
from median_spark.report.other_medians import read_medians
from median_spark.report.texts import percent
from median_spark.results import (
    LeftOutIds,
    MergeRecord,
    ResultSummary,
    find_result,
    layout,
    name_of,
    read_columns,
    stability_figures,
)
from median_spark.results.groups import LEAST_CELLS, LEAST_GENES, LEAST_GROUPS

if TYPE_CHECKING:  # `inspect` and `demo` work without pyspark
    from median_spark.spark.convert.convert import ConversionSummary

_SHOWN_GENES = 3
_NAME_WIDTH = 40

LEFT_OUT = {
    "no_id_rows": "whose id is none",
    "unmapped_rows": "that the gene map lacks",
    "unknown_rows": "with an id that the gene table lacks",
    "disputed_rows": "of another gene type than the gene table says",
}
"""Rows that a conversion leaves out, by their count's name in `RowCounts`."""


def inspection_text(inspection: Inspection) -> list[str]:
    """Return the findings of an inspection as lines of two columns."""
    return aligned([Line(field, finding) for field, finding in inspection.worded(Style.FLAGS)])


def run_summary(conversion: Summary, result: Summary) -> Summary:
    """Return the summary of a run from that of its conversion and that of its result."""
    return Summary(
        [*conversion.figures, *result.figures], result.genes, [*result.problems, *conversion.problems], result.page
    )


def conversion_summary(done: "ConversionSummary", expression: str, result: str | None = None) -> Summary:
    """Return what a conversion did, what was left out, and what failed.

    Parameters
    ----------
    done
        The conversion.
    expression
        Path of the expression table.
    result
        Path of the result of the same run, which lists all warnings and failures; None if there is none.
    """
    records = done.records
    passed, cells = sum(record.cells_passed for record in records), sum(record.cells for record in records)
    figures = [
        Line("sources", f"{len(done.converted):,} converted, {len(done.unchanged):,} unchanged"),
        Line("cells", f"{passed:,} of {cells:,} pass, {counted(sum(record.values for record in records), 'value')}"),
        *_left_out(done),
    ]
    summed = sum(record.row_counts.summed_rows for record in records)
    if summed:
        figures.append(Line("summed", f"{counted(summed, 'duplicate row')} of a gene"))
    warnings = [*_source_warnings([(record.source, warning) for record in records for warning in record.warnings])]
    problems = [
        Problems(
            [*_listed_cells(done), *_layouts(done)],
            f"{result}/report.html" if result else "the output of --json",
            needed=False,
        ),
        Problems(warnings, f"{result}/report.html" if result else "the output of --json"),
        Problems(
            failure_lines(done.failures), f"{result}/summary.json" if result else "the output of --json", headed=True
        ),
    ]
    return Summary([*figures, Line("table", expression)], problems=problems)


def _source_warnings(warnings: Sequence[tuple[str, str]]) -> Iterator[Line]:
    """Yield a line for each warning about sources; one line for those that differ in nothing but their numbers."""
    for shared in shared_sentences(warnings):
        (sentence,) = once_each((source, source, shared.text) for source in shared.sources)
        details = tuple(f"{source}: {warning}" for source, warning in shared.details)
        yield Line("warning", sentence, Mark.WARNING, details)


def _left_out(done: "ConversionSummary") -> Iterator[Line]:
    """Yield one line about the rows that were left out, if there are any."""
    parts = []
    for field, why in LEFT_OUT.items():
        affected = [record for record in done.records if getattr(record.row_counts, field)]
        if affected:
            rows = sum(getattr(record.row_counts, field) for record in affected)
            examples = dict.fromkeys(text for record in affected for text in record.row_counts.no_id_examples)
            such = f" ({listed(list(examples), 3)})" if field == "no_id_rows" else ""
            parts.append(
                f"{counted(rows, 'row')} {why}{such}, in {counted(len(affected), 'source')}: "
                f"{listed([record.source for record in affected], 3)}"
            )
    if parts:
        yield Line("left out", "; ".join(parts))


def _layouts(done: "ConversionSummary") -> Iterator[Line]:
    """Yield a line for each layout and for what followed from it."""
    sources = Counter((record.layout.name, record.layout.text) for record in done.records if record.layout is not None)
    unknown = len(done.records) - sum(sources.values())
    lines = [f"{name}, {counted(number, 'source')}: {text}" for (name, text), number in sorted(sources.items())]
    if unknown:
        lines.append(f"none that is known, {counted(unknown, 'source')}: read with the options given")
    if [name for name, _ in sources] == ["geneformer"] and not unknown:
        return  # what nothing follows from need not be said
    for number, line in enumerate(lines):
        yield Line("" if number else "layouts", worded(line, Style.FLAGS))


def _listed_cells(done: "ConversionSummary") -> Iterator[Line]:
    """Yield a line about the list of cells, if there is one."""
    used = done.cell_list
    if used is None:
        return
    text = f"{counted(used.cells, 'cell')} in {used.path}"
    text += f"; {used.missing:,} of them in no source" if used.missing else "; all were found"
    if used.repeated:
        text += (
            f"; {used.repeated:,} in several sources, where all of them were taken: a column 'source' in the list "
            "tells them apart"
        )
    yield Line("cell list", text)


def failure_lines(failures: Sequence[FailureRecord]) -> list[Line]:
    """Return a line for each reason why sources failed, below the number of these."""
    reasons = [
        Line("", InputError(problem).worded(Style.FLAGS), Mark.FAILED) for problem in distinct_problems(failures)
    ]
    return [Line("failed", counted(len(failures), "source"), Mark.FAILED), *reasons] if failures else []


def result_summary(
    summary: ResultSummary,
    result: str,
    *,
    by: tuple[str, ...] | None = None,
    stability: bool = False,
    table: str | None = None,
) -> Summary:
    """Return the figures of a result, a few of its genes, and where it is.

    Parameters
    ----------
    summary
        Content of ``summary.json``.
    result
        Path of the result.
    by
        The columns whose groups were compared, if any; None where that is not possible.
    stability
        True if the result says how far medians move with the sources.
    table
        Name of the catalog's table that has the medians, too.
    """
    figures = [Line(field, finding) for field, finding in result_figures(summary)]
    comparison, problems = ([], []) if by is None else _comparison(summary, result, by)
    if summary.cells_passed is not None and summary.cells_passed < FEW_CELLS:
        few = (
            f"{counted(summary.cells_passed, 'cell')} are few: pretraining takes millions of cells from many tissues; "
            "medians may not generalise beyond this sample"
        )
        comparison = [Line("note", few), *comparison]
    if stability:
        figures.append(Line("enough", stability_text(_table_of(result, "stability.parquet"))))
    figures += [*comparison, *([Line("catalog", f"table {table}")] if table else []), Line("results", result)]
    return Summary(figures, list(_few_genes(result)), problems, f"{result}/report.html")


def stability_text(table: pa.Table) -> str:
    """Return what a table of stability says of all genes."""
    figures = stability_figures(table)
    if figures is None:
        return "no answer: it takes at least four sources to tell how far medians move with them"
    if math.isinf(figures.if_doubled):
        return "no answer: most genes have values in too few sources"
    moves = percent(figures.if_doubled).replace("\N{NO-BREAK SPACE}", "")
    return (
        f"half of the genes would move by less than {moves} if as many cells again were added, "
        "from sources like these (an estimate)"
    )


def _few_genes(result: str) -> Iterator[Line]:
    """Yield the genes detected in most cells."""
    table = _table_of(result, "medians.parquet", ["gene", "median", "n_cells", "n_sources"])
    rows = table.sort_by([("n_cells", "descending"), ("gene", "ascending")]).slice(0, _SHOWN_GENES).to_pylist()
    for number, row in enumerate(row for row in rows if row["n_cells"]):
        yield Line(
            "" if number else "most cells",
            f"{row['gene']:<16} median {row['median']:>9.4f} in {counted(row['n_cells'], 'cell')} of "
            f"{counted(row['n_sources'], 'source')}",
        )


def _table_of(result: str, name: str, columns: list[str] | None = None) -> pa.Table:
    return storage.read_parquet(storage.read_buffer(storage.join(storage.canonical(result), name)), columns)


def _comparison(summary: ResultSummary, result: str, by: tuple[str, ...]) -> tuple[list[Line], list[Problems]]:
    """Return whether the groups are comparable, or how to learn it; and those that stand apart."""
    if not by:
        several = summary.sources is not None and summary.sources > 1
        return ([Line("hint", "--by source shows whether the sources are comparable")] if several else []), []
    noun = "source" if by == ("source",) else "group"
    groups = [
        row | {"name": name_of(tuple(row[column] for column in by))}
        for row in _table_of(result, "groups.parquet").to_pylist()
    ]
    ratios = [row["ratio"] for row in groups if row["ratio"] is not None]
    if summary.groups_apart is None:
        text = (
            f"no verdict: it takes at least {LEAST_GROUPS} {noun}s that have {LEAST_GENES} genes with a value in "
            f"{LEAST_CELLS} cells; here are {len(ratios):,}"
        )
        return [Line("comparable", text)], []
    span = f"a {noun}'s medians are typically {min(ratios):.3g} to {max(ratios):.3g} times those of the corpus"
    apart = sorted((row for row in groups if row["apart"]), key=lambda row: (-row["factor_apart"], row["name"]))
    if not apart:
        return [Line("comparable", f"yes, no {noun} stands apart; {span}")], []
    stand = f"1 {noun} stands" if len(apart) == 1 else f"{len(apart):,} {noun}s stand"
    names = [row["name"] for row in apart]
    lines = [Line("warning", text, Mark.WARNING) for text in _apart_warnings(names, len(groups), len(ratios), noun)]
    untried = sum(row["without_typical_change"] is None for row in apart)
    if untried:
        text = f"the {counted(untried, noun)} least far apart {'was' if untried == 1 else 'were'} not left out"
        lines.append(Line("note", text))
    lines += [Line("" if number else "apart", _apart(row), Mark.WARNING) for number, row in enumerate(apart)]
    return [Line("comparable", f"no, {stand} apart; {span}")], [Problems(lines, f"{result}/groups.csv")]


def _apart(row: dict[str, Any]) -> str:
    """Return how a group stands apart, and what leaving it out changes."""
    name = row["name"]
    name = name if len(name) < _NAME_WIDTH else f"…{name[-_NAME_WIDTH + 2 :]}"
    depth = "unknown" if row["median_n_counts"] is None else f"{row['median_n_counts']:,.0f}"
    text = (
        f"{name}: ratio {row['ratio']:.3g}, apart by {row['factor_apart']:.3g}×; per cell {depth} counts, "
        f"{row['values_per_cell']:,.0f} genes"
    )
    if row["without_typical_change"] is None:
        return text
    return (
        f"{text}; without it medians change by {row['without_typical_change']:.1%} typically, "
        f"{row['without_p95_change']:.1%} at the 95th percentile, "
        f"{counted(row['without_genes_changed'], 'gene')} by more than 10%"
    )


def _apart_warnings(apart: list[str], groups: int, compared: int, noun: str) -> Iterator[str]:
    verb = "stands" if len(apart) == 1 else "stand"
    yield (
        f"{len(apart):,} of {counted(groups, noun)} {verb} apart ({listed(apart, 3)}), as plate-based studies do "
        "among droplet-based ones; the published advice is not to mix such platforms"
    )
    if 4 * len(apart) > compared:
        yield f"more than a quarter of the {noun}s stand apart: this corpus has no common scale"


def comparison_lines(result: str, compare_with: Sequence[str]) -> Iterator[str]:
    """Yield for each of the medians that a result was compared with how they agree."""
    if not compare_with:
        return
    table = read_columns(storage.join(find_result(result), layout.MEDIANS), ["gene", "median", "n_cells"])
    medians = table["median"].to_numpy(zero_copy_only=False)
    for location in compare_with:
        done = compare(table["gene"].to_pylist(), medians, table["n_cells"].to_numpy(), read_medians(location))
        correlation = "none" if done.spearman is None else f"{done.spearman:.3f}"
        text = f"beside {location}: {counted(done.shared, 'shared gene')}, rank correlation (Spearman) {correlation}"
        if done.spearman_many is not None:
            text += f", of genes in more than {done.least_cells:,} cells {done.spearman_many:.3f}"
        if done.spearman_most_seen is not None:
            text += f", of the tenth of genes seen in most cells {done.spearman_most_seen:.3f}"
        if done.typical_ratio is not None:
            near = "; ".join(f"{share:.0%} within a factor of {factor:g}" for factor, share in done.near)
            text += f", typical ratio here / there {done.typical_ratio:.3g}; {near} of it"
        if not done.shared:
            text += "; the other's genes may be of another species, or named by symbols"
        yield text


def merge_summary(summary: ResultSummary, record: MergeRecord, result: str) -> Summary:
    """Return what was merged, what was left out, what the inputs do not record, and the figures of the result."""
    left_out, whole = record.left_out or LeftOutIds(0, [], 0), result_summary(summary, result)
    compressions = sorted({compression for file in record.merged for compression in file.compressions})
    figures = [
        Line(
            "merged",
            f"{counted(len(record.merged), 'file')} of digests: {_known(summary.sources, 'source')}, "
            f"{_known(summary.cells_passed, 'cell')} that pass, {counted(summary.values, 'value')}",
        ),
        Line(
            "medians",
            f"those of the merged digests, compression {summary.compression:g} "
            f"(inputs: {', '.join(f'{compression:g}' for compression in compressions)}); exact medians need the "
            "matrices: use 'median-spark run'",
        ),
    ]
    parts = []
    if left_out.unknown_ids:
        examples = listed(left_out.unknown_examples, 3)
        parts.append(f"{counted(left_out.unknown_ids, 'id')} that the gene table lacks: {examples}")
    if left_out.ids_of_other_types:
        parts.append(f"{counted(left_out.ids_of_other_types, 'id')} of other gene types")
    if parts:
        figures.append(Line("left out", "; ".join(parts)))
    notes = []
    if record.n_sources_are_lower_bounds:
        notes.append("some files do not record how many sources they hold; each counts as one in n_sources")
    if summary.target_sum is None:
        notes.append("pickles do not record the total that their values are scaled to; it must be the same for all")
    warnings = [Line("warning", warning, Mark.WARNING) for warning in record.warnings]
    return Summary(
        [*figures, *whole.figures[:-1], *(Line("note", note) for note in notes), whole.figures[-1]],
        whole.genes,
        [*whole.problems, Problems(warnings, f"{result}/provenance.json")],
        whole.page,
    )


def _known(number: int | None, noun: str) -> str:
    return f"an unknown number of {noun}s" if number is None else counted(number, noun)
