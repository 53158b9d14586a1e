"""The median table and the files of a result folder.

medians.parquet, medians.csv     one row a gene of the universe
digests.parquet                  one row a detected gene: its t-digest
total_gene_tdigest_dict.pickle, total_gene_median_dict.pickle, detected_gene_median_dict.pickle,
gene_detection_counts_dict.pickle          the published procedure's files
summary.json, provenance.json, detection_counts.png
"""

from median_spark.results.folder import (
    RESULT_FORMAT_VERSION,
    check_result_target,
    read_provenance,
    read_summary,
    write_result,
)
from median_spark.results.medians import DIGESTS_SCHEMA, MEDIANS_SCHEMA, ExactMedian, GeneDigests, median_table
from median_spark.results.provenance import provenance_of
from median_spark.results.summary import ResultSummary, summarise

__all__ = [
    "DIGESTS_SCHEMA",
    "MEDIANS_SCHEMA",
    "RESULT_FORMAT_VERSION",
    "ExactMedian",
    "GeneDigests",
    "ResultSummary",
    "check_result_target",
    "median_table",
    "provenance_of",
    "read_provenance",
    "read_summary",
    "summarise",
    "write_result",
]
