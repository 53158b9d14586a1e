"""What went into a result, and what was left out of it, from its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from median_spark.errors import counted

MOST_LISTED = 200
"""Sources, and warnings, that a page shows; the others stand in ``provenance.json``."""

_LEFT_OUT = {
    "other_type_rows": "of another gene type",
    "no_id_rows": "whose id is none, such as nan or a number",
    "unmapped_rows": "with an id that the gene map lacks",
    "unknown_rows": "with an id that the gene table lacks",
    "disputed_rows": "of another type than the gene table says",
}


@dataclass(frozen=True)
class Origin:
    """One source on the page.

    Attributes
    ----------
    source : str
        Its name.
    size : int or None
        Bytes of the file.
    cells, cells_passed, values : int or None
        None where the record does not say.
    rows_left_out : tuple of int
        As many as `Origins.reasons`.
    """

    source: str
    size: int | None
    cells: int | None
    cells_passed: int | None
    values: int | None
    rows_left_out: tuple[int, ...]


@dataclass(frozen=True)
class MergedFile:
    """One file of digests that went into a merged result, and how many of its genes."""

    path: str
    kind: str
    genes: int
    genes_left_out: int
    values: int


@dataclass(frozen=True)
class Origins:
    """All sources on the page.

    Attributes
    ----------
    shown : tuple of Origin
        Those with the most values, at most `MOST_LISTED`.
    total : int
        How many there are.
    reasons : tuple of str
        Why rows were left out of some source.
    left_out : tuple of str
        What was left out of all of them together, a phrase each.
    summed_rows : int
        Rows whose gene stands in another row of its source, too, over all sources.
    warnings : tuple of (str, str)
        Source and warning, at most `MOST_LISTED`; no source where it is about all of them.
    warnings_total : int
        How many there are.
    failed : tuple of (str, str)
        Sources that could not be read, and why.
    merged : tuple of MergedFile
        The files that the result was merged from, if it was.
    parameters : dict
        With which the sources were converted; a phrase where they differ.
    """

    shown: tuple[Origin, ...]
    total: int
    reasons: tuple[str, ...]
    left_out: tuple[str, ...]
    summed_rows: int
    warnings: tuple[tuple[str, str], ...]
    warnings_total: int
    failed: tuple[tuple[str, str], ...]
    merged: tuple[MergedFile, ...]
    parameters: dict[str, Any]


def origins_of(provenance: Mapping[str, Any]) -> Origins:
    """Return what a result's record says of its sources.

    Parameters
    ----------
    provenance : mapping
        Content of ``provenance.json``.
    """
    sources = provenance.get("sources") or []
    fields = [field for field in _LEFT_OUT if any(_rows(source, field) for source in sources)]
    largest = sorted(sources, key=lambda source: (-(source.get("values") or 0), source["source"]))
    warnings = [("", warning) for warning in provenance.get("warnings") or []]
    warnings += [(source["source"], warning) for source in sources for warning in source.get("warnings") or []]
    return Origins(
        shown=tuple(_origin(source, fields) for source in largest[:MOST_LISTED]),
        total=len(sources),
        reasons=tuple(_LEFT_OUT[field] for field in fields),
        left_out=tuple(_left_out(sources, fields)),
        summed_rows=sum(_rows(source, "summed_rows") for source in sources),
        warnings=tuple(warnings[:MOST_LISTED]),
        warnings_total=len(warnings),
        merged=tuple(
            MergedFile(file["path"], file["kind"], file["genes"], file["genes_left_out"], file["values"])
            for file in provenance.get("merged") or []
        ),
        parameters=_common([source.get("parameters") or {} for source in sources]),
        failed=tuple((failed["source"], failed["reason"]) for failed in provenance.get("failed_sources") or []),
    )


def _common(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all sources have in common, and say where they do not."""
    fields = dict.fromkeys(field for each in parameters for field in each)
    first = parameters[0] if parameters else {}
    return {
        field: first.get(field)
        if all(each.get(field) == first.get(field) for each in parameters)
        else "not the same for all sources: see provenance.json"
        for field in fields
    }


def _rows(source: Mapping[str, Any], field: str) -> int:
    return (source.get("row_census") or {}).get(field) or 0


def _origin(source: Mapping[str, Any], fields: Sequence[str]) -> Origin:
    return Origin(
        source["source"],
        (source.get("input") or {}).get("size"),
        source.get("cells"),
        source.get("cells_passed"),
        source.get("values"),
        tuple(_rows(source, field) for field in fields),
    )


def _left_out(sources: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> list[str]:
    phrases = []
    not_passed = [(source.get("cells") or 0) - (source.get("cells_passed") or 0) for source in sources]
    if sum(not_passed):
        affected = counted(sum(1 for number in not_passed if number), "source")
        phrases.append(f"{counted(sum(not_passed), 'cell')} that did not pass the filter, in {affected}")
    for field in fields:
        rows = [_rows(source, field) for source in sources]
        affected = counted(sum(1 for number in rows if number), "source")
        phrases.append(f"{counted(sum(rows), 'row')} {_LEFT_OUT[field]}, in {affected}")
    return phrases
