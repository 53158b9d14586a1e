"""Which rows of a matrix make which genes, and what becomes of the others. Knows nothing of files and counts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.errors import GeneTableError, InputError, UsageError
from median_spark.genes.coverage import why_none
from median_spark.genes.ids import VERSION
from median_spark.genes.map import GeneMap
from median_spark.genes.matching import Matched, match_table, words_of
from median_spark.genes.row_ids import RowCounts, row_ids
from median_spark.genes.table import GeneTable
from median_spark.options import GENE_MAP, GENE_TABLE, GENE_TYPE_ATTR, STRIP_VERSION


@dataclass(frozen=True)
class GeneSelection:
    """Which rows of one matrix make which genes."""

    genes: npt.NDArray[np.str_]  # shape (genes,), ascending, each once
    rows: npt.NDArray[np.int64]  # shape (selected rows,), ascending row numbers of the matrix
    gene_of_row: npt.NDArray[np.int64]  # shape (selected rows,), index into `genes`
    row_counts: RowCounts  # what was left out, and why


def select_genes(
    source: str,
    gene_ids: npt.NDArray[np.str_],
    own_types: npt.NDArray[np.str_] | None,
    table: GeneTable | None,
    gene_types: tuple[str, ...],
    gene_map: GeneMap | None = None,
    *,
    strip_version: bool = False,
) -> GeneSelection:
    """Choose the rows of a matrix whose gene is of a chosen type.

    In this order: versions are taken off if asked for, the gene map gives each row its id, rows without an id are left
    out, gene type and gene table are checked. Where prefixes, capitals or versions separate the ids from those of the
    table, they are matched without; see `median_spark.genes.matching`. The type is the matrix's own where it has one,
    else the table's. With a table, a row also needs an id that the table has with a chosen type, as the published
    procedure's merging step demands.

    `source` is for messages; arrays have one entry per row; `own_types` are the matrix's own, where it has them. See
    `median_spark.matrices.ReadOptions` for the others. UsageError if no type was chosen. InputError if there are
    neither types of the matrix's own nor a table, if no row is selected, or if ids of matrix and table cannot be
    matched one to one.
    """
    if not gene_types:
        message = "no gene type was chosen; name at least one, such as protein_coding"
        raise UsageError(message)
    if own_types is None and table is None:
        message = (
            f"{source}: an attribute for the gene type is missing and there is no gene table to supply it: "
            f"name the attribute with {GENE_TYPE_ATTR}, or give {GENE_TABLE:name}"
        )
        raise InputError(message, kind="gene_type missing")
    called = row_ids(gene_ids, gene_map, strip_version=strip_version)
    ids, mapped = called.ids, called.ids != ""
    versions_ignored, kinds = False, tuple[str, ...]()
    if table is not None:
        matched = _matched(source, ids, table, may_respell=gene_map is None)
        ids, table, versions_ignored, kinds = matched.ids, matched.table, matched.versions_ignored, matched.respelled
    known, table_chosen = (mapped, mapped) if table is None else _in_table(ids, mapped, table, gene_types)
    own_chosen = mapped if own_types is None else mapped & np.isin(own_types, gene_types)
    rows = np.flatnonzero(own_chosen & table_chosen)
    genes, gene_of_row = np.unique(ids[rows], return_inverse=True)
    unknown, unmapped = ids[mapped & ~known], called.names[~mapped & ~called.lacking]
    no_id = called.names[called.lacking]
    row_counts = RowCounts(
        rows=len(gene_ids),
        selected_rows=len(rows),
        genes=len(genes),
        summed_rows=len(rows) - len(genes),
        other_type_rows=int(np.sum(known & ~(table_chosen if table is not None else own_chosen))),
        unknown_rows=len(unknown),
        known_rows=int(known.sum()),
        disputed_rows=int(np.sum(table_chosen & ~own_chosen)) if table is not None else 0,
        unknown_examples=tuple(unknown[:5].tolist()),
        unmapped_rows=len(unmapped),
        unmapped_examples=tuple(unmapped[:5].tolist()),
        no_id_rows=len(no_id),
        no_id_examples=tuple(dict.fromkeys(no_id.tolist()))[:5],
        versions_ignored=versions_ignored,
        respelled=kinds,
        other_version_rows=table.in_other_versions(unknown.tolist()) if table is not None else 0,
    )
    if not len(rows):
        kind, why = why_none(row_counts, called, own_types, table, gene_types, gene_map)
        message = f"{source}: {why}"
        raise InputError(message, kind=kind)
    return GeneSelection(genes, rows.astype(np.int64), gene_of_row.astype(np.int64), row_counts)


def _in_table(
    ids: npt.NDArray[np.str_], mapped: npt.NDArray[np.bool_], table: GeneTable, gene_types: tuple[str, ...]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which of the mapped rows have an id that the table knows, and one that it knows as of a chosen type."""
    types = [table.gene_types.get(gene) for gene in ids.tolist()]
    known = np.array([gene_type is not None for gene_type in types], dtype=np.bool_)
    chosen = np.array([gene_type in gene_types for gene_type in types], dtype=np.bool_)
    return mapped & known, mapped & chosen


def _matched(source: str, ids: npt.NDArray[np.str_], table: GeneTable, *, may_respell: bool) -> Matched:
    """Match ids and gene table one to one; see `match_table`."""
    try:
        matched = match_table(ids, table, may_respell=may_respell)
    except GeneTableError as error:
        message = f"{source}: its ids are matched without versions, and those of the gene table have some: {error.text}"
        raise InputError(message) from error
    pair = matched.two_of_one(ids)
    if pair is not None:
        remedy = (
            f"{STRIP_VERSION} sums them" if matched.respelled == (VERSION,) else f"{GENE_MAP:name} says which to take"
        )
        message = (
            f"{source}: the gene table has none of its ids as they are, and '{pair[0]}' and '{pair[1]}' would both be "
            f"'{pair[2]}' with {words_of(matched.respelled)} ignored: {remedy}"
        )
        raise InputError(message, kind="two ids of one gene")
    return matched
