"""Which sources of an expression table may be pooled."""

import contextlib
import json
from collections.abc import Iterator, Sequence

from median_spark.errors import TableError, counted, listed
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import ExpressionTable
from median_spark.options import STRIP_VERSION


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


@contextlib.contextmanager
def naming_changes(table: ExpressionTable, records: Sequence[SourceRecord]) -> Iterator[None]:
    """Where a block fails on parts of a table, say whether another run has changed their sources meanwhile.

    Parameters
    ----------
    table : ExpressionTable
        What the block reads.
    records : sequence of SourceRecord
        The sources that it reads, as they were when it began.

    Raises
    ------
    TableError
        The block's own; or, if a source is no longer in the table or was converted again, one that says so.
    """
    try:
        yield
    except TableError as error:
        now = {record.source: record for record in table.sources()}
        removed = [record.source for record in records if record.source not in now]
        replaced = [record.source for record in records if now.get(record.source, record).parts != record.parts]
        if not removed and not replaced:
            raise
        happened = [
            f"{counted(len(names), 'source')} {verb} ({listed(names, 3)})"
            for names, verb in ((removed, "removed"), (replaced, "converted again"))
            if names
        ]
        message = (
            f"{table.location}: {' and '.join(happened)} by another run while this one was reading the table: "
            "run this again, on the table as it is now"
        )
        raise TableError(message) from error


def _require_one_naming(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources of which some have genes with versions, as in their gene table, and others the same without."""
    bare = [record.source for record in records if record.row_counts.get("versions_ignored")]
    if bare and len(bare) < len(records):
        others = [record.source for record in records if not record.row_counts.get("versions_ignored")]
        message = (
            f"{location}: the gene table's ids have versions, and so have the genes of {listed(others, 2)}, but not "
            f"those of {listed(bare, 2)}: convert them again with {STRIP_VERSION}, which takes versions off everywhere"
        )
        raise TableError(message)
