"""Gene table, gene map, gene types: which matrix row becomes which gene.

Knows nothing of files other than the table and the map, and nothing of counts.
"""

from median_spark.genes.coverage import coverage_warning, spelling_warnings
from median_spark.genes.ids import has_version, is_no_id, like_ensembl, plain_id
from median_spark.genes.map import GeneMap, read_gene_map
from median_spark.genes.matching import Matched, match_table, respelling_warning, words_of
from median_spark.genes.row_ids import RowCounts
from median_spark.genes.selection import GeneSelection, select_genes
from median_spark.genes.table import DEFAULT_GENE_TYPES, GeneTable, read_gene_table

__all__ = [
    "DEFAULT_GENE_TYPES",
    "GeneMap",
    "GeneSelection",
    "GeneTable",
    "Matched",
    "RowCounts",
    "coverage_warning",
    "has_version",
    "is_no_id",
    "like_ensembl",
    "match_table",
    "plain_id",
    "read_gene_map",
    "read_gene_table",
    "respelling_warning",
    "select_genes",
    "spelling_warnings",
    "words_of",
]
