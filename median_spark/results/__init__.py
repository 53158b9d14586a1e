"""The median table and the files of a result folder.

medians.parquet, medians.csv     one row per gene of the universe
digests.parquet                  one row per detected gene: its t-digest
total_gene_tdigest_dict.pickle, total_gene_median_dict.pickle, detected_gene_median_dict.pickle,
gene_detection_counts_dict.pickle          the published procedure's files
stability.parquet                where it was asked for: how far each median moves with the sources
by_source.parquet, sources.parquet, sources.csv     where sources were compared, see `median_spark.results.sources`
geneformer/                      the three dictionaries that a tokenizer loads, see `median_spark.geneformer`
metrics.parquet, metrics.csv     one row: the summary's figures, and what each stage took
summary.json, provenance.json, report.html, detection_counts.png
"""

from median_spark.results.folder import check_result_target, write_result
from median_spark.results.layout import (
    BY_SOURCE_SCHEMA,
    DIGESTS_SCHEMA,
    MEDIANS_SCHEMA,
    METRICS_SCHEMA,
    RESULT_FORMAT_VERSION,
    SOURCES_SCHEMA,
    STABILITY_SCHEMA,
)
from median_spark.results.medians import ExactMedian, GeneDigests, median_table
from median_spark.results.metrics import Stage, Stopwatch
from median_spark.results.provenance import (
    LeftOutIds,
    MergedFile,
    MergeRecord,
    Provenance,
    RecordedSource,
    provenance_of,
    time_now,
)
from median_spark.results.reading import (
    Result,
    check_format_version,
    find_result,
    group_columns,
    in_group,
    read_columns,
    read_group_medians,
    read_medians,
    read_provenance,
    read_result,
    read_summary,
)
from median_spark.results.sources import (
    MedianChange,
    SourceComparison,
    SourceRatio,
    Verdict,
    assemble_by_source,
    change_of,
    compare_source,
    sources_table,
    stand_apart,
)
from median_spark.results.stability import StabilityFigures, stability_figures, stability_table
from median_spark.results.summary import CorpusFigures, ResultSummary, figures_of, summarise

__all__ = [
    "BY_SOURCE_SCHEMA",
    "DIGESTS_SCHEMA",
    "MEDIANS_SCHEMA",
    "METRICS_SCHEMA",
    "RESULT_FORMAT_VERSION",
    "SOURCES_SCHEMA",
    "STABILITY_SCHEMA",
    "CorpusFigures",
    "ExactMedian",
    "GeneDigests",
    "LeftOutIds",
    "MedianChange",
    "MergeRecord",
    "MergedFile",
    "Provenance",
    "RecordedSource",
    "Result",
    "ResultSummary",
    "SourceComparison",
    "SourceRatio",
    "StabilityFigures",
    "Stage",
    "Stopwatch",
    "Verdict",
    "assemble_by_source",
    "change_of",
    "check_format_version",
    "check_result_target",
    "compare_source",
    "figures_of",
    "find_result",
    "group_columns",
    "in_group",
    "median_table",
    "provenance_of",
    "read_columns",
    "read_group_medians",
    "read_medians",
    "read_provenance",
    "read_result",
    "read_summary",
    "sources_table",
    "stability_figures",
    "stability_table",
    "stand_apart",
    "summarise",
    "time_now",
    "write_result",
]
