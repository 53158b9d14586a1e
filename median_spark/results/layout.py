"""The layout of a result folder: the names of its files, their columns, and the version of this format."""

from collections.abc import Sequence

import pyarrow as pa

from median_spark.digests import FRACTIONS
from median_spark.geneformer import DICTIONARY_NAMES

RESULT_FORMAT_VERSION = 2
"""Version of the result folder that is written."""

READ_VERSIONS = (1, 2)
"""Versions that are read, others are rejected: in results of version 1, ``provenance.json`` lists all sources."""

MEDIANS = "medians.parquet"
DIGESTS = "digests.parquet"
BY_GROUP = "by_group.parquet"
GROUPS = "groups.parquet"
GROUP_FILES = (BY_GROUP, GROUPS, "groups.csv")
STABILITY = "stability.parquet"
METRICS = "metrics.parquet"
SUMMARY = "summary.json"
PROVENANCE = "provenance.json"
SOURCES = "sources.parquet"
REPORT = "report.html"
HISTOGRAM = "detection_counts.png"
GENEFORMER = "geneformer"

SOURCES_KEY = "median_spark_sources"
"""Key in the metadata of ``digests.parquet``, so that this can be merged on its own: `SOURCES` in base 64."""

TOTAL_DIGESTS = "total_gene_tdigest_dict.pickle"
TOTAL_MEDIANS = "total_gene_median_dict.pickle"
DETECTED_MEDIANS = "detected_gene_median_dict.pickle"
DETECTION_COUNTS = "gene_detection_counts_dict.pickle"
"""The published procedure's files."""

OWN_FILES = frozenset(
    {
        MEDIANS, "medians.csv", DIGESTS, *GROUP_FILES, STABILITY, METRICS, "metrics.csv", SUMMARY,
        "by_source.parquet", "sources.csv",  # of earlier versions
        PROVENANCE, SOURCES, REPORT, HISTOGRAM, TOTAL_DIGESTS, TOTAL_MEDIANS, DETECTED_MEDIANS, DETECTION_COUNTS,
        *(f"{GENEFORMER}/{name}" for name in DICTIONARY_NAMES),
    }
)  # fmt: skip
"""All files that a result may have; others in its folder are a user's and stay when the result is replaced."""


_TYPES = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(),
          "floats": pa.list_(pa.float64()), "texts": pa.list_(pa.string()),
          "time": pa.timestamp("us", "UTC")}  # fmt: skip


def _schema(*columns: str) -> pa.Schema:
    """Return the schema of columns that are written as ``"name type"``, or ``"name type?"`` if they may be null."""
    named = [column.split() for text in columns for column in text.split(", ")]
    return pa.schema([pa.field(name, _TYPES[kind.rstrip("?")], kind.endswith("?")) for name, kind in named])


MEDIANS_SCHEMA = _schema(
    "gene text, median float?, n_cells int, n_sources int, mean float?, sd float?, share_detected float?",
    "min float?, q05 float?, q25 float?, q75 float?, q95 float?, max float?",
    "digest_median float?, digest_rank_error float?",
)
"""Columns of ``medians.parquet`` and ``medians.csv``: one row per gene of the universe, ascending; values in counts per
target sum. Fields of undetected genes are null.

mean, sd : of the values above zero; the standard deviation has the divisor n - 1
share_detected : cells with a value over cells that pass
"""

DIGESTS_SCHEMA = _schema("gene text, n int, min float, max float, mean floats, weight floats, compression float")
"""Columns of ``digests.parquet``: one row per detected gene, ascending."""

_ROW_CENSUS = _schema(
    "rows int?, selected_rows int?, genes int?, summed_rows int?, other_type_rows int?, unknown_rows int?",
    "known_rows int?, disputed_rows int?, unknown_examples texts?, unmapped_rows int?, unmapped_examples texts?",
    "no_id_rows int?, no_id_examples texts?, versions_ignored bool?, respelled texts?, other_version_rows int?",
)
"""What became of the rows of a matrix, see `median_spark.genes.RowCounts`."""

