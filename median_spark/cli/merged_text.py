"""What is printed of a merged result: what went in, and what is not known of it."""

from median_spark.errors import counted, listed
from median_spark.results import LeftOutIds, MergeRecord, ResultSummary

_SHOWN_WARNINGS = 20


def merged_text(summary: ResultSummary, record: MergeRecord) -> list[str]:
    """Return the lines that say what was merged, what was left out, and what the inputs do not record."""
    compressions = sorted({compression for file in record.merged for compression in file.compressions})
    lines = [
        f"{counted(len(record.merged), 'file')} of digests merged: {_known(summary.sources, 'source')}, "
        f"{_known(summary.cells_passed, 'cell')} that pass, {counted(summary.values, 'value')}",
        f"medians are those of the merged digests, of compression {summary.compression:g} "
        f"(inputs: {', '.join(f'{compression:g}' for compression in compressions)}); exact medians need the values: "
        "convert the matrices, and run 'median-spark medians'",
    ]
    left_out = record.left_out or LeftOutIds(0, [], 0)
    for number, why in (
        (left_out.unknown_ids, f"that the gene table lacks: {listed(left_out.unknown_examples, 3)}"),
        (left_out.ids_of_other_types, "of other gene types"),
    ):
        if number:
            lines.append(f"left out: {counted(number, 'id')} {why}")
    if record.n_sources_are_lower_bounds:
        lines.append(
            "note: some files do not say of how many sources their digests are; each counts as one in n_sources"
        )
    if summary.target_sum is None:
        lines.append(
            "note: pickles do not record to which total their values are scaled; that it is the same for all of them "
            "cannot be checked"
        )
    warnings = record.warnings
    lines += [f"warning: {warning}" for warning in warnings[:_SHOWN_WARNINGS]]
    if len(warnings) > _SHOWN_WARNINGS:
        lines.append(f"… and {counted(len(warnings) - _SHOWN_WARNINGS, 'more warning')} in provenance.json")
    return lines


def _known(number: int | None, noun: str) -> str:
    return f"an unknown number of {noun}s" if number is None else counted(number, noun)
