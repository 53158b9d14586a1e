"""The lines that commands print when the work is done."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import InputError, counted, listed
from median_spark.expression import FailureRecord
from median_spark.geneformer import DictionaryFigures
from median_spark.inspection import Inspection
from median_spark.options import Style
from median_spark.report import FEW_CELLS
from median_spark.results import LeftOutIds, MergeRecord, ResultSummary
from median_spark.results.sources import LEAST_CELLS, LEAST_GENES, LEAST_SOURCES

if TYPE_CHECKING:  # `inspect` and `demo` work without pyspark
    from median_spark.spark.convert.convert import ConversionSummary

_SHOWN_GENES = 6
_SHOWN_SOURCES = 10
_SHOWN_WARNINGS = 20
_NAME_WIDTH = 40

_LEFT_OUT = {
    "no_id_rows": "whose id is none",
    "unmapped_rows": "that the gene map lacks",
    "unknown_rows": "with an id that the gene table lacks",
    "disputed_rows": "of another gene type than the gene table says",
}
"""Rows that a conversion leaves out, by their count's name in `RowCounts`."""


def inspection_text(inspection: Inspection) -> list[str]:
    """Return the findings of an inspection as lines of two columns."""
    pairs = inspection.worded(Style.FLAGS)
    width = max(len(field) for field, _ in pairs)
    return [f"{field:<{width}}  {finding}" for field, finding in pairs]


def conversion_text(done: "ConversionSummary", expression: str) -> list[str]:
    """Return the lines that say what a conversion did, what was left out, and what failed."""
    records = done.records
    passed, cells = sum(record.cells_passed for record in records), sum(record.cells for record in records)
    lines = [
        f"{counted(len(done.converted), 'source')} converted, {len(done.unchanged):,} unchanged: "
        f"{passed:,} of {counted(cells, 'cell')} pass, {counted(sum(record.values for record in records), 'value')}"
    ]
    for field, why in _LEFT_OUT.items():
        affected = [record for record in records if getattr(record.row_counts, field)]
        if affected:
            rows = sum(getattr(record.row_counts, field) for record in affected)
            examples = dict.fromkeys(text for record in affected for text in record.row_counts.no_id_examples)
            such = f" ({listed(list(examples), 3)})" if field == "no_id_rows" else ""
            lines.append(
                f"left out: {counted(rows, 'row')} {why}{such}, in {counted(len(affected), 'source')}: "
                f"{listed([record.source for record in affected], 3)}"
            )
    summed = sum(record.row_counts.summed_rows for record in records)
    if summed:
        lines.append(f"duplicate rows of a gene, summed: {counted(summed, 'row')}")
    lines += [f"warning: {record.source}: {warning}" for record in records for warning in record.warnings]
    return [*lines, *failures_text(done.failures), f"expression table: {expression}"]


def failures_text(failures: Sequence[FailureRecord]) -> list[str]:
    """Return a line for each source that failed, under a heading."""
    reasons = [f"  {InputError(failure.problem).worded(Style.FLAGS)}" for failure in failures]
    return [f"FAILED: {counted(len(failures), 'source')}", *reasons] if failures else []


def result_text(summary: ResultSummary, result: str) -> list[str]:
    """Return lines with the figures of a result, a few of its genes, and where it is."""
    lines = [
        f"{counted(summary.genes, 'gene')}: {summary.genes_detected:,} detected, "
        f"{summary.genes_in_more_than_100_cells:,} in more than 100 cells, "
        f"{summary.genes_in_more_than_1000_cells:,} in more than 1,000; "
        f"median detection count {summary.median_detection_count:,g}"
    ]
    if summary.cells_passed is not None and summary.cells_passed < FEW_CELLS:
        lines.append(
            f"note: {counted(summary.cells_passed, 'cell')} are few: to pretrain on, take millions of cells from many "
            "tissues; medians may not generalise beyond this sample"
        )
    if summary.worst_digest_rank_error is not None:
        lines.append(
            f"medians are exact; those of the digests alone are off by up to {summary.worst_digest_rank_error:.2%} of "
            f"a gene's ranks, {summary.p99_digest_rank_error:.2%} at the 99th percentile of genes"
        )
    if summary.geneformer is not None:
        lines.append(dictionaries_text(summary.geneformer))
    return [*lines, "", *_few_genes(result), "", f"results: {result}"]


