"""Which genes of a DataFrame are a gene table's genes of the chosen types. Knows nothing of values."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from median_spark.errors import FrameError, counted, listed
from median_spark.genes import GeneTable, is_no_id, match_table, respelling_warning, words_of
from median_spark.progress import ProgressReporter


@dataclass(frozen=True)
class ChosenGenes:
    """The chosen genes of a DataFrame; `names` are as it has them, `ids` as the result has them.

    `universe` is the gene table's genes of the chosen types, ascending.
    """

    names: list[str]
    ids: list[str]
    universe: list[str]

    def table(self) -> pa.Table:
        """Return ``gene`` and ``id``."""
        return pa.table({"gene": pa.array(self.names, pa.string()), "id": pa.array(self.ids, pa.string())})


def choose_genes(
    genes: list[str], column: str, table: GeneTable, gene_types: tuple[str, ...], progress: ProgressReporter
) -> ChosenGenes:
    """Choose among the genes of a DataFrame as among those of a matrix, and say what is left out.

    FrameError if none of them is in the table, or none of a chosen type, or two of them are one of the table's.
    GeneTableError if the table has no gene of a chosen type.
    """
    names = np.array([gene for gene in genes if not is_no_id(gene)], dtype=np.str_)
    matched = match_table(names, table, may_respell=True)
    universe = matched.table.universe(gene_types)
    unknown = [gene for gene in matched.ids.tolist() if gene not in matched.table.gene_types]
    if len(unknown) == len(names):
        message = (
            f"the DataFrame's column '{column}': none of its {counted(len(genes), 'gene')} is in the gene table "
            f"{table.path}; it has {listed(genes, 3)}: name the column that holds Ensembl ids with gene_col"
        )
        raise FrameError(message)
    pair = matched.two_of_one(names)
    if pair is not None:
        message = (
            f"the DataFrame's column '{column}' has '{pair[0]}' and '{pair[1]}', which would both be '{pair[2]}' "
            f"of the gene table with {words_of(matched.respelled)} ignored: replace them by one id each"
        )
        raise FrameError(message)
    if matched.respelled:
        progress.note(respelling_warning(matched.respelled))
    elif matched.versions_ignored:
        progress.note(
            "the gene table's ids have versions and those of the DataFrame have none: matched without versions"
        )
    if unknown:
        progress.note(f"{counted(len(unknown), 'gene')} left out that the gene table lacks: {listed(unknown, 3)}")
    if len(names) < len(genes):
        progress.note(f"{counted(len(genes) - len(names), 'gene')} left out whose id is none, such as nan or a number")
    wanted = set(universe)
    pairs = [(name, gene) for name, gene in zip(names.tolist(), matched.ids.tolist(), strict=True) if gene in wanted]
    if not pairs:
        message = (
            f"the DataFrame's column '{column}': none of its {counted(len(genes), 'gene')} has one of the gene types "
            f"{list(gene_types)} in the gene table {table.path}"
        )
        raise FrameError(message)
    return ChosenGenes([name for name, _ in pairs], [gene for _, gene in pairs], universe)
