"""The gene table: a corpus's genes, their types and their names. Knows nothing of matrices."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import pandas as pd

from median_spark import storage
from median_spark.errors import GeneTableError, counted, listed
from median_spark.genes.ids import has_version, is_no_id, version_off
from median_spark.genes.rows import read_rows

DEFAULT_GENE_TYPES = ("protein_coding", "miRNA")
"""The published procedure's choice of `gene_type`."""

NAME_COLUMNS = ("gene_name", "gene_symbol", "symbol")
"""Columns in which gene tables keep names for people; the first of them that is there is taken."""


@dataclass(frozen=True)
class GeneTable:
    """The genes that a corpus is about.

    Attributes
    ----------
    path : str
        Where it was read from.
    gene_types : dict of str to str
        Ensembl id to gene type, every row of the table.
    gene_names : dict of str to str
        Ensembl id, as the table has it and also without version, to the gene's name for people, of the genes that have
        one; decides nothing.
    """

    path: str
    gene_types: dict[str, str]
    gene_names: dict[str, str] = field(default_factory=dict)

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

    @cached_property
    def has_versions(self) -> bool:
        """Whether any of its ids is Ensembl's with a version."""
        return any(map(has_version, self.gene_types))

    @cached_property
    def without_versions(self) -> Self:
        """The table with versions taken off its ids; itself if they have none.

        Raises
        ------
        GeneTableError
            If two versions of one id have two types.
        """
        if not self.has_versions:
            return self
        typed = {(version_off(gene), gene_type) for gene, gene_type in self.gene_types.items()}
        gene_types = dict(sorted(typed))
        if len(gene_types) < len(typed):
            twice = sorted({gene for gene, gene_type in typed if gene_types[gene] != gene_type})
            message = (
                f"{self.path}: {counted(len(twice), 'ensembl_id')} with more than one gene_type once versions are "
                f"taken off: {listed(twice)}: keep one version of each"
            )
            raise GeneTableError(message)
        return replace(self, gene_types=gene_types)

    def fingerprint(self) -> str:
        """Return a digest of ids and types, not names: the same for tables that say the same, in whatever order."""
        rows = "\n".join(f"{gene}\t{gene_type}" for gene, gene_type in sorted(self.gene_types.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:16]


def read_gene_table(location: str) -> GeneTable:
    """Read a CSV with the columns ``ensembl_id`` and ``gene_type``, and names where it has them.

    Names are those of the first of the columns ``gene_name``, ``gene_symbol`` and ``symbol`` that is there. Other
    columns, and rows whose id is none (see `median_spark.genes.ids.is_no_id`), are passed over. Other separators than
    commas, and the files that R's ``write.csv`` and ``write.table`` write, are understood; see
    `median_spark.genes.rows.read_rows`.

    Parameters
    ----------
    location : str
        Path or URI.

    Raises
    ------
    GeneTableError
        If it cannot be read, lacks a column or rows, or gives one id two types.
    """
    location = storage.canonical(location)
    frame = read_rows(location, "gene table", GeneTableError)
    for column in ("ensembl_id", "gene_type"):
        if column not in frame.columns:
            message = f"{location}: the gene table has no column '{column}'; it has {listed(list(frame.columns), 8)}"
            raise GeneTableError(message)
    ids = frame["ensembl_id"]
    frame = frame.loc[[not is_no_id(gene) for gene in ids]]
    if not len(frame):
        found = f"not {listed(ids.drop_duplicates().tolist(), 3)}" if len(ids) else "and it has no row but its header"
        message = f"{location}: the column 'ensembl_id' of the gene table must hold Ensembl ids, {found}"
        raise GeneTableError(message)
    typed = frame[["ensembl_id", "gene_type"]].drop_duplicates()
    twice = sorted(set(typed["ensembl_id"][typed["ensembl_id"].duplicated()]))
    if twice:
        message = f"{location}: {counted(len(twice), 'ensembl_id')} with more than one gene_type: {listed(twice)}"
        raise GeneTableError(message)
    gene_types = dict(zip(typed["ensembl_id"], typed["gene_type"], strict=True))
    return GeneTable(location, gene_types, _names(frame))


def _names(frame: pd.DataFrame) -> dict[str, str]:
    """Return the first name that each id is given, where it is given one; ids with versions also without these."""
    column = next((column for column in NAME_COLUMNS if column in frame.columns), None)
    if column is None:
        return {}
    named = frame.loc[frame[column] != ""].drop_duplicates("ensembl_id")
    names = dict(zip(named["ensembl_id"], named[column], strict=True))
    for gene, name in list(names.items()):
        names.setdefault(version_off(gene), name)
    return names