SOURCES_SCHEMA = pa.schema(
    [
        *_schema(
            "source text, path text?, size int?, mtime_ns int?, sha256 text?, conversion text?, rows int?, cells int?",
            "cells_passed int?, median_n_counts float?, genes int?, values int?, known_to_gene_table float?",
            "warnings texts, cells_listed int?, merged_from text?, setting int",
        ),
        pa.field("row_census", pa.struct(list(_ROW_CENSUS))),
    ]
)
"""Columns of ``sources.parquet``: one row per source; null for what is not known.

setting : which of the ``settings`` of ``provenance.json`` it was converted with, counted from 0
"""

BY_GROUP_SCHEMA = _schema("gene text, n_cells int, median float, mean float, sd float?")
"""Columns of ``by_group.parquet`` after those that make the groups: the detected genes of each group, ascending."""

GROUPS_SCHEMA = _schema(
    "sources int, cells int, values int, genes_detected int, median_n_counts float?",
    "values_per_cell float, genes_compared int, ratio float?, ratio_q25 float?, ratio_q75 float?",
    "factor_apart float?, apart bool?, without_typical_change float?, without_p95_change float?",
    "without_genes_changed int?, without_genes_lost int?",
)
"""Columns of ``groups.parquet`` and ``groups.csv`` after those that make the groups: one row per group, ascending, that
of cells without a value last.

ratio : a gene's median in this group over its median in the corpus, at the median of all genes compared; quartiles
factor_apart : how many times the ratio of the median group is above or below this group's
apart : see `median_spark.results.stand_apart`; null where there is no verdict
without_… : what leaving this group out changes, see `median_spark.results.MedianChange`; null where it was not tried
"""


def with_groups(columns: Sequence[str], schema: pa.Schema) -> pa.Schema:
    """Return a schema after the columns that make the groups, which are texts."""
    return pa.schema([*(pa.field(name, pa.string()) for name in columns), *schema])


def group_columns(table: pa.Table) -> list[str]:
    """Return the columns of a table of groups that make the groups."""
    names: list[str] = table.column_names
    return names[: names.index(GROUPS_SCHEMA.names[0])]


_SHARES = [f"1_{fraction}" for fraction in FRACTIONS]

STABILITY_SCHEMA = _schema(
    "gene text, n_cells int, median float, change_halves float?, change_left_out float?",
    *(f"median_{share} float?" for share in _SHARES),
    *(f"change_{share} float?" for share in _SHARES),
)
"""Columns of ``stability.parquet``: one row per detected gene, ascending. All but the first three are estimates, and
null where most subsets of the sources have no value of the gene. A change of 0.1 is a factor of 1.1, up or down.

change_halves : of the median with a random half of the sources; the median over random halves
change_left_out : the largest when one of up to 16 buckets of sources is left out
median_1_…, change_1_… : with 1/16, 1/8, 1/4 and 1/2 of the sources, the median over random orders; null where there are
    fewer sources
"""

METRICS_SOFTWARE = ("median_spark", "python", "spark", "numpy", "pyarrow", "crick")

METRICS_FIGURES = _schema(
    "sources int?, failed_sources int?, groups_apart int?, cells int?, cells_passed int?, values int?, genes int?",
    "genes_detected int?, genes_in_more_than_100_cells int?, genes_in_more_than_1000_cells int?",
    "median_detection_count float?, median_detection_count_of_detected float?, target_sum float?, compression float?",
    "medians_are text?, worst_digest_rank_error float?, p99_digest_rank_error float?",
)
"""Figures of a summary, under its names; lists are counted."""

_STAGE_FIGURES = {
    "look": ("tasks",),
    "convert": ("tasks", "sources", "bytes_in", "bytes_out"),
    "digest": ("tasks", "bytes_in", "bytes_out"),
    "refine": ("tasks", "rounds", "values_in"),
    "groups": ("tasks",),
    "digest_pickles": ("tasks",),
    "merge": ("files", "bytes_in"),
    "write": ("bytes_out",),
}
"""What is known of each stage beside its seconds."""

METRICS_SCHEMA = pa.schema(
    [
        *_schema("run_id text, written time, result text", *(f"{name}_version text?" for name in METRICS_SOFTWARE)),
        *METRICS_FIGURES,
        *_schema("seconds float"),
        *(
            field
            for stage, figures in _STAGE_FIGURES.items()
            for field in _schema(f"{stage}_seconds float?", *(f"{stage}_{figure} int?" for figure in figures))
        ),
    ]
)
"""Columns of ``metrics.parquet`` and ``metrics.csv``: always all of them, so that rows of any runs fit into one table.
What a run did not do, and what is not known, is null."""
