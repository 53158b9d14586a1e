"""The median table and the files of a result folder.

medians.parquet, medians.csv     one row per gene of the universe
digests.parquet                  one row per detected gene: its t-digest
total_gene_tdigest_dict.pickle, total_gene_median_dict.pickle, detected_gene_median_dict.pickle,
gene_detection_counts_dict.pickle          the published procedure's files
stability.parquet                where it was asked for: how far each median moves with the sources
by_group.parquet, groups.parquet, groups.csv     where there are groups, see `median_spark.results.groups`
geneformer/                      the three dictionaries that a tokenizer loads, see `median_spark.geneformer`
metrics.parquet, metrics.csv     one row: the summary's figures, and what each stage took
sources.parquet                  one row per source: what was read, and what was left out of it
summary.json, provenance.json, report.html, detection_counts.png
"""

from median_spark.results.folder import check_result_target, removal_notes, write_result
from median_spark.results.groups import (
    NO_VALUE,
    GroupComparison,
    GroupRatio,
    MedianChange,
    Verdict,
    assemble_by_group,
    change_of,
    compare_group,
    groups_table,
    name_of,
    stand_apart,
)
from median_spark.results.layout import (
    BY_GROUP_SCHEMA,
    DIGESTS_SCHEMA,
    GROUPS_SCHEMA,
    MEDIANS_SCHEMA,
    METRICS_SCHEMA,
    RESULT_FORMAT_VERSION,
    STABILITY_SCHEMA,
    group_columns,
    with_groups,
)
from median_spark.results.medians import ExactMedian, GeneDigests, means_of, median_table
from median_spark.results.metrics import Stage, Stopwatch
from median_spark.results.provenance import (
    LeftOutIds,
    MergedFile,
    MergeRecord,
    Provenance,
    provenance_of,
    time_now,
)
from median_spark.results.reading import (
    Result,
    check_format_version,
    find_result,
    group_runs,
    read_columns,
    read_medians,
    read_medians_of_groups,
    read_provenance,
    read_result,
    read_summary,
)
from median_spark.results.sources import RecordedSource, decode_sources, is_in_file
from median_spark.results.stability import StabilityFigures, stability_figures, stability_table
from median_spark.results.summary import CorpusFigures, ResultSummary, figures_of, summarise

__all__ = [
    "BY_GROUP_SCHEMA",
    "DIGESTS_SCHEMA",
    "GROUPS_SCHEMA",
    "MEDIANS_SCHEMA",
    "METRICS_SCHEMA",
    "NO_VALUE",
    "RESULT_FORMAT_VERSION",
    "STABILITY_SCHEMA",
    "CorpusFigures",
    "ExactMedian",
    "GeneDigests",
    "GroupComparison",
    "GroupRatio",
    "LeftOutIds",
    "MedianChange",
    "MergeRecord",
    "MergedFile",
    "Provenance",
    "RecordedSource",
    "Result",
    "ResultSummary",
    "StabilityFigures",
    "Stage",
    "Stopwatch",
    "Verdict",
    "assemble_by_group",
    "change_of",
    "check_format_version",
    "check_result_target",
    "compare_group",
    "decode_sources",
    "figures_of",
    "find_result",
    "group_columns",
    "group_runs",
    "groups_table",
    "is_in_file",
    "means_of",
    "median_table",
    "name_of",
    "provenance_of",
    "read_columns",
    "read_medians",
    "read_medians_of_groups",
    "read_provenance",
    "read_result",
    "read_summary",
    "removal_notes",
    "stability_figures",
    "stability_table",
    "stand_apart",
    "summarise",
    "time_now",
    "with_groups",
    "write_result",
]
