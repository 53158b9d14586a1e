"""Gene table, gene types, gene universe: which matrix row becomes which gene.

Knows nothing of files other than the gene table, and nothing of counts.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.fs

from median_spark import storage
from median_spark.errors import GeneTableError, InputError, UsageError, counted, listed

DEFAULT_GENE_TYPES = ("protein_coding", "miRNA")
"""The published procedure's choice of `gene_type`."""

_LEAST_KNOWN = 0.5
"""A matrix of which the gene table knows less is warned about."""


@dataclass(frozen=True)
class GeneTable:
    """The genes that a corpus is about.

    Attributes
    ----------
    path : str
        Where it was read from.
    gene_types : dict of str to str
        Ensembl id to gene type, every row of the table.
    """

    path: str
    gene_types: dict[str, str]

    def universe(self, gene_types: tuple[str, ...]) -> list[str]:
        """Return the table's genes of the chosen types, ascending.

        Raises
        ------
        GeneTableError
            If no gene is of a chosen type.
        """
        genes = sorted(gene for gene, gene_type in self.gene_types.items() if gene_type in gene_types)
        if not genes:
            message = (
                f"{self.path}: no gene has a gene_type among {list(gene_types)}; "
                f"the table has {listed(sorted(set(self.gene_types.values())), 8)}"
            )
            raise GeneTableError(message)
        return genes

    def fingerprint(self) -> str:
        """Return a digest of the content: the same for tables that say the same, in whatever order."""
        rows = "\n".join(f"{gene}\t{gene_type}" for gene, gene_type in sorted(self.gene_types.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:16]


def read_gene_table(location: str) -> GeneTable:
    """Read a CSV with the columns ``ensembl_id`` and ``gene_type``; others, and rows without an id, are passed over.

    Parameters
    ----------
    location : str
        Path or URI.

    Raises
    ------
    GeneTableError
        If it cannot be read, lacks a column, or gives one id two types.
    """
    location = storage.canonical(location)
    filesystem, path = storage.resolve(location)
    try:
        with filesystem.open_input_stream(path) as stream:
            frame = pd.read_csv(stream, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        message = f"{location}: the gene table cannot be read as CSV ({error})"
        raise GeneTableError(message) from error
    for column in ("ensembl_id", "gene_type"):
        if column not in frame.columns:
            message = f"{location}: the gene table has no column '{column}'; it has {listed(list(frame.columns), 8)}"
            raise GeneTableError(message)
    frame = frame.loc[frame["ensembl_id"] != "", ["ensembl_id", "gene_type"]].drop_duplicates()
    twice = sorted(set(frame["ensembl_id"][frame["ensembl_id"].duplicated()]))
    if twice:
        message = f"{location}: {counted(len(twice), 'ensembl_id')} with more than one gene_type: {listed(twice)}"
        raise GeneTableError(message)
    return GeneTable(location, dict(zip(frame["ensembl_id"], frame["gene_type"], strict=True)))


@dataclass(frozen=True)
class RowCensus:
    """What became of the rows of one matrix.

    Attributes
    ----------
    rows : int
        All rows.
    selected_rows : int
        Rows that count for a gene.
    genes : int
        Genes that these rows make.
    summed_rows : int
        Selected rows beyond the first of their gene: their counts are added to it.
    other_type_rows : int
        Rows whose gene type was not chosen.
    unknown_rows : int
        Rows whose id the gene table lacks (0 without a table).
    known_rows : int
        Rows whose id the gene table has (all rows without a table).
    disputed_rows : int
        Rows of a chosen type by the gene table and of another by the matrix: left out.
    unknown_examples : tuple of str
        A few of the ids that the table lacks.
    """

    rows: int
    selected_rows: int
    genes: int
    summed_rows: int
    other_type_rows: int
    unknown_rows: int
    known_rows: int
    disputed_rows: int
    unknown_examples: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the census as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class GeneSelection:
    """Which rows of one matrix make which genes.

    Attributes
    ----------
    genes : ndarray of str, shape (genes,)
        Ascending, each once.
    rows : ndarray of int64, shape (selected rows,)
        Row numbers in the matrix, ascending.
    gene_of_row : ndarray of int64, shape (selected rows,)
        Index into `genes` for each selected row.
    census : RowCensus
        What was left out, and why.
    """

    genes: npt.NDArray[np.str_]
    rows: npt.NDArray[np.int64]
    gene_of_row: npt.NDArray[np.int64]
    census: RowCensus


def select_genes(
    source: str,
    gene_ids: npt.NDArray[np.str_],
    own_types: npt.NDArray[np.str_] | None,
    table: GeneTable | None,
    gene_types: tuple[str, ...],
) -> GeneSelection:
    """Choose the rows of a matrix whose gene is of a chosen type.

    The type is the matrix's own where it has one, else the table's. With a table, a row also needs an id that the
    table has with a chosen type, as the published procedure's merging step demands.

    Parameters
    ----------
    source : str
        The matrix, for messages.
    gene_ids : ndarray of str, shape (rows,)
        Ensembl ids.
    own_types : ndarray of str, shape (rows,), or None
        The matrix's own gene types, where it has them.
    table : GeneTable or None
        The corpus's genes.
    gene_types : tuple of str
        The chosen types.

    Raises
    ------
    InputError
        If there is neither a type of the matrix's own nor a table, or if no row is selected.
    UsageError
        If no type was chosen.
    """
    if not gene_types:
        message = "no gene type was chosen; name at least one, such as protein_coding"
        raise UsageError(message)
    if own_types is None and table is None:
        message = (
            f"{source}: row attribute for the gene type is missing and there is no gene table to supply it: "
            "name the attribute with --gene-type-attr, or give --gene-table"
        )
        raise InputError(message)
    known = np.ones(len(gene_ids), dtype=np.bool_)
    table_chosen = known
    if table is not None:
        table_types = [table.gene_types.get(gene) for gene in gene_ids.tolist()]
        known = np.array([gene_type is not None for gene_type in table_types], dtype=np.bool_)
        table_chosen = np.array([gene_type in gene_types for gene_type in table_types], dtype=np.bool_)
    own_chosen = table_chosen if own_types is None else np.isin(own_types, gene_types)
    named = gene_ids != ""
    rows = np.flatnonzero(own_chosen & table_chosen & named)
    genes, gene_of_row = np.unique(gene_ids[rows], return_inverse=True)
    unknown = gene_ids[~known]
    census = RowCensus(
        rows=len(gene_ids),
        selected_rows=len(rows),
        genes=len(genes),
        summed_rows=len(rows) - len(genes),
        other_type_rows=int(np.sum(known & ~table_chosen) if table is not None else np.sum(~own_chosen)),
        unknown_rows=len(unknown),
        known_rows=int(known.sum()),
        disputed_rows=int(np.sum(table_chosen & ~own_chosen)) if table is not None else 0,
        unknown_examples=tuple(unknown[:5].tolist()),
    )
    if not len(rows):
        raise InputError(_why_none(source, gene_ids, own_types, table, gene_types, census))
    return GeneSelection(genes, rows.astype(np.int64), gene_of_row.astype(np.int64), census)


def coverage_warning(selection: GeneSelection, gene_ids: npt.NDArray[np.str_], table: GeneTable) -> str | None:
    """Return a warning if the gene table knows fewer than half of a matrix's ids, with the likely cause; else None.

    Parameters
    ----------
    selection : GeneSelection
        Of the matrix.
    gene_ids : ndarray of str, shape (rows,)
        Its ids.
    table : GeneTable
        The corpus's genes.
    """
    census = selection.census
    if census.known_rows >= census.rows * _LEAST_KNOWN:
        return None
    return (
        f"the gene table knows only {census.known_rows:,} of its {counted(census.rows, 'id')} "
        f"({census.known_rows / census.rows:.0%}), not {listed(list(census.unknown_examples), 3)}: "
        f"{_why_unknown(gene_ids, table)}"
    )


def _why_unknown(gene_ids: npt.NDArray[np.str_], table: GeneTable) -> str:
    """Say why a gene table may not know a matrix's ids."""
    unknown = [gene for gene in gene_ids.tolist() if gene not in table.gene_types][:1000]
    if any(gene.split(".")[0] in table.gene_types for gene in unknown if "." in gene):
        return "they carry version suffixes (ENSG….12): strip these from the file's ids"
    if unknown and not any(gene.startswith("ENS") for gene in unknown):
        return "they look like gene symbols: name the attribute that holds Ensembl ids with --gene-id-attr"
    return "they may be of another species or annotation"


def _why_none(
    source: str,
    gene_ids: npt.NDArray[np.str_],
    own_types: npt.NDArray[np.str_] | None,
    table: GeneTable | None,
    gene_types: tuple[str, ...],
    census: RowCensus,
) -> str:
    """Say why no row of a matrix was selected, with the likely cause."""
    if not len(gene_ids):
        return f"{source}: the matrix has no row"
    if table is not None and not census.known_rows:
        return (
            f"{source}: none of its {counted(len(gene_ids), 'gene id')} is in the gene table {table.path}; "
            f"it has {listed(gene_ids.tolist(), 3)}: {_why_unknown(gene_ids, table)}"
        )
    found = sorted(set(own_types.tolist())) if own_types is not None else []
    seen = f"; its gene types are {listed(found, 8)}" if found else ""
    also = " in the gene table and" if table is not None and own_types is not None else ""
    return f"{source}: no gene is{also} of a chosen type {list(gene_types)}{seen}"
