"""A short readable account of what a matrix, an expression table or a result holds, and whether it can be used."""

from collections.abc import Iterator

from median_spark import storage
from median_spark.errors import InputError, TableError, counted, listed
from median_spark.expression import open_table, require_uniform
from median_spark.matrices import ReadOptions, open_matrix, outline
from median_spark.matrices.remedies import find_remedies
from median_spark.results import read_provenance, read_summary

_LISTED = 50
Lines = Iterator[tuple[str, str]]


def inspect(path: str, options: ReadOptions | None = None) -> list[tuple[str, str]]:
    """Describe what lies at a path, as pairs of field and finding.

    Parameters
    ----------
    path : str
        A matrix, an expression table, a result, or the folder of a run, as path or URI.
    options : ReadOptions, optional
        With which a matrix would be converted.

    Raises
    ------
    InputError
        If it is none of these, or cannot be read.
    TableError
        If a table or result is damaged.
    """
    location = storage.canonical(path)
    found = storage.kind(location)
    if found == "file":
        return list(_matrix(location, options or ReadOptions()))
    held = set(storage.names_in(location))
    if "format.json" in held:
        return list(_table(location))
    if "summary.json" in held:
        return list(_result(location))
    if {"expression", "medians"} & held:
        parts = [("run", location)]
        if "expression" in held:
            parts += _table(storage.join(location, "expression"))
        if "medians" in held:
            parts += _result(storage.join(location, "medians"))
        return parts
    what = "there is no such file or folder" if found == "nothing" else "this folder holds none of these"
    message = f"{location}: {what}: name a matrix, an expression table, a result, or the folder of a run"
    raise InputError(message)


def _matrix(location: str, options: ReadOptions) -> Lines:
    with open_matrix(location, options.names, options.layer) as matrix:
        yield "matrix", location
        yield from matrix.describe()
        try:
            seen = outline(matrix, options)
        except InputError as error:
            yield "can be used", f"no: {str(error).removeprefix(f'{location}: ')}"
            remedies = find_remedies(location, options)
            if remedies:
                yield "would be with", " ".join(remedies)
            return
        census = seen.census
        yield "cells passing", f"{seen.cells_passed:,} of {seen.cells:,}"
        yield "genes chosen", f"{census.genes:,} in {counted(census.selected_rows, 'row')} of {census.rows:,}"
        left_out = {
            "whose id is none, such as " + listed(list(census.no_id_examples), 3): census.no_id_rows,
            "that the gene map lacks": census.unmapped_rows,
            "of another gene type": census.other_type_rows,
            "with an id that the gene table lacks": census.unknown_rows,
            "of another type than the gene table says": census.disputed_rows,
        }
        for why, rows in left_out.items():
            if rows:
                yield "rows left out", f"{rows:,} {why}"
        if census.summed_rows:
            yield "rows summed", f"{census.summed_rows:,} whose gene stands in another row too"
        for warning in seen.warnings:
            yield "warning", warning
        yield "can be used", f"yes, in {counted(len(seen.units), 'unit')} of work"


def _table(location: str) -> Lines:
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
    try:
        require_uniform(table.location, records)
    except TableError as error:
        yield "can be used", f"no: {str(error).removeprefix(f'{table.location}: ')}"
    else:
        yield "genes", f"{len(table.universe(records)):,} in the universe"
        yield "target sum", f"{records[0].parameters['target_sum']:g}"
        yield "can be used", "yes"


def _result(location: str) -> Lines:
    yield "result", location
    figures = read_summary(location)
    dictionaries = figures.pop("geneformer", None) or {}
    figures |= {f"geneformer {field}": found for field, found in dictionaries.items()}
    for field, found in figures.items():
        if field not in {"format_version", "failed_sources"}:
            known = f"{found:,}" if isinstance(found, (int, float)) else str(found)
            yield field.replace("_", " "), "unknown" if found is None else known
    provenance = read_provenance(location)
    yield "written", str(provenance.get("written"))
    yield "by", f"median_spark {provenance.get('software', {}).get('median_spark')}"
    for failure in provenance.get("failed_sources", []):
        yield "failed source", f"{failure['source']}: {failure['reason']}"