def dictionaries_text(figures: DictionaryFigures) -> str:
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
    return (
        f"geneformer dictionaries: {counted(figures.genes, 'gene')} after the special tokens "
        f"{', '.join(figures.tokens)}; {counted(figures.spellings, 'id or name', 'ids and names')} map to them"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def _few_genes(result: str) -> Iterator[str]:
    """Yield a small table of the genes detected in most cells."""
    table = _table_of(result, "medians.parquet", ["gene", "median", "n_cells", "n_sources"])
    rows = table.sort_by([("n_cells", "descending"), ("gene", "ascending")]).slice(0, _SHOWN_GENES).to_pylist()
    yield f"{'gene':<20}{'median':>12}{'cells':>14}{'sources':>10}"
    for row in rows:
        if row["n_cells"]:
            yield f"{row['gene']:<20}{row['median']:>12.4f}{row['n_cells']:>14,}{row['n_sources']:>10,}"
    yield f"… and {max(0, len(table) - _SHOWN_GENES):,} more in medians.csv"


def _table_of(result: str, name: str, columns: list[str] | None = None) -> pa.Table:
    # Not as Python's bytes: pyarrow's own threads may still hold them when the interpreter ends, and abort it.
    content = storage.read_buffer(storage.join(storage.canonical(result), name))
    return pq.read_table(pa.BufferReader(content), columns=columns)


def sources_text(summary: ResultSummary, result: str, *, by_source: bool) -> list[str]:
    """Return lines about the sources: those that stand apart and a warning, or how to learn whether any does."""
    if not by_source:
        several = summary.sources is not None and summary.sources > 1
        return ["hint: --by-source shows whether the sources are comparable"] if several else []
    sources = _table_of(result, "sources.parquet").to_pylist()
    ratios = [row["ratio"] for row in sources if row["ratio"] is not None]
    if summary.sources_apart is None:
        return [
            f"no verdict on whether the sources are comparable: it takes at least {LEAST_SOURCES} that have "
            f"{LEAST_GENES} genes with a value in {LEAST_CELLS} cells; here are {len(ratios):,}"
        ]
    span = (
        f"a gene's median in a source over its median in the corpus is typically between {min(ratios):.3g} and "
        f"{max(ratios):.3g}"
    )
    apart = sorted((row for row in sources if row["apart"]), key=lambda row: (-row["factor_apart"], row["source"]))
    if not apart:
        return [f"the sources are comparable: none stands apart; {span}"]
    return [*_apart_table(apart), *_apart_warning(apart, len(ratios), span)]


def _apart_table(apart: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f"{'stands apart':<{_NAME_WIDTH}}{'ratio':>8}{'apart by':>10}{'counts per cell':>17}{'genes per cell':>16}"
        f"   leaving it out changes medians by"
    )
    for row in apart[:_SHOWN_SOURCES]:
        name = row["source"]
        name = name if len(name) < _NAME_WIDTH else f"…{name[-_NAME_WIDTH + 2 :]}"
        depth = "unknown" if row["median_n_counts"] is None else f"{row['median_n_counts']:,.0f}"
        change = "not tried"
        if row["without_typical_change"] is not None:
            change = (
                f"{row['without_typical_change']:.1%} typically, {row['without_p95_change']:.1%} at the 95th "
                f"percentile; {counted(row['without_genes_changed'], 'gene')} by more than 10%"
            )
        yield (
            f"{name:<{_NAME_WIDTH}}{row['ratio']:>8.3g}{row['factor_apart']:>9.3g}×{depth:>17}"
            f"{row['values_per_cell']:>16,.0f}   {change}"
        )
    if len(apart) > _SHOWN_SOURCES:
        yield f"… and {len(apart) - _SHOWN_SOURCES:,} more in sources.csv"


def _apart_warning(apart: list[dict[str, Any]], compared: int, span: str) -> Iterator[str]:
    verb = "stands" if len(apart) == 1 else "stand"
    yield (
        f"warning: {len(apart):,} of {counted(compared, 'source')} {verb} apart: {span}. Plate-based studies among "
        "droplet-based ones do so, and the other way round, and very deep or shallow ones; the published advice is not "
        "to mix such platforms when a factor is computed"
    )
    if 4 * len(apart) > compared:
        yield "warning: more than a quarter of the sources: this corpus has no common scale"
    untried = sum(row["without_typical_change"] is None for row in apart)
    if untried:
        stand, was = ("stands", "was") if untried == 1 else ("stand", "were")
        yield f"note: {counted(untried, 'source')} that {stand} apart less far {was} not left out in turn"


def merged_text(summary: ResultSummary, record: MergeRecord) -> Iterator[str]:
    """Yield the lines that say what was merged, what was left out, and what the inputs do not record."""
    merged, left_out, warnings = record.merged, record.left_out or LeftOutIds(0, [], 0), record.warnings
    compressions = sorted({compression for file in merged for compression in file.compressions})
    yield (
        f"{counted(len(merged), 'file')} of digests merged: {_known(summary.sources, 'source')}, "
        f"{_known(summary.cells_passed, 'cell')} that pass, {counted(summary.values, 'value')}"
    )
    yield (
        f"medians are those of the merged digests, of compression {summary.compression:g} "
        f"(inputs: {', '.join(f'{compression:g}' for compression in compressions)}); exact medians need the values: "
        "convert the matrices, and run 'median-spark medians'"
    )
    if left_out.unknown_ids:
        examples = listed(left_out.unknown_examples, 3)
        yield f"left out: {counted(left_out.unknown_ids, 'id')} that the gene table lacks: {examples}"
    if left_out.ids_of_other_types:
        yield f"left out: {counted(left_out.ids_of_other_types, 'id')} of other gene types"
    if record.n_sources_are_lower_bounds:
        yield "note: some files do not say of how many sources their digests are; each counts as one in n_sources"
    if summary.target_sum is None:
        yield (
            "note: pickles do not record to which total their values are scaled; that it is the same for all of them "
            "cannot be checked"
        )
    yield from (f"warning: {warning}" for warning in warnings[:_SHOWN_WARNINGS])
    if len(warnings) > _SHOWN_WARNINGS:
        yield f"… and {counted(len(warnings) - _SHOWN_WARNINGS, 'more warning')} in provenance.json"


def _known(number: int | None, noun: str) -> str:
    return f"an unknown number of {noun}s" if number is None else counted(number, noun)
