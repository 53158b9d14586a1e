"""Which sources of an expression table may be pooled."""

import json
from collections.abc import Sequence

from median_spark.errors import TableError, counted, listed
from median_spark.expression.records import SourceRecord


def require_uniform(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources whose values cannot be pooled.

    Parameters
    ----------
    location : str
        The table, for messages.
    records : sequence of SourceRecord
        The sources to pool.

    Raises
    ------
    TableError
        If they were normalised or selected differently, or if one file stands under two names.
    """
    if not records:
        message = f"{location}: the expression table holds no source: convert some first"
        raise TableError(message)
    for option in ("target_sum", "gene_types", "gene_table", "gene_map"):
        found: dict[str, list[str]] = {}
        for record in records:
            found.setdefault(json.dumps(record.parameters.get(option)), []).append(record.source)
        if len(found) > 1:
            described = " and ".join(
                f"{value} ({counted(len(names), 'source')}: {listed(names, 2)})" for value, names in found.items()
            )
            message = (
                f"{location}: its sources were converted with different values of '{option}': {described}; "
                "values that differ in it cannot be pooled: convert them again with the same options"
            )
            raise TableError(message)
    _require_one_naming(location, records)
    paths: dict[str, list[str]] = {}
    for record in records:
        paths.setdefault(record.input.path, []).append(record.source)
    twice = {path: names for path, names in paths.items() if len(names) > 1}
    if twice:
        path, names = next(iter(twice.items()))
        message = f"{location}: {path} stands in the table as {listed(names)}: every cell of it would count twice"
        raise TableError(message)


def _require_one_naming(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources of which some have genes with versions, as in their gene table, and others the same without."""
    bare = [record.source for record in records if record.census.get("versions_ignored")]
    if bare and len(bare) < len(records):
        others = [record.source for record in records if not record.census.get("versions_ignored")]
        message = (
            f"{location}: the gene table's ids have versions, and so have the genes of {listed(others, 2)}, but not "
            f"those of {listed(bare, 2)}: convert them again with --strip-version, which takes versions off everywhere"
        )
        raise TableError(message)
