"""Merging digests of earlier runs, and of the published notebook, into one result. Needs no Spark.

Knows nothing of matrices and expression tables: digests are all that there is.
"""

from median_spark.merging.combine import merge
from median_spark.merging.find import DigestFile, find_digests

__all__ = ["DigestFile", "find_digests", "merge"]
