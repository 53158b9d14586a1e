"""Which sources of an expression table may be pooled."""

import contextlib
import json
from collections.abc import Iterator, Sequence

from median_spark.errors import TableError, counted, listed
from median_spark.expression.records import SourceRecord
from median_spark.expression.table import ExpressionTable
from median_spark.options import STRIP_VERSION


def require_uniform(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources that were normalised or selected differently, and a file that is registered under two names."""
    if not records:
        message = f"{location}: the expression table holds no source: convert some first"
        raise TableError(message)
    for option in ("target_sum", "gene_types", "gene_table", "gene_map"):
        by_value: dict[str, list[str]] = {}
        for record in records:
            by_value.setdefault(json.dumps(record.parameters.get(option)), []).append(record.source)
        if len(by_value) > 1:
            values = " and ".join(
                f"{value} ({counted(len(names), 'source')}: {listed(names, 2)})" for value, names in by_value.items()
            )
            message = (
                f"{location}: its sources were converted with different values of '{option}': {values}; "
                "values that differ in it cannot be pooled: convert them again with the same options"
            )
            raise TableError(message)
    _require_one_naming(location, records)
    paths: dict[str, list[str]] = {}
    for record in records:
        paths.setdefault(record.input.path, []).append(record.source)
    for path, names in paths.items():
        if len(names) > 1:
            message = f"{location}: {path} stands in the table as {listed(names)}: every cell of it would count twice"
            raise TableError(message)


_TELLING_VALUES = 10_000
"""Fewer values than these may agree by chance."""


def repeated_cells(records: Sequence[SourceRecord]) -> list[str]:
    """Return a sentence per group of sources that seem to hold the same cells, as one study in two formats does.

    Only records are compared: the cells that pass, their median total where it is known, genes, and values.
    """
    alike: dict[tuple[int, int, int], list[SourceRecord]] = {}
    for record in records:
        if record.values >= _TELLING_VALUES:
            alike.setdefault((record.cells_passed, record.genes, record.values), []).append(record)
    sentences = []
    for (cells, genes, values), some in alike.items():
        totals = sorted({record.median_n_counts for record in some if record.median_n_counts is not None})
        for total in totals if len(totals) > 1 else [None]:
            names = [record.source for record in some if total in (None, record.median_n_counts)]
            if len(names) > 1:
                sentences.append(
                    f"{listed(names, 3)} have equally many cells that pass ({cells:,}), genes ({genes:,}) and values "
                    f"({values:,}): if these are the same cells, each of them counts {_times(len(names))}"
                )
    return sentences


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number:,} times"


@contextlib.contextmanager
def naming_changes(table: ExpressionTable, records: Sequence[SourceRecord]) -> Iterator[None]:
    """Where a block fails on parts of a table, raise another `TableError` if another run has changed their sources.

    `records` are the sources that the block reads, as they were when it began.
    """
    try:
        yield
    except TableError as error:
        now = {record.source: record for record in table.sources()}
        removed = [record.source for record in records if record.source not in now]
        replaced = [record.source for record in records if _files(now.get(record.source, record)) != _files(record)]
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


def _files(record: SourceRecord) -> tuple[object, object]:
    return record.parts, record.cells_parts


def _require_one_naming(location: str, records: Sequence[SourceRecord]) -> None:
    """Refuse sources of which some have genes with versions, as in their gene table, and others the same without."""
    bare = [record.source for record in records if record.row_counts.versions_ignored]
    versioned = [record.source for record in records if not record.row_counts.versions_ignored]
    if bare and versioned:
        message = (
            f"{location}: the gene table's ids have versions, and so have the genes of {listed(versioned, 2)}, but not "
            f"those of {listed(bare, 2)}: convert them again with {STRIP_VERSION}, which takes versions off everywhere"
        )
        raise TableError(message)
