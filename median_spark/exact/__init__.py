"""From a digest's bracket to the exact median: count values below, collect values inside, pick the ranks.

Pure functions over numpy and Arrow. A bracket that holds too many values is narrowed by counting, never by loading; one
that misses its rank is widened. Knows nothing of Spark.
"""

from median_spark.exact.collect import FINDINGS_SCHEMA as FINDINGS_SCHEMA
from median_spark.exact.collect import Findings as Findings
from median_spark.exact.collect import collect_sweep as collect_sweep
from median_spark.exact.queries import Queries as Queries
from median_spark.exact.queries import Query as Query
from median_spark.exact.queries import brackets as brackets
from median_spark.exact.queries import median_ranks as median_ranks
from median_spark.exact.resolve import OUTCOME_SCHEMA as OUTCOME_SCHEMA
from median_spark.exact.resolve import merge_findings as merge_findings
from median_spark.exact.resolve import resolve as resolve
