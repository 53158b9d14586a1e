"""What went into a result, and what was left out of it, from its provenance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from median_spark.errors import counted, listed, shared_sentences
from median_spark.matrices import AppliedLayout
from median_spark.options import Style, worded
from median_spark.results import Provenance, RecordedSource

MOST_LISTED = 200
"""Sources, and warnings, that a page shows; all are in ``sources.parquet`` and ``provenance.json``."""

_LEFT_OUT = {
    "other_type_rows": "of another gene type",
    "no_id_rows": "whose id is none, such as nan or a number",
    "unmapped_rows": "with an id that the gene map lacks",
    "unknown_rows": "with an id that the gene table lacks",
    "disputed_rows": "of another type than the gene table says",
}


@dataclass(frozen=True)
class CorpusOverview:
    """What the page says of all sources."""

    largest: tuple[RecordedSource, ...]  # those with the most values, at most `MOST_LISTED`
    reasons: dict[str, str]  # field of the row counts to why rows were left out; only those that occur
    left_out: list[str]  # a phrase each, over all sources
    summed_rows: int  # duplicate rows of a gene, summed, over all sources
    warnings: list[tuple[str, str]]  # which sources, and warning; no sources where it is about all of them
    layouts: list[tuple[str, int, str]]  # name, number of sources, and what followed
    parameters: dict[str, Any]  # with which the sources were converted; a phrase where they differ


def corpus_overview(provenance: Provenance) -> CorpusOverview:
    """Return what a result's provenance says of its sources."""
    sources = provenance.sources
    reasons = {field: why for field, why in _LEFT_OUT.items() if any(_rows(source, field) for source in sources)}
    about_all = [*(provenance.merge.warnings if provenance.merge else ()), *provenance.source_warnings]
    warnings = [("", warning) for warning in about_all]
    return CorpusOverview(
        largest=tuple(sorted(sources, key=lambda source: (-(source.values or 0), source.source))[:MOST_LISTED]),
        reasons=reasons,
        left_out=_left_out(sources, reasons),
        summed_rows=sum(_rows(source, "summed_rows") for source in sources),
        warnings=warnings + _source_warnings(sources),
        layouts=_layouts(sources),
        parameters=_common([source.parameters for source in sources]),
    )


def _source_warnings(sources: Sequence[RecordedSource]) -> list[tuple[str, str]]:
    """Return the warnings about sources, those that several share once, with up to three of their names."""
    said = shared_sentences((source.source, warning) for source in sources for warning in source.warnings)
    return [
        (
            shared.sources[0]
            if len(shared.sources) == 1
            else f"{counted(len(shared.sources), 'source')} ({listed(shared.sources, 3)})",
            shared.text,
        )
        for shared in said
    ]


def _layouts(sources: Sequence[RecordedSource]) -> list[tuple[str, int, str]]:
    """Return the layouts that were recognised, and what followed from each."""
    applied = [AppliedLayout.from_json(source.layout) for source in sources]
    numbers = Counter((layout.name, layout.text) for layout in applied if layout is not None)
    return [(name, number, worded(text, Style.FLAGS)) for (name, text), number in sorted(numbers.items())]


def _common(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all sources have in common, and say where they do not."""
    first = parameters[0] if parameters else {}
    return {
        field: first.get(field)
        if all(each.get(field) == first.get(field) for each in parameters)
        else "not the same for all sources: see provenance.json"
        for field in dict.fromkeys(field for each in parameters for field in each)
    }


def _rows(source: RecordedSource, field: str) -> int:
    return source.row_counts.get(field) or 0


def _left_out(sources: Sequence[RecordedSource], reasons: Mapping[str, str]) -> list[str]:
    phrases = []
    not_passed = [(source.cells or 0) - (source.cells_passed or 0) for source in sources]
    if sum(not_passed):
        affected = counted(sum(1 for number in not_passed if number), "source")
        phrases.append(f"{counted(sum(not_passed), 'cell')} that did not pass the filter, in {affected}")
    for field, why in reasons.items():
        rows = [_rows(source, field) for source in sources]
        affected = counted(sum(1 for number in rows if number), "source")
        phrases.append(f"{counted(sum(rows), 'row')} {why}, in {affected}")
    return phrases
