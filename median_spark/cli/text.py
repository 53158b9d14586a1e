"""What is printed when the work is done."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import counted, listed
from median_spark.expression import FailureRecord
from median_spark.geneformer import DictionaryFigures
from median_spark.report import FEW_CELLS
from median_spark.results import ResultSummary

if TYPE_CHECKING:  # `inspect` and `demo` work without pyspark
    from median_spark.spark.convert.convert import ConversionSummary

_SHOWN_GENES = 6


def pairs_text(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return pairs of field and finding as lines of two columns."""
    width = max(len(field) for field, _ in pairs)
    return [f"{field:<{width}}  {found}" for field, found in pairs]


def conversion_text(done: "ConversionSummary", expression: str) -> list[str]:
    """Return the lines that say what a conversion did, what was left out, and what failed."""
    passed = sum(record.cells_passed for record in done.records)
    cells = sum(record.cells for record in done.records)
    values = sum(record.values for record in done.records)
    lines = [
        f"{counted(len(done.converted), 'source')} converted, {len(done.unchanged):,} unchanged: "
        f"{passed:,} of {counted(cells, 'cell')} pass, {counted(values, 'value')}"
    ]
    for field, why in (
        ("no_id_rows", "whose id is none"),
        ("unmapped_rows", "that the gene map lacks"),
        ("unknown_rows", "with an id that the gene table lacks"),
        ("disputed_rows", "of another gene type than the gene table says"),
    ):
        affected = [record.source for record in done.records if getattr(record.row_counts, field)]
        if affected:
            rows = sum(getattr(record.row_counts, field) for record in done.records)
            examples = [text for record in done.records for text in record.row_counts.no_id_examples]
            such = f" ({listed(list(dict.fromkeys(examples)), 3)})" if field == "no_id_rows" else ""
            lines.append(
                f"left out: {counted(rows, 'row')} {why}{such}, in {counted(len(affected), 'source')}: "
                f"{listed(affected, 3)}"
            )
    summed = sum(record.row_counts.summed_rows for record in done.records)
    if summed:
        lines.append(f"summed: {counted(summed, 'row')} whose gene stands in another row of its source too")
    lines += [f"warning: {record.source}: {warning}" for record in done.records for warning in record.warnings]
    lines += failures_text(done.failures)
    lines.append(f"expression table: {expression}")
    return lines


def failures_text(failures: Sequence[FailureRecord]) -> list[str]:
    """Return a line for each source that failed."""
    if not failures:
        return []
    return [f"FAILED: {counted(len(failures), 'source')}", *(f"  {failure.reason}" for failure in failures)]


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
            "tissues, or these medians speak of this sample only"
        )
    if summary.worst_digest_rank_error is not None:
        lines.append(
            f"medians are exact; those of the digests alone are off by up to {summary.worst_digest_rank_error:.2%} of "
            f"a gene's ranks, {summary.p99_digest_rank_error:.2%} at the 99th percentile of genes"
        )
    if summary.geneformer is not None:
        lines.append(dictionaries_text(summary.geneformer))
    lines += ["", *_few_genes(result), "", f"results: {result}"]
    return lines


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
        f"{', '.join(figures.tokens)}; {counted(figures.spellings, 'id or name', 'ids and names')} lead to them"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def _few_genes(result: str) -> list[str]:
    """Return a small table of the genes detected in most cells."""
    # Not as Python's bytes: pyarrow's own threads may still hold them when the interpreter ends, and abort it.
    content = storage.read_buffer(storage.join(storage.canonical(result), "medians.parquet"))
    table = pq.read_table(pa.BufferReader(content), columns=["gene", "median", "n_cells", "n_sources"])
    rows = table.sort_by([("n_cells", "descending"), ("gene", "ascending")]).slice(0, _SHOWN_GENES).to_pylist()
    lines = [f"{'gene':<20}{'median':>12}{'cells':>14}{'sources':>10}"]
    lines += [
        f"{row['gene']:<20}{row['median']:>12.4f}{row['n_cells']:>14,}{row['n_sources']:>10,}"
        for row in rows
        if row["n_cells"]
    ]
    lines.append(f"… and {max(0, len(table) - _SHOWN_GENES):,} more in medians.csv")
    return lines
