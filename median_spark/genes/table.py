"""The gene table: a corpus's genes, their types and their names. Knows nothing of matrices."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from median_spark import storage
from median_spark.errors import GeneTableError, counted, listed
from median_spark.genes.ids import has_version, is_no_id, version_off
from median_spark.genes.text_table import read_columns

DEFAULT_GENE_TYPES = ("protein_coding", "miRNA")
"""The published procedure's choice of `gene_type`."""

NAME_COLUMNS = ("gene_name", "gene_symbol", "symbol")
"""Columns in which gene tables keep names for people; the first present is taken."""


@dataclass(frozen=True)
class GeneTable:
    """The genes that a corpus is about.

    Attributes
    ----------
    path : str
        Location it was read from.
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
        """Return the table's genes of the chosen types, ascending; GeneTableError if there is none."""
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
        """The table with versions taken off its ids; GeneTableError if two versions of one id have two types."""
        if not self.has_versions:
            return self
        typed = sorted((version_off(gene), gene_type) for gene, gene_type in self.gene_types.items())
        once = " once versions are taken off", ": keep one version of each"
        return replace(self, gene_types=_one_type_each(self.path, typed, *once))

    def fingerprint(self) -> str:
        """Return a digest of ids and types, not names: the same for tables that say the same, in whatever order."""
        rows = "\n".join(f"{gene}\t{gene_type}" for gene, gene_type in sorted(self.gene_types.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:16]


def read_gene_table(location: str) -> GeneTable:
    """Read a CSV with the columns ``ensembl_id`` and ``gene_type``, and names where it has them.

    Names are those of the first of the columns ``gene_name``, ``gene_symbol`` and ``symbol`` that is there. Other
    columns, and rows whose id is none (see `median_spark.genes.ids.is_no_id`), are skipped. Separators other than
    commas, and the files that R's ``write.csv`` and ``write.table`` write, are understood; see
    `median_spark.genes.text_table.read_columns`.

    Parameters
    ----------
    location : str
        Path or URI.

    Raises
    ------
    GeneTableError
        If it cannot be read, lacks a column or rows, or gives one id two types.

    Examples
    --------
    >>> import median_spark
    >>> genes = median_spark.read_gene_table("corpus/gene_info_table.csv")
    >>> len(genes.universe(("protein_coding",))) > 0
    True
    """
    location = storage.canonical(location)
    columns = read_columns(location, "gene table", GeneTableError)
    for column in ("ensembl_id", "gene_type"):
        if column not in columns:
            message = f"{location}: the gene table has no column '{column}'; it has {listed(list(columns), 8)}"
            raise GeneTableError(message)
    ids = columns["ensembl_id"]
    rows = [row for row, gene in enumerate(ids) if not is_no_id(gene)]
    if not rows:
        instead = f"not {listed(list(dict.fromkeys(ids)), 3)}" if ids else "and it has no row but its header"
        message = f"{location}: the column 'ensembl_id' of the gene table must hold Ensembl ids, {instead}"
        raise GeneTableError(message)
    gene_types = _one_type_each(location, ((ids[row], columns["gene_type"][row]) for row in rows))
    named = next((columns[column] for column in NAME_COLUMNS if column in columns), [""] * len(ids))
    names: dict[str, str] = {}
    for row in rows:
        if named[row]:
            names.setdefault(ids[row], named[row])
    for gene, name in list(names.items()):
        names.setdefault(version_off(gene), name)
    return GeneTable(location, gene_types, names)


def _one_type_each(location: str, typed: Iterable[tuple[str, str]], why: str = "", hint: str = "") -> dict[str, str]:
    """Return the pairs of id and gene type as a dict; GeneTableError if an id has more than one type."""
    pairs = list(dict.fromkeys(typed))
    gene_types = dict(pairs)
    twice = sorted({gene for gene, gene_type in pairs if gene_types[gene] != gene_type})
    if twice:
        ids = counted(len(twice), "ensembl_id")
        message = f"{location}: {ids} with more than one gene_type{why}: {listed(twice)}{hint}"
        raise GeneTableError(message)
    return gene_types
