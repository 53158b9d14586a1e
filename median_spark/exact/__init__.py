"""From a digest's bracket to the exact median: count what lies below, collect what lies inside, pick the ranks.

Pure functions over numpy and Arrow. A bracket that holds too many values is narrowed by counting, never by loading; one
that misses its rank is widened. Knows nothing of Spark.
"""

from median_spark.exact.collect import FINDINGS_SCHEMA, collect_sweep, collect_values
from median_spark.exact.queries import Queries, Query, brackets, median_ranks
from median_spark.exact.resolve import OUTCOME_SCHEMA, merge_findings, resolve

__all__ = [
    "FINDINGS_SCHEMA",
    "OUTCOME_SCHEMA",
    "Queries",
    "Query",
    "brackets",
    "collect_sweep",
    "collect_values",
    "median_ranks",
    "merge_findings",
    "resolve",
]
